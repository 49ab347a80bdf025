package metrics

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Absence is why nothing is known of workloads.
type Absence struct {
	// Scraped says that their pods are targets of Prometheus.
	Scraped bool
	// Metrics are some of their metrics that may be latencies.
	Metrics []string
}

// Absence looks, with two queries, why there is no latency of workloads. What cannot be asked counts as scraped.
func (s *Source) Absence(ctx context.Context, list []*Workload) Absence {
	var names []string
	namespace := ""
	for _, w := range list {
		namespace = w.Namespace
		names = append(names, w.patterns()...)
	}
	a := Absence{}
	var terms, timed []string
	for _, p := range podPairs() {
		r := Reading{pair: p, namespace: namespace, names: strings.Join(names, "|")}
		terms = append(terms, "up"+r.selector(""))
		timed = append(timed, r.selector(`__name__=~".*(latency|latencies|duration|_time|seconds|_ms).*_(sum|count)"`))
	}
	if err := s.each(ctx, "count("+strings.Join(terms, " or ")+")", func(v sample) { a.Scraped = v.value > 0 }); err != nil {
		a.Scraped = true
	}
	_ = s.each(ctx, fmt.Sprintf("group by (__name__) (%s)", strings.Join(timed, " or ")), func(v sample) {
		n := v.labels["__name__"]
		for _, suffix := range []string{"_sum", "_count"} {
			n = strings.TrimSuffix(n, suffix)
		}
		if !slices.Contains(a.Metrics, n) && !strings.HasPrefix(n, "process_") && !strings.HasPrefix(n, "go_") && !strings.HasPrefix(n, "python_gc_") {
			a.Metrics = append(a.Metrics, n)
		}
	})
	slices.Sort(a.Metrics)
	a.Scraped = a.Scraped || len(a.Metrics) > 0
	a.Metrics = a.Metrics[:min(len(a.Metrics), 5)]
	return a
}
