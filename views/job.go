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

// DescribeWork is one piece of work on one page: what it is, its pods by rank with their devices, what failed first,
// conditions and events. devices are those of its pods, by namespace/pod; nil when no Prometheus tells.
func DescribeWork(d *fleet.Description, devices map[string][]metrics.Device, now time.Time, o LineOptions) []Line {
	out := workHead(d, now, o.Width)
	section := func(title string, lines []Line) {
		if len(lines) > 0 {
			out = append(out, Line{}, Line{Toned(title, Head)})
			out = append(out, lines...)
		}
	}
	if len(d.Pods) > 0 {
		section("Pods", workPods(d.Pods, devices, now).Lines(o))
	}
	if d.Failed != nil {
		section("First to fail", failedFirst(d, o.Width))
	}
	if len(d.Conditions) > 0 {
		section("Conditions", workConditions(d.Conditions, now).Lines(o))
	}
	if shown := eventsToShow(d.Events, o.Wide); len(shown) > 0 {
		section("Events", workEvents(shown, now).Lines(o))
	}
	if o.Width > 0 {
		for i := range out {
			out[i] = out[i].Cut(o.Width)
		}
	}
	return out
}

// workHead is name and value, a line each, or more where the value does not fit.
func workHead(d *fleet.Description, now time.Time, limit int) []Line {
	var out []Line
	width := max(len("Node labels: "), len(d.Kind)+2)
	add := func(key, value string, tone Tone) {
		switch {
		case value == "":
			return
		case key != "":
			key += ":"
		}
		for _, text := range wrapped(Sanitize(value), limit-width) {
			out = append(out, Line{Toned(fmt.Sprintf("%-*s", width, Sanitize(key)), Head), Toned(text, tone)})
			key = ""
		}
	}
	add(d.Kind, d.Namespace+"/"+d.Name, Accent)
	add("State", d.State+orNothing(": ", why(d.Reason, d.Message)), workTone(d.State))
	add("Started", workTimes(d.Work, now), Plain)
	stage := strings.Join(nonEmpty(d.Labels[kube.LabelPipeline], d.Labels[kube.LabelRun], d.Labels[kube.LabelStage]), " / ")
	add("Stage", stage, Plain)
	add("By", d.By, Plain)
	add("GPUs", workGPUs(d.Work), Plain)
	add("Pods", workSize(d), Plain)
	add("Queue", d.Queue, Plain)
	add("Priority", d.Priority, Plain)
	if p := d.Progress; p != nil {
		add("Progress", workProgress(p), Plain)
	}
	add("Metrics", Metrics(d.Metrics), Good)
	if s := d.Shape; s != nil {
		shapeHead(s, add)
	}
	return out
}

// wrapped breaks sanitized text into lines of width cells; where there is no limit, or hardly any room, it does not.
func wrapped(text string, width int) []string {
	if width < least {
		return []string{text}
	}
	return wrapWords(text, width)
}

// workTone is the tone of a piece of work's state.
func workTone(state string) Tone {
	switch state {
	case job.Succeeded:
		return Good
	case job.Failed:
		return Bad
	case job.Running:
		return Accent
	}
	return Warn
}

// workProgress is what a training says of itself in one line.
func workProgress(p *job.Progress) string {
	var parts []string
	if p.Percent != job.Unknown {
		parts = append(parts, Percent(p.Percent/100))
	}
	if p.Epoch != job.Unknown {
		epoch := "epoch " + Float(p.Epoch)
		if p.Epochs != job.Unknown {
			epoch += "/" + Float(p.Epochs)
		}
		parts = append(parts, epoch)
	}
	if p.Step != job.Unknown {
		step := "step " + Float(p.Step)
		if p.Total != job.Unknown {
			step += "/" + Float(p.Total)
		}
		parts = append(parts, step)
	}
	return strings.Join(append(parts, Metrics(p.Metrics)), " ")
}

func workTimes(w *fleet.Work, now time.Time) string {
	text := w.Created.UTC().Format(time.RFC3339) + " (" + Age(now.Sub(w.Created)) + " ago)"
	if w.Started != nil {
		if wait := w.Started.Sub(w.Created); wait >= 2*time.Second {
			text += ", waited " + Age(wait)
		}
	}
	if w.Finished != nil {
		text += ", ended after " + since(orCreated(w), w.Finished, now)
	}
	return text
}

func orCreated(w *fleet.Work) *time.Time {
	if w.Started != nil {
		return w.Started
	}
	return &w.Created
}

