package metrics

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
)

// BusyWindow is what Device.Busy is a mean of: exporters sample, and one sample of a training says little.
const BusyWindow = 5 * time.Minute

// Query says which devices to ask for.
type Query struct {
	// Namespace is that of the pods that hold them; empty: all devices, held or not.
	Namespace string
	// Window is what Device.Mean is a mean of; 0 for none.
	Window time.Duration
}

// Devices are the accelerators that exporters tell of, sorted by node, index and pod. It asks two queries, however many
// devices there are. An error beside devices says what is missing of them: the means, or what Prometheus warns of.
func (s *Source) Devices(ctx context.Context, q Query) ([]Device, error) {
	var d decoder
	var nowErr, meansErr error
	var wg sync.WaitGroup
	wg.Go(func() { nowErr = s.each(ctx, nowExpr(q), d.now) })
	wg.Go(func() { meansErr = s.each(ctx, meansExpr(q), d.mean) })
	wg.Wait()
	var partial *PartialError
	if nowErr != nil && !errors.As(nowErr, &partial) {
		return nil, nowErr
	}
	return d.devices(q), errors.Join(nowErr, meansErr)
}

// nowExpr asks for all series of devices, and for one more of each of their targets, without a name: when it was asked
// last, with the labels that Prometheus gave it. Sets are told apart without regard to names, so that no `or` may stand
// between series of one device.
func nowExpr(q Query) string {
	all := selectors(names(func(*series) bool { return true }), q.Namespace, "")
	// One or two series of a target are enough to know it by.
	some := selectors(names(func(s *series) bool { return s.field == busy || s.field == memoryUsed }), q.Namespace, "")
	return fmt.Sprintf("%s or (timestamp(up) and on (job, instance) (%s))", strings.Join(all, " or "), strings.Join(some, " or "))
}

// windowLabel tells the means over BusyWindow and Query.Window apart.
const windowLabel = "kubectl_ml_window"

const (
	shortWindow = "busy"
	longWindow  = "mean"
)

// meansExpr asks for the means of utilisation. Names get lost in a mean: the first metric of the table that a device
// has wins, as `or` keeps what stands before it.
func meansExpr(q Query) string {
	windows := []struct {
		label string
		over  time.Duration
	}{{shortWindow, BusyWindow}, {longWindow, q.Window}}
	var all []string
	for _, w := range windows {
		if w.over <= 0 {
			continue
		}
		var terms []string
		for _, s := range exported() {
			if s.field != busy {
				continue
			}
			for _, sel := range selectors(s.pattern(), q.Namespace, promDuration(w.over)) {
				term := "avg_over_time(" + sel + ")"
				if s.factor != 1 {
					term += " * " + strconv.FormatFloat(s.factor, 'g', -1, 64)
				}
				terms = append(terms, term)
			}
		}
		all = append(all, fmt.Sprintf("label_replace(%s, %q, %q, %q, %q)", strings.Join(terms, " or "), windowLabel, w.label, "", ""))
	}
	return strings.Join(all, " or ")
}

// selectors select the metrics that match the names, of pods of a namespace. They exclude each other.
func selectors(names, namespace, window string) []string {
	if window != "" {
		window = "[" + window + "]"
	}
	metric := fmt.Sprintf("__name__=~%q", names)
	if namespace == "" {
		return []string{"{" + metric + "}" + window}
	}
	var list []string
	without := ""
	for _, label := range []string{"exported_namespace", "pod_namespace", "namespace"} {
		list = append(list, fmt.Sprintf("{%s,%s=%q%s}%s", metric, label, namespace, without, window))
		without += "," + label + `=""`
	}
	return list
}

func promDuration(d time.Duration) string { return model.Duration(d.Truncate(time.Second)).String() }
