package views

import (
	"strings"

	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
)

// Sources lists the places where a Prometheus was looked for.
func Sources() List[metrics.Finding] {
	type row = metrics.Finding
	state := func(f row) Cell {
		switch {
		case f.Chosen:
			return Toned("chosen", Good)
		case f.Targets != nil && *f.Targets == 0:
			return Toned("watches nothing", Warn)
		case f.Targets != nil:
			return Text("answers")
		}
		return Toned("no", Bad)
	}
	return List[row]{
		textColumn(Column{Name: "WHERE", Min: 20}, func(f row) string { return f.Where }),
		ListColumn[row]{Column{Name: "STATE"}, state, func(f row) SortKey { return SortKey{Text: state(f).Text, Known: true} }},
		numberColumn(Column{Name: "TARGETS"}, func(f row) *float64 {
			if f.Targets == nil {
				return nil
			}
			return new(float64(*f.Targets))
		}, plainCount),
		textColumn(Column{Name: "WHY", Min: 16}, func(f row) string {
			first, _, _ := strings.Cut(f.Problem, "\n")
			return orElse(first, f.Why)
		}),
		numberColumn(Column{Name: "TOOK", Wide: true}, func(f row) *float64 {
			if f.Took == 0 {
				return nil
			}
			return &f.Took
		}, Latency),
	}
}