func workGPUs(w *fleet.Work) string {
	if w.GPUs == 0 && w.Held == 0 {
		return ""
	}
	var kinds []string
	for _, name := range slices.Sorted(maps.Keys(w.Resources)) {
		kinds = append(kinds, fmt.Sprintf("%d %s", w.Resources[name], name))
	}
	text := strings.Join(kinds, ", ")
	if text == "" {
		text = strconv.FormatInt(w.GPUs, 10)
	}
	return text + orNothing(" ", w.Product) + fmt.Sprintf("; holds %d now", w.Held)
}

func workSize(d *fleet.Description) string {
	text := fmt.Sprintf("%d ready", d.Ready)
	if d.Want != fleet.Unknown {
		text = fmt.Sprintf("%d of %d ready", d.Ready, d.Want)
	}
	s := d.Shape
	if s == nil {
		return text
	}
	for _, part := range []struct {
		n    *int64
		text string
	}{{s.Parallelism, "parallelism %d"}, {s.Completions, "completions %d"}, {s.BackoffLimit, "at most %d retries"}} {
		if part.n != nil {
			text += ", " + fmt.Sprintf(part.text, *part.n)
		}
	}
	if s.Deadline != nil {
		text += ", at most " + Age(time.Duration(*s.Deadline)*time.Second)
	}
	if s.Indexed {
		text += ", indexed"
	}
	return text
}

func shapeHead(s *fleet.Shape, add func(key, value string, tone Tone)) {
	for _, c := range s.Containers {
		add("Container", c.Name+" "+c.Image, Plain)
		add("", orNothing("runs ", c.Command), Dim)
		asks := orNothing("asks for ", pairs(c.Requests))
		if !maps.Equal(c.Requests, c.Limits) {
			asks = strings.TrimPrefix(asks+orNothing(", at most ", pairs(c.Limits)), ", ")
		}
		add("", asks, Dim)
	}
	add("Node labels", pairs(s.NodeSelector), Plain)
	add("Tolerates", strings.Join(s.Tolerations, ", "), Plain)
	add("Claims", strings.Join(s.Claims, ", "), Plain)
	if s.ServiceAccount != "default" {
		add("Account", s.ServiceAccount, Plain)
	}
	add("Scheduler", s.Scheduler, Plain)
}

func pairs(m map[string]string) string {
	parts := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+"="+m[k])
	}
	return strings.Join(parts, " ")
}

func nonEmpty(texts ...string) []string {
	return slices.DeleteFunc(texts, func(s string) bool { return s == "" })
}

// workPods lists pods by rank. Columns that say nothing of any of them are left out.
func workPods(pods []*fleet.Pod, devices map[string][]metrics.Device, now time.Time) Table {
	t := Table{Columns: []Column{
		{Name: "RANK", Right: true}, {Name: "POD", Min: 20}, {Name: "ROLE"}, {Name: "STATE", Min: 10}, {Name: "NODE"}, {Name: "GPUS"}, {Name: "BUSY", Right: true},
		{Name: "MEMORY"}, {Name: "RESTARTS", Right: true}, {Name: "EXIT", Right: true}, {Name: "AGE"}, {Name: "MESSAGE", Wide: true, Max: 100},
	}}
	for _, p := range pods {
		var mine []metrics.Device
		if !p.Final() { // Prometheus remembers a pod for some minutes longer
			mine = devices[p.Namespace+"/"+p.Name]
		}
		rank, exit := "", ""
		if p.Rank >= 0 {
			rank = strconv.Itoa(p.Rank)
		}
		if p.ExitCode != nil {
			exit = strconv.Itoa(int(*p.ExitCode))
		}
		state := p.State
		if p.Reason != "" {
			state += " " + p.Reason
		}
		t.Rows = append(t.Rows, []Cell{
			Text(rank), Text(p.Name), Text(p.Role), Toned(state, podTone(&p.PodFact)), Text(p.Node), Text(podDevices(p, mine)), Text(busy(mine)),
			Text(deviceMemory(mine)), Text(strconv.Itoa(int(p.Restarts))), Text(exit), Text(Age(now.Sub(p.Created))), Text(p.Message),
		})
	}
	return t.without("RANK", "ROLE", "GPUS", "BUSY", "MEMORY", "EXIT")
}

// without drops those of the named columns in which no row has a text.
func (t Table) without(names ...string) Table {
	for _, name := range names {
		i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == name })
		if i < 0 || slices.ContainsFunc(t.Rows, func(row []Cell) bool { return i < len(row) && row[i].Text != "" }) {
			continue
		}
		t.Columns = slices.Delete(slices.Clone(t.Columns), i, i+1)
		for r, row := range t.Rows {
			if i < len(row) {
				t.Rows[r] = slices.Delete(slices.Clone(row), i, i+1)
			}
		}
	}
	return t
}

