package run

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// Find turns what a person may type for a run into its name: a name, run/NAME, @latest, or PIPELINE@latest.
func Find(ctx context.Context, c *client.Client, arg string) (string, error) {
	arg = strings.TrimPrefix(arg, "run/")
	pipe, latest := strings.CutSuffix(arg, "@latest")
	if !latest {
		return arg, nil
	}
	pairs := map[string]string{kube.LabelKind: kube.KindRun}
	if pipe != "" {
		pairs[kube.LabelPipeline] = pipe
	}
	list, err := c.Meta.Resource(configMaps).Namespace(c.Namespace).List(ctx, kube.ListOptions(pairs))
	if err != nil {
		return "", c.Explain("look for the latest run", err)
	}
	if len(list.Items) == 0 && !c.NamespaceExists(ctx) {
		return "", c.MissingNamespace()
	}
	if len(list.Items) == 0 {
		what := "no run"
		if pipe != "" {
			what += " of pipeline " + pipe
		}
		return "", &client.Error{What: fmt.Sprintf("%s in namespace %s", what, c.Namespace), Hint: "start one with: kubectl ml run"}
	}
	newest := slices.MaxFunc(list.Items, func(a, b metav1.PartialObjectMetadata) int { return ageOf(&a).compare(ageOf(&b)) })
	return strings.TrimPrefix(newest.Name, kube.PrefixRun), nil
}

// Exists says whether there is a run of that name.
func Exists(ctx context.Context, c *client.Client, name string) (bool, error) {
	_, err := c.Meta.Resource(configMaps).Namespace(c.Namespace).Get(ctx, kube.PrefixRun+name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, c.Explain("look for run "+name, err)
}

// FileOrApplied reads the pipeline that a person named: a file that exists, "-", or an applied pipeline.
func FileOrApplied(ctx context.Context, connect func() (*client.Client, error), name string, stdin io.Reader) (*Bundle, error) {
	_, err := os.Stat(name)
	looksLikeFile := name == "-" || err == nil || !errors.Is(err, fs.ErrNotExist) || strings.ContainsAny(name, "/.\\")
	if looksLikeFile {
		return ReadFile(name, stdin)
	}
	c, err := connect()
	if err != nil {
		return nil, err
	}
	return ReadApplied(ctx, c, name)
}

// Names are the names of all runs in the namespace, newest first, without their data.
func Names(ctx context.Context, c *client.Client) ([]string, error) {
	return recordNames(ctx, c, kube.KindRun, kube.PrefixRun)
}

// Pipelines are the names of all applied pipelines in the namespace.
func Pipelines(ctx context.Context, c *client.Client) ([]string, error) {
	return recordNames(ctx, c, kube.KindPipeline, kube.PrefixPipeline)
}

func recordNames(ctx context.Context, c *client.Client, kind, prefix string) ([]string, error) {
	list, err := c.Meta.Resource(configMaps).Namespace(c.Namespace).List(ctx, kube.ListOptions(map[string]string{kube.LabelKind: kind}))
	if err != nil {
		return nil, c.Explain("list the "+kind+"s", err)
	}
	slices.SortFunc(list.Items, func(a, b metav1.PartialObjectMetadata) int { return ageOf(&b).compare(ageOf(&a)) })
	names := make([]string, len(list.Items))
	for i := range list.Items {
		names[i] = strings.TrimPrefix(list.Items[i].Name, prefix)
	}
	return names, nil
}

// age orders runs: by the server's time, which has whole seconds, then by the starter's, then by name, so that the
// order is the same each time.
type age struct {
	created, started time.Time
	name             string
}

func (a age) compare(b age) int {
	return cmp.Or(a.created.Compare(b.created), a.started.Compare(b.started), cmp.Compare(a.name, b.name))
}

func (s Summary) age() age { return age{s.Created, s.Started, s.Namespace + "/" + s.Name} }

// ageOf is the age of a record, from its metadata.
func ageOf(m metav1.Object) age {
	var s struct{ Started time.Time }
	_ = json.Unmarshal([]byte(m.GetAnnotations()[kube.AnnotationSummary]), &s)
	return age{m.GetCreationTimestamp().Time, s.Started, m.GetNamespace() + "/" + m.GetName()}
}

func newestFirst(items []corev1.ConfigMap) {
	slices.SortFunc(items, func(a, b corev1.ConfigMap) int { return ageOf(&b).compare(ageOf(&a)) })
}
