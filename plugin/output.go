package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// output is how a verb prints: the values of -o and --no-headers.
type output struct {
	Format    string
	NoHeaders bool
}

// add puts the flags on a verb; lists get --no-headers and wide.
func (o *output) add(c *cobra.Command, list bool) {
	formats := []string{"json", "yaml", "name", "jsonpath=", "jsonpath-file="}
	if list {
		formats = append([]string{"wide"}, formats...)
		c.Flags().BoolVar(&o.NoHeaders, "no-headers", false, "leave out the column names")
	}
	c.Flags().StringVarP(&o.Format, "output", "o", "", "output `format`: "+strings.Join(formats, "|"))
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

// table says whether people read the output.
func (o output) table() bool { return o.Format == "" || o.Format == "wide" }

// check refuses an unknown format before any work is done.
func (o output) check() error {
	if o.table() || o.Format == "name" {
		return nil
	}
	_, err := o.printer()
	return err
}

// printer is cli-runtime's for a machine format. go-template is left out: one call of text/template keeps every method
// of every Kubernetes client in the binary, which doubles it (docs/decisions/0007-no-go-template.md).
func (o output) printer() (func(runtime.Object, io.Writer) error, error) {
	kind, expression, _ := strings.Cut(o.Format, "=")
	switch kind {
	case "json":
		return (&printers.JSONPrinter{}).PrintObj, nil
	case "yaml":
		return (&printers.YAMLPrinter{}).PrintObj, nil
	case "jsonpath-file":
		text, err := os.ReadFile(expression)
		if err != nil {
			return nil, fmt.Errorf("-o jsonpath-file: %w", err)
		}
		return jsonPath(string(text))
	case "jsonpath":
		return jsonPath(expression)
	}
	return nil, fmt.Errorf("unknown output format %q: use wide, json, yaml, name, jsonpath=EXPRESSION or jsonpath-file=FILE", o.Format)
}

func jsonPath(expression string) (func(runtime.Object, io.Writer) error, error) {
	if expression == "" {
		return nil, errors.New("-o jsonpath needs an expression, such as -o jsonpath='{.state}'")
	}
	p, err := printers.NewJSONPathPrinter(expression)
	if err != nil {
		return nil, fmt.Errorf("-o jsonpath: %w", err)
	}
	p.AllowMissingKeys(true)
	return p.PrintObj, nil
}

// item is a fact on its way to a printer.
type item struct {
	// kind is Run, Schedule, ...; it heads JSON and, in lower case, the names.
	kind, name, namespace string
	// ref is what verbs take and -o name prints; empty is KIND/NAME.
	ref     string
	created time.Time
	labels  map[string]string
	fact    any
}

// object is the fact as Kubernetes prints objects, so that the usual jsonpaths work: .metadata.name, .state.
func (i item) object() (*unstructured.Unstructured, error) {
	text, err := json.Marshal(i.fact)
	if err != nil {
		return nil, fmt.Errorf("print %s %s: %w", i.kind, i.name, err)
	}
	u := &unstructured.Unstructured{Object: map[string]any{}}
	// Whole numbers stay such, so that a jsonpath can compare them: .items[?(@.free>=4)].
	if err := utiljson.Unmarshal(text, &u.Object); err != nil {
		return nil, fmt.Errorf("print %s %s: %w", i.kind, i.name, err)
	}
	for _, k := range []string{"name", "namespace", "created", "labels", "uid"} {
		delete(u.Object, k)
	}
	u.SetAPIVersion(pipeline.APIVersion)
	u.SetKind(i.kind)
	u.SetName(i.name)
	u.SetNamespace(i.namespace)
	if !i.created.IsZero() {
		u.SetCreationTimestamp(metav1.NewTime(i.created))
	}
	u.SetLabels(i.labels)
	return u, nil
}

// short is the name that verbs take and -o name prints, such as run/house-prices-x7k2p.
func (i item) short() string {
	if i.ref != "" {
		return i.ref
	}
	return strings.ToLower(i.kind) + "/" + i.name
}

// one prints a single fact in a machine format.
func (f *Factory) one(o output, i item) error {
	if o.Format == "name" {
		_, err := fmt.Fprintln(f.Out, i.short())
		return err
	}
	u, err := i.object()
	if err != nil {
		return err
	}
	p, err := o.printer()
	if err != nil {
		return err
	}
	return p(u, f.Out)
}

// list prints facts: as a table, or as one List.
func (f *Factory) list(o output, items []item, table func() views.Table) error {
	switch {
	case o.table():
		return f.lines(table().Lines(f.layout(o)))
	case o.Format == "name":
		for _, i := range items {
			if _, err := fmt.Fprintln(f.Out, i.short()); err != nil {
				return err
			}
		}
		return nil
	}
	list := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "v1", "kind": "List", "metadata": map[string]any{}}}
	for _, i := range items {
		u, err := i.object()
		if err != nil {
			return err
		}
		list.Items = append(list.Items, *u)
	}
	p, err := o.printer()
	if err != nil {
		return err
	}
	return p(list, f.Out)
}