// podDevices is how many accelerators a pod asks for and, where an exporter tells, which: "2 (0,1)".
func podDevices(p *fleet.Pod, devices []metrics.Device) string {
	if p.GPUs == 0 && len(devices) == 0 {
		return ""
	}
	var indices []string
	for _, d := range devices {
		if d.Index != "" {
			indices = append(indices, d.Index)
		}
	}
	slices.SortFunc(indices, func(a, b string) int {
		x, _ := strconv.Atoi(a)
		y, _ := strconv.Atoi(b)
		return x - y
	})
	text := strconv.FormatInt(max(p.GPUs, int64(len(devices))), 10)
	if len(indices) > 0 {
		text += " (" + strings.Join(indices, ",") + ")"
	}
	return text
}

// busy is the mean utilisation of devices; empty when none tells.
func busy(devices []metrics.Device) string {
	if v := meanBusy(devices); !math.IsNaN(v) {
		return Percent(v / 100)
	}
	return ""
}

func deviceMemory(devices []metrics.Device) string {
	used, total := 0.0, 0.0
	for _, d := range devices {
		used += d.MemoryUsed
		total += d.MemoryTotal
	}
	switch {
	case len(devices) == 0 || math.IsNaN(used):
		return ""
	case math.IsNaN(total) || total <= 0:
		return Bytes(int64(used))
	}
	return Bytes(int64(used)) + "/" + Bytes(int64(total))
}

func podTone(p *job.PodFact) Tone {
	switch p.State {
	case job.Succeeded:
		return Good
	case job.Failed:
		return Bad
	case job.Running:
		if p.Reason != "" {
			return Warn
		}
		return Accent
	}
	return Warn
}

func failedFirst(d *fleet.Description, width int) []Line {
	p := d.Failed
	text := "pod " + p.Name
	if p.Rank >= 0 {
		text = fmt.Sprintf("rank %d, pod %s", p.Rank, p.Name)
	}
	if p.Node != "" {
		text += " on " + p.Node
	}
	if p.Finished != nil {
		text += " at " + p.Finished.UTC().Format("15:04:05") + " UTC"
	}
	out := []Line{{Text(Sanitize(text))}}
	for _, l := range wrapped(Sanitize(p.Why()), width) {
		out = append(out, Line{Toned(l, Bad)})
	}
	for _, l := range d.Log {
		out = append(out, Line{Toned("  | ", Dim), Text(SanitizeLine(l))})
	}
	return out
}

func workConditions(list []fleet.Condition, now time.Time) Table {
	t := Table{Columns: []Column{{Name: "TYPE"}, {Name: "STATUS"}, {Name: "REASON"}, {Name: "AGE"}, {Name: "MESSAGE"}}}
	for _, c := range list {
		age := ""
		if !c.Since.IsZero() {
			age = Age(now.Sub(c.Since))
		}
		t.Rows = append(t.Rows, []Cell{Text(c.Type), Text(c.Status), Text(c.Reason), Text(age), Text(c.Message)})
	}
	return t
}

// newestEvents is how many events a page shows, the newest; -o wide shows all.
const newestEvents = 12

// routine are the events that every pod has that starts and ends as it should.
var routine = []string{"Scheduled", "Created", "Started", "Pulled", "Pulling", "SuccessfulCreate", "SuccessfulDelete"}

// eventsToShow leaves out what goes without saying, and the oldest of too many.
func eventsToShow(events []fleet.Event, all bool) []fleet.Event {
	if all {
		return events
	}
	events = slices.DeleteFunc(slices.Clone(events), func(e fleet.Event) bool {
		return e.Type == "Normal" && slices.Contains(routine, e.Reason)
	})
	return events[max(len(events)-newestEvents, 0):]
}

func workEvents(events []fleet.Event, now time.Time) Table {
	t := Table{Columns: []Column{{Name: "LAST"}, {Name: "COUNT", Right: true}, {Name: "TYPE"}, {Name: "REASON"}, {Name: "OBJECT"}, {Name: "MESSAGE"}}}
	for _, e := range events {
		tone := Plain
		if e.Type == "Warning" {
			tone = Warn
		}
		t.Rows = append(t.Rows, []Cell{
			Text(Age(now.Sub(e.Last))), Text(strconv.Itoa(int(e.Count))), Toned(e.Type, tone), Text(e.Reason), Text(e.Object), Text(e.Message),
		})
	}
	return t
}
