package views

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
)

// jobState is the state with the reason behind it, as in Pending:Unschedulable, in the manner of kubectl's Init:Error.
func jobState(r *JobRow) Cell {
	w := r.Work
	tone := workTone(w.State)
	reason := w.Reason
	if w.State == job.Suspended && reason == "" {
		tone = Dim
	}
	if w.State == job.Running && reason != "" {
		tone = Warn
	}
	if code := exitCode(w); reason == "Error" && code != 0 {
		reason += "(" + strconv.Itoa(int(code)) + ")"
	}
	if reason == "" || reason == w.State {
		return Toned(w.State, tone)
	}
	return Toned(w.State+":"+reason, tone)
}

// exitCode is that of the pod that failed first, as far as a row can tell; 0 when none tells.
func exitCode(w *fleet.Work) int32 {
	var at *time.Time
	code := int32(0)
	for _, p := range w.Pods {
		if p.State != job.Failed || p.Reason != w.Reason || p.ExitCode == nil {
			continue
		}
		if at == nil || p.Finished != nil && p.Finished.Before(*at) {
			code, at = *p.ExitCode, p.Finished
		}
	}
	return code
}

// jobReady is pods that are ready of those that there should be.
func jobReady(r *JobRow) Cell {
	return Text(numberOf(r.Work.Ready) + "/" + numberOf(r.Work.Want))
}

func jobRestarts(r *JobRow) Cell {
	c := Text(numberOf(int(r.Work.Restarts)))
	if r.Work.Restarts > 0 {
		c.Tone = Warn
	}
	return c
}

// numberOf is a count, or Unknown.
func numberOf(n int) string {
	if n == fleet.Unknown {
		return Unknown
	}
	return strconv.Itoa(n)
}

func orUnknown(s string) string {
	if s == "" {
		return Unknown
	}
	return s
}

// jobType is the model of the accelerators, else what the resource's name says beyond "gpu".
func jobType(r *JobRow) string {
	if r.Work.Product != "" {
		products := strings.Split(r.Work.Product, ",")
		for i, p := range products {
			products[i] = ShortProduct(p)
		}
		return strings.Join(products, ",")
	}
	most := ""
	for _, name := range slices.Sorted(maps.Keys(r.Work.Resources)) {
		if most == "" || r.Work.Resources[name] > r.Work.Resources[most] {
			most = name
		}
	}
	_, short, ok := strings.Cut(most, "/")
	if !ok || short == "gpu" || short == "gpu.shared" {
		return ""
	}
	return short
}

// productNoise are words of product names that tell no two products apart: makers, families, sockets, kinds of memory.
var productNoise = []string{
	"NVIDIA", "AMD", "Intel", "Tesla", "GeForce", "Instinct", "SXM", "SXM2", "SXM3", "SXM4", "SXM5", "SXM6", "OAM", "HBM2", "HBM2e", "HBM3", "HBM3e", "Generation",
}

// ShortProduct is a product's name without what only makes it long: NVIDIA-H100-80GB-HBM3 is H100-80GB, Tesla-T4 is T4.
func ShortProduct(product string) string {
	words := strings.FieldsFunc(product, func(c rune) bool { return c == '-' || c == '_' || c == ' ' })
	short := slices.DeleteFunc(slices.Clone(words), func(w string) bool {
		return slices.ContainsFunc(productNoise, func(n string) bool { return strings.EqualFold(n, w) })
	})
	if len(short) == 0 {
		return product
	}
	return strings.Join(short, "-")
}

func jobBusy(r *JobRow) Cell {
	if r.Usage.Busy == nil {
		return Text(Unknown)
	}
	c := Text(Percent(*r.Usage.Busy / 100))
	if *r.Usage.Busy < idleBelow && r.Work.State == job.Running {
		c.Tone = Warn
	}
	return c
}

// idleBelow is the percentage below which held accelerators count as idle.
const idleBelow = 5

// meanBusy is the mean of the devices that say how busy they are, NaN when none does.
func meanBusy(devices []metrics.Device) float64 {
	if u := metrics.UsageOf(devices); u.Busy != nil {
		return *u.Busy
	}
	return math.NaN()
}

