package metrics

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/drift"
)

// The metrics that models export of what they are given and what they answer. Histograms are classic or native; counters
// count categories by their label value. docs/guide-drift.md has the convention.
const (
	featureValue       = "ml_feature_value"
	predictionValue    = "ml_prediction_value"
	featureCategory    = "ml_feature_category_total"
	predictionCategory = "ml_prediction_category_total"
)

// partLabel tells the parts of one answer apart.
const partLabel = "kubectl_ml_part"

// Parts of an answer. A bucket counts what increased, series how many series a bucket is the sum of.
const (
	partBucket   = "bucket"
	partSeries   = "series"
	partNative   = "native"
	partCategory = "category"
	partSeen     = "seen"
	partNow      = "now"
	// beforePrefix stands before parts that are of the time that is compared with.
	beforePrefix = "before-"
)

// driftTable is what is exported, by kind.
func driftTable() []struct {
	kind             drift.Kind
	values, category string
	name             string
} {
	return []struct {
		kind             drift.Kind
		values, category string
		name             string
	}{
		{drift.KindFeature, featureValue, featureCategory, "feature"},
		{drift.KindPrediction, predictionValue, predictionCategory, "output"},
	}
}

// driftPart makes one part of an answer: the name of its kind, so that features and predictions are told apart, and its own.
func driftPart(kind drift.Kind, name, expr string) string {
	return fmt.Sprintf("label_replace(%s, %q, %q, %q, %q)", expr, partLabel, string(kind)+"/"+name, "", "")
}

// grouped adds the name of the pod's ReplicaSet or StatefulSet to series.
func grouped(expr string) string {
	return fmt.Sprintf("label_replace(%s, %q, %q, %q, %q)", expr, groupLabel, "$1", "pod", "(.*?)"+podSuffix+"?")
}

// countsExpr asks for all distributions of a window and, with an offset, for those before it: one question however many
// features there are.
func countsExpr(q *DriftQuery) string {
	var terms []string
	add := func(prefix, offset string) {
		s := "{" + q.selector() + "}[" + promDuration(q.Window) + "]" + offset
		for _, t := range driftTable() {
			by := func(op, more, metric string) string {
				return fmt.Sprintf("%s by (model, version, %s, %s%s) (%s)", op, t.name, groupLabel, more, grouped("increase("+metric+s+")"))
			}
			terms = append(terms,
				driftPart(t.kind, prefix+partBucket, by("sum", ", le", t.values+"_bucket")),
				driftPart(t.kind, prefix+partSeries, by("count", ", le", t.values+"_bucket")),
				driftPart(t.kind, prefix+partNative, by("sum", "", t.values)),
				driftPart(t.kind, prefix+partCategory, by("sum", ", value", t.category)),
			)
		}
	}
	add("", "")
	if q.Offset > 0 {
		add(beforePrefix, " offset "+promDuration(q.Offset))
	}
	return strings.Join(terms, " or ")
}

// freshWindow is how far back the newest values are looked for exactly, lookSteps how finely those that are older.
const (
	freshWindow = 5 * time.Minute
	lookSteps   = 144
)

// seenExpr asks when values were seen last: at the last scrape, if any came since a few minutes, else to one of lookSteps
// of the time that is looked back over. It asks for the time too, which need not be that of this machine.
func seenExpr(q *DriftQuery) string {
	back := max(24*time.Hour, 2*q.Window)
	step := max(back/lookSteps, time.Minute)
	s := "{" + q.selector() + "}"
	terms := []string{driftPart("", partNow, "vector(time())")}
	for _, t := range driftTable() {
		for i, m := range []string{t.values + "_count", t.values, t.category} {
			rose := func(over time.Duration) string {
				rise := "increase(" + m + s + "[" + promDuration(over) + "])"
				if i == 1 {
					rise = "histogram_count(" + rise + ")"
				}
				return "timestamp(" + m + s + ") and " + rise + " > 0"
			}
			fresh := "(" + rose(freshWindow) + ")"
			older := fmt.Sprintf("max_over_time((%s)[%s:%s])", rose(step), promDuration(back), promDuration(step))
			for k, expr := range []string{fresh, older} {
				by := fmt.Sprintf("max by (model, version, %s, %s) (%s)", t.name, groupLabel, grouped(expr))
				terms = append(terms, driftPart(t.kind, partSeen+strconv.Itoa(2*i+k), by))
			}
		}
	}
	return strings.Join(terms, " or ")
}

// gaugesExpr asks for what exporters themselves say of drift; whom they speak of is told by labels of many names.
func gaugesExpr(q *DriftQuery) string {
	return grouped(fmt.Sprintf("{__name__=~%q,%s}", drift.GaugePattern(), q.namespaces()))
}

// namespaces selects series of the namespace, and those that have none, as a Prometheus has them that was told of its
// targets by a list.
func (q *DriftQuery) namespaces() string {
	either := strconv.Quote(regexp.QuoteMeta(q.Namespace) + "|")
	return "namespace=~" + either + ",kubernetes_namespace=~" + either
}

// selector selects the series of the model or of its pods; the answer tells the two apart.
func (q *DriftQuery) selector() string {
	s := q.namespaces()
	if q.Model != "" {
		s += ",model=~" + strconv.Quote(regexp.QuoteMeta(q.Model)+"|")
	}
	if len(q.Pods) > 0 && q.Model != "" {
		s += ",pod=~" + strconv.Quote("("+strings.Join(q.Pods, "|")+")|")
		return s
	}
	if len(q.Pods) > 0 {
		s += ",pod=~" + strconv.Quote(strings.Join(q.Pods, "|"))
	}
	return s
}
