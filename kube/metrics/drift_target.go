package metrics

import (
	"slices"
)

// Serve makes q ask for what workloads serve, also where series do not say of which model they are. The model and the
// version are theirs where they are all of one.
func (q *DriftQuery) Serve(list []*Workload) {
	owns := slices.Clone(list)
	q.Owns = func(group string) (string, bool) {
		for _, w := range owns {
			if version, ok := w.owns(group); ok {
				return version, true
			}
		}
		return "", false
	}
	for i, w := range list {
		q.Pods = append(q.Pods, w.patterns()...)
		q.Names = append(q.Names, w.Name)
		if i == 0 {
			q.Model, q.Default = w.Model, w.Version
		}
		if w.Model != q.Model {
			q.Model = ""
		}
		if w.Version != q.Default {
			q.Default = ""
		}
	}
}