// jobMemory is the memory in use of that there is.
func jobMemory(r *JobRow) Cell {
	used, total := r.Usage.MemoryUsed, r.Usage.MemoryTotal
	switch {
	case used == nil:
		return Text(Unknown)
	case total == nil:
		return Text(Bytes(int64(*used)))
	}
	return Text(Bytes(int64(*used)) + "/" + Bytes(int64(*total)))
}

// Progress is what the log tells, else what the work's own status does; nil when nobody does.
func (r *JobRow) Progress() *job.Progress {
	if r.Log != nil {
		return r.Log
	}
	return r.Work.Progress
}

// shortProgress says how far a training is in few words: 45% epoch 3/10, or 1200/5000.
func shortProgress(p *job.Progress) string {
	if p == nil || p.Source == "" {
		return ""
	}
	of := func(n, total float64) string {
		if total < 0 {
			return Float(n)
		}
		return Float(n) + "/" + Float(total)
	}
	var parts []string
	if p.Percent >= 0 {
		parts = append(parts, Percent(p.Percent/100))
	}
	switch {
	case p.Epoch >= 0:
		parts = append(parts, "epoch "+of(p.Epoch, p.Epochs))
	case p.Step >= 0 && p.Total >= 0:
		parts = append(parts, of(p.Step, p.Total))
	case p.Step >= 0:
		parts = append(parts, "step "+Float(p.Step))
	}
	return strings.Join(parts, " ")
}

// jobPercent sorts by the part that is done, then by the step.
func jobPercent(r *JobRow) SortKey {
	p := r.Progress()
	if shortProgress(p) == "" {
		return SortKey{}
	}
	return SortKey{Number: p.Percent, Text: fmt.Sprintf("%020.3f", max(p.Step, p.Epoch, 0)), Known: true}
}

// metric is the one that tells most: of the results, else of the progress.
func (r *JobRow) metric() (name string, v float64) {
	if r.Work.State == job.Succeeded && len(r.Work.Metrics) > 0 {
		name = headline(slices.Sorted(maps.Keys(r.Work.Metrics)))
		return name, r.Work.Metrics[name]
	}
	if p := r.Progress(); p != nil && len(p.Names) > 0 {
		name = headline(p.Names)
		return name, p.Metrics[name]
	}
	return "", 0
}

func jobMetric(r *JobRow) Cell {
	name, v := r.metric()
	if name == "" {
		return Text(Unknown)
	}
	return Text(name + "=" + Float(v))
}

// headline is the metric that people look at first: the loss, rather that of the training, else the first.
func headline(names []string) string {
	rank := func(name string) int {
		switch n := strings.ToLower(name); {
		case n == "loss":
			return 0
		case strings.HasSuffix(n, "loss") && strings.Contains(n, "train"):
			return 1
		case strings.HasSuffix(n, "loss"):
			return 2
		case strings.Contains(n, "loss"):
			return 3
		}
		return 4
	}
	return slices.MinFunc(names, func(a, b string) int { return rank(a) - rank(b) })
}

func jobNode(r *JobRow) string {
	switch n := len(r.Work.Nodes); n {
	case 0:
		return ""
	case 1:
		return r.Work.Nodes[0]
	default:
		return Plural(int64(n), "node", "nodes")
	}
}

func jobResource(r *JobRow) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(r.Work.Resources)) {
		parts = append(parts, name+"="+strconv.FormatInt(r.Work.Resources[name], 10))
	}
	return strings.Join(parts, ",")
}

func jobPipeline(r *JobRow) string { return r.Work.Labels[kube.LabelPipeline] }

func jobRun(r *JobRow) string { return r.Work.Labels[kube.LabelRun] }

func jobStage(r *JobRow) string {
	stage := r.Work.Labels[kube.LabelStage]
	if child := r.Work.Labels[kube.LabelChild]; stage != "" && child != "" {
		return stage + "/" + child
	}
	return stage
}

func timeText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (r *JobRow) age() string {
	if r.Work.Created.IsZero() {
		return Unknown
	}
	return Age(r.Now.Sub(r.Work.Created))
}