// objects prints objects of the cluster: as one List in JSON, which has no documents, else one by one.
func (f *Factory) objects(o output, objects []runtime.Object) error {
	show, err := o.printer()
	if err != nil {
		return err
	}
	if o.Format == "json" {
		list := &corev1.List{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "List"}}
		for _, obj := range objects {
			list.Items = append(list.Items, runtime.RawExtension{Object: obj})
		}
		objects = []runtime.Object{list}
	}
	for _, obj := range objects {
		if err := show(obj, f.Out); err != nil {
			return fmt.Errorf("print an object: %w", err)
		}
	}
	return nil
}

// layout fits lines to the terminal; with -o wide, and where the output is none, nothing is cut.
func (f *Factory) layout(o output) views.LineOptions {
	lo := views.LineOptions{Wide: o.Format == "wide", NoHeaders: o.NoHeaders}
	if !lo.Wide {
		lo.Width = width(f.Out)
	}
	return lo
}

// lines prints laid-out lines to the output.
func (f *Factory) lines(lines []views.Line) error {
	return writeLines(f.Out, lines, f.palette(f.Out))
}

func writeLines(w io.Writer, lines []views.Line, p palette) error {
	var b strings.Builder
	for _, l := range lines {
		p.write(&b, l)
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// palette maps tones to SGR sequences; the zero value colours nothing.
type palette struct{ colour bool }

// palette colours for a terminal, unless NO_COLOR is set; CLICOLOR_FORCE colours anything.
func (f *Factory) palette(stream any) palette {
	if f.Getenv("NO_COLOR") != "" {
		return palette{}
	}
	if force := f.Getenv("CLICOLOR_FORCE"); force != "" && force != "0" {
		return palette{colour: true}
	}
	return palette{colour: isTerminal(stream) && f.Getenv("TERM") != "dumb"}
}

// sgr uses the sixteen basic colours, which every theme, light or dark, keeps readable.
func sgr(t views.Tone) string {
	switch t {
	case views.Dim:
		return "2"
	case views.Good:
		return "32"
	case views.Warn:
		return "33"
	case views.Bad:
		return "31"
	case views.Accent:
		return "36"
	case views.Head:
		return "1"
	case views.Hue1:
		return "35"
	case views.Hue2:
		return "33"
	case views.Hue3:
		return "32"
	case views.Hue4:
		return "34"
	}
	return ""
}

func (p palette) write(b *strings.Builder, l views.Line) {
	for _, c := range l {
		code := sgr(c.Tone)
		if !p.colour || code == "" {
			b.WriteString(c.Text)
			continue
		}
		b.WriteString("\x1b[" + code + "m" + c.Text + "\x1b[0m")
	}
}

// clean makes a message of several lines harmless: what the cluster says may hold control characters.
func clean(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = views.SanitizeLine(l)
	}
	return strings.Join(lines, "\n")
}

// dryRun is the value of --dry-run: none, client or server.
type dryRun string

func (d *dryRun) add(c *cobra.Command) {
	c.Flags().StringVar((*string)(d), "dry-run", "none", "`mode`: none, client (only show what would be done) or server (let the server check it, store nothing)")
	c.Flags().Lookup("dry-run").NoOptDefVal = "client"
	_ = c.RegisterFlagCompletionFunc("dry-run", cobra.FixedCompletions([]string{"none", "client", "server"}, cobra.ShellCompDirectiveNoFileComp))
}

func (d dryRun) check() error {
	if !slices.Contains([]dryRun{"", "none", "client", "server"}, d) {
		return fmt.Errorf("unknown --dry-run=%s: use none, client or server", d)
	}
	return nil
}

// server is the option for the API server.
func (d dryRun) server() []string {
	if d == "server" {
		return []string{metav1.DryRunAll}
	}
	return nil
}

// asked is server, but a dry run of either kind asks the server: what may change follows from what it has.
func (d dryRun) asked() []string {
	if d.dry() {
		return []string{metav1.DryRunAll}
	}
	return nil
}

func (d dryRun) client() bool { return d == "client" }

// dry says that nothing may be changed.
func (d dryRun) dry() bool { return d == "client" || d == "server" }

// suffix is what kubectl puts behind the message of a dry run.
func (d dryRun) suffix() string {
	switch d {
	case "client":
		return " (dry run)"
	case "server":
		return " (server dry run)"
	}
	return ""
}

// nothing says that a list is empty, and whether that is because its namespace does not exist.
func (f *Factory) nothing(ctx context.Context, c *client.Client, what string, all bool) error {
	if all {
		f.say("No %s found.", what)
		return nil
	}
	if !c.NamespaceExists(ctx) {
		return c.MissingNamespace()
	}
	f.say("No %s found in namespace %s.", what, c.Namespace)
	return nil
}
