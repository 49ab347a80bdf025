package fleet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// Find is the work that a person means. In this order: its NAME; KIND/NAME, with the kind in any case, singular, plural
// or short, and with its group where two kinds share a name; RUN/STAGE and STAGE of a pipeline, the newest; the name of
// one of its pods, or of what owns them directly. Where several are meant the error names them.
func Find(works []*Work, arg string) (*Work, error) {
	name := func(w *Work) bool { return w.Name == arg }
	kindName := func(w *Work) bool { return w.Ref.is(arg) }
	below := func(w *Work) bool {
		return slices.ContainsFunc(w.Pods, func(p *Pod) bool { return p.Name == arg || p.ref().is(arg) || p.Owner.Name == arg || p.Owner.is(arg) })
	}
	for _, match := range []func(*Work) bool{name, kindName} {
		if found := keep(works, match); len(found) > 0 {
			return only(arg, found)
		}
	}
	for _, match := range []func(*Work) bool{
		func(w *Work) bool {
			return w.Labels[kube.LabelStage] != "" && w.Labels[kube.LabelRun]+"/"+w.Labels[kube.LabelStage] == arg
		},
		func(w *Work) bool { return arg != "" && w.Labels[kube.LabelStage] == arg },
	} {
		if found := keep(works, match); len(found) > 0 {
			return slices.MaxFunc(found, func(a, b *Work) int { return a.Created.Compare(b.Created) }), nil
		}
	}
	if found := keep(works, below); len(found) > 0 {
		return only(arg, found)
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

// is says whether KIND/NAME means the ref.
func (r Ref) is(arg string) bool {
	kindName, name, ok := strings.Cut(arg, "/")
	if !ok || name != r.Name || r.Kind == "" {
		return false
	}
	word, group, qualified := strings.Cut(strings.ToLower(kindName), ".")
	if qualified && group != r.group() {
		return false
	}
	own := strings.ToLower(r.Kind)
	return word == own || word == own+"s" || slices.Contains(shortNames(own, r.group()), word)
}

// shortNames are those that the API server and the CRDs give to a kind.
func shortNames(kindName, group string) []string {
	switch kindName + "." + group {
	case "deployment.apps":
		return []string{"deploy"}
	case "statefulset.apps":
		return []string{"sts"}
	case "replicaset.apps":
		return []string{"rs"}
	case "pod.":
		return []string{"po"}
	case "job.batch.volcano.sh":
		return []string{"vcjob", "vj"}
	case "leaderworkerset.leaderworkerset.x-k8s.io":
		return []string{"lws"}
	case "workflow.argoproj.io":
		return []string{"wf"}
	case "inferenceservice.serving.kserve.io":
		return []string{"isvc"}
	}
	return nil
}

// only is the one work found; several are an error that tells them apart by kind, group and namespace.
func only(arg string, found []*Work) (*Work, error) {
	if len(found) == 1 {
		return found[0], nil
	}
	var names []string
	for _, w := range found {
		s := w.KindName()
		if slices.ContainsFunc(found, func(o *Work) bool { return o.Kind == w.Kind && o.group() != w.group() }) {
			s = strings.ToLower(w.Kind) + "s." + w.group() + "/" + w.Name
		}
		if slices.ContainsFunc(found, func(o *Work) bool { return o.Namespace != w.Namespace }) {
			s += " -n " + w.Namespace
		}
		names = append(names, s)
	}
	return nil, fmt.Errorf("%q may be any of: %s\n  say which one, such as: %s", arg, strings.Join(names, ", "), names[0])
}

// unknown is the error for a name that nothing has.
func unknown(works []*Work, arg string) error {
	var names []string
	for _, w := range works {
		names = append(names, w.Name, w.KindName())
		if stage := w.Labels[kube.LabelStage]; stage != "" {
			names = append(names, stage)
		}
		for _, p := range w.Pods {
			names = append(names, p.Name)
		}
	}
	near := ""
	if c := pipeline.Closest(arg, names); c != "" {
		near = fmt.Sprintf("; did you mean %q?", c)
	}
	return fmt.Errorf("no job %q%s\n  see them all: kubectl ml jobs", arg, near)
}
