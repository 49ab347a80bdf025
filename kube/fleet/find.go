package fleet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

// Find is the work that a person means: its NAME, KIND/NAME, RUN/STAGE, a STAGE (the newest of that name), or the name
// of one of its pods. The kind is in any case, singular or plural.
func Find(works []*Work, arg string) (*Work, error) {
	for _, match := range []func(*Work) bool{
		func(w *Work) bool { return w.Name == arg },
		func(w *Work) bool { return w.isKindName(arg) },
	} {
		switch found := keep(works, match); len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return nil, ambiguous(arg, found)
		}
	}
	for _, match := range []func(*Work) bool{
		func(w *Work) bool { return w.Labels[kube.LabelRun]+"/"+w.Labels[kube.LabelStage] == arg },
		func(w *Work) bool { return w.Labels[kube.LabelStage] == arg },
		func(w *Work) bool { return w.hasPod(strings.TrimPrefix(strings.TrimPrefix(arg, "pods/"), "pod/")) },
	} {
		if found := keep(works, match); len(found) > 0 {
			return slices.MaxFunc(found, func(a, b *Work) int { return a.Created.Compare(b.Created) }), nil
		}
	}
	return nil, unknown(works, arg)
}

func keep(works []*Work, match func(*Work) bool) []*Work {
	var out []*Work
	for _, w := range works {
		if match(w) {
			out = append(out, w)
		}
	}
	return out
}

// isKindName knows job/x, jobs/x, Job/x, jobs.batch/x and namespace-qualified forms of none.
func (w *Work) isKindName(arg string) bool {
	kind, name, ok := strings.Cut(arg, "/")
	if !ok || name != w.Name {
		return false
	}
	kind, group, qualified := strings.Cut(strings.ToLower(kind), ".")
	if qualified && group != w.group() {
		return false
	}
	own := strings.ToLower(w.Kind)
	return kind == own || kind == own+"s" || slices.Contains(shortNames()[own], kind)
}

// shortNames are those that the API servers and CRDs give to kinds.
func shortNames() map[string][]string {
	return map[string][]string{
		"deployment": {"deploy"}, "statefulset": {"sts"}, "pod": {"po"}, "job": {"vcjob", "vj"}, "leaderworkerset": {"lws"}, "workflow": {"wf"},
		"replicaset": {"rs"}, "inferenceservice": {"isvc"},
	}
}

func (w *Work) hasPod(name string) bool {
	return slices.ContainsFunc(w.Pods, func(p *Pod) bool { return p.Name == name })
}

func ambiguous(arg string, found []*Work) error {
	var names []string
	for _, w := range found {
		names = append(names, w.KindName())
	}
	return fmt.Errorf("%q may be any of %s\n  name the kind with it: %s", arg, strings.Join(names, ", "), names[0])
}

func unknown(works []*Work, arg string) error {
	return fmt.Errorf("no job %q\n  see them all: kubectl ml jobs", arg)
}
