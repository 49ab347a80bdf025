package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubectl-ml/kubectl-ml/docs/examples"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

type initOptions struct {
	Template, From, Name, Dir string
	Force                     bool
	DryRun                    dryRun
}

func newInitCmd(f *Factory, do func(context.Context, *Factory, initOptions) error) *cobra.Command {
	var o initOptions
	c := &cobra.Command{
		Use:     "init [TEMPLATE]",
		Short:   "Create a pipeline from a template or from an existing manifest",
		GroupID: groupWrite,
		Long: `Write a pipeline file, with the code of its stages, into a folder. Nothing that exists is overwritten without --force.

Templates:
  blank         one stage, with every common field explained (the default)
  house-prices  a small regression from raw rows to a judged model, with scikit-learn
  pytorch-gpu   training with torchrun on several GPUs, with checkpoints
  distributed   training on several pods, without any framework

--from takes an existing Job, CronJob or Deployment: the pipeline runs that file as it is.`,
		Example: `  kubectl ml init house-prices
  kubectl ml init pytorch-gpu --name llm-tune --dir llm
  kubectl ml init --from job.yaml`,
		Args: atMostOne("TEMPLATE"),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.Template = args[0]
			}
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return templateNames(), cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.Flags().StringVar(&o.From, "from", "", "make a pipeline of this manifest `file`: a Job, CronJob or Deployment")
	c.Flags().StringVar(&o.Name, "name", "", "the pipeline's `name` (default: the template's)")
	c.Flags().StringVar(&o.Dir, "dir", ".", "the `folder` to write into; it is made when missing")
	c.Flags().BoolVar(&o.Force, "force", false, "overwrite files that exist")
	o.DryRun.add(c)
	return c
}

func templateNames() []string {
	entries, _ := fs.ReadDir(examples.Templates, ".")
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

func runInit(_ context.Context, f *Factory, o initOptions) error {
	if o.DryRun == "server" {
		return errors.New("init talks to no cluster: use --dry-run=client")
	}
	if err := o.DryRun.check(); err != nil {
		return err
	}
	if o.Name != "" && (len(validation.IsDNS1123Label(o.Name)) > 0 || len(o.Name) > 40) {
		return fmt.Errorf("--name %q is no pipeline name: use at most 40 lower-case letters, digits and -, beginning with a letter", o.Name)
	}
	files, err := o.files()
	if err != nil {
		return err
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	if err := o.refuseToOverwrite(names); err != nil {
		return err
	}
	for _, name := range names {
		target := filepath.Join(o.Dir, filepath.FromSlash(name))
		if !o.DryRun.client() {
			if err := writeFile(target, files[name]); err != nil {
				return err
			}
		}
		f.print("%s created%s\n", target, o.DryRun.suffix())
	}
	in := ""
	if o.Dir != "." {
		in = " -f " + filepath.Join(o.Dir, defaultFile)
	}
	f.say("Check it with:  kubectl ml lint%s\nRun it with:  kubectl ml run%s", in, in)
	return nil
}

func writeFile(target string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return fmt.Errorf("make the folder of %s: %w", target, err)
	}
	if err := os.WriteFile(target, content, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", target, err)
	}
	return nil
}

// refuseToOverwrite looks at all files before the first is written, so that nothing is half done.
func (o initOptions) refuseToOverwrite(names []string) error {
	if o.Force {
		return nil
	}
	var there []string
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(o.Dir, filepath.FromSlash(name))); err == nil {
			there = append(there, name)
		}
	}
	if len(there) > 0 {
		return fmt.Errorf("%s exists in %s: choose another folder with --dir, or overwrite with --force", strings.Join(there, ", "), o.Dir)
	}
	return nil
}

// files are the files to write by their slash-separated path.
func (o initOptions) files() (map[string][]byte, error) {
	switch {
	case o.From != "" && o.Template != "":
		return nil, errors.New("give a template or --from, not both")
	case o.From != "":
		return o.fromManifest()
	}
	name := o.Template
	if name == "" {
		name = "blank"
	}
	if !slices.Contains(templateNames(), name) {
		return nil, fmt.Errorf("no template %q; there are: %s", name, strings.Join(templateNames(), ", "))
	}
	files := map[string][]byte{}
	err := fs.WalkDir(examples.Templates, name, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := examples.Templates.ReadFile(p)
		files[strings.TrimPrefix(p, name+"/")] = content
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read template %s: %w", name, err)
	}
	if o.Name != "" {
		files[defaultFile] = rename(files[defaultFile], o.Name)
	}
	return files, nil
}

// nameLine is the pipeline's name in a template, which is the first name in the file.
var nameLine = regexp.MustCompile(`(?m)^(\s+name: ).*$|(metadata: \{name: )[^,}]*`)

func rename(text []byte, name string) []byte {
	done := false
	return nameLine.ReplaceAllFunc(text, func(m []byte) []byte {
		if done {
			return m
		}
		done = true
		i := strings.Index(string(m), "name: ") + len("name: ")
		return append(append([]byte{}, m[:i]...), name...)
	})
}

// fromManifest is a pipeline that runs an existing manifest as its only stage.
func (o initOptions) fromManifest() (map[string][]byte, error) {
	content, err := os.ReadFile(o.From)
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	object, err := pipeline.ManifestName(o.From, content)
	if err != nil {
		return nil, err
	}
	// Objects may have dots and 253 characters in their names, pipelines and stages have neither.
	stage := strings.ReplaceAll(object, ".", "-")
	stage = strings.Trim(stage[:min(len(stage), 40)], "-")
	name := o.Name
	if name == "" {
		name = stage
	}
	rel, err := filepath.Rel(o.Dir, o.From)
	if err != nil {
		rel = o.From
	}
	text := fmt.Sprintf(`# A pipeline that runs %s as it is. Add stages before and after it.
apiVersion: %s
kind: %s
metadata:
  name: %s
spec:
  stages:
  - name: %s
    manifest: %s
`, filepath.Base(o.From), pipeline.APIVersion, pipeline.Kind, name, stage, filepath.ToSlash(rel))
	return map[string][]byte{defaultFile: []byte(text)}, nil
}
