package views

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// LearningOptions say what of a training is drawn, and how.
type LearningOptions struct {
	// Width and Height are the cells to fill; 0 is 80 by 24.
	Width, Height int
	// Metrics are patterns of the names of what is drawn as a chart; none leaves the choice to the training.
	Metrics []string
	// Axis is job.AxisStep, AxisEpoch or AxisTime; empty is the one that tells best.
	Axis string
	// Log scales the values by decades.
	Log bool
	// Smooth, from 0 to 1, draws an exponential moving average over the values.
	Smooth float64
	// ASCII draws without Braille and box characters.
	ASCII bool
	// Live keeps room for what is still to come.
	Live bool
}

// Learning draws how far pieces of work are and what they learn: one in full, the children of a sweep side by side in one
// chart.
func Learning(list []fleet.Training, now time.Time, o LearningOptions) []Line {
	if o.Width <= 0 {
		o.Width = 80
	}
	if o.Height <= 0 {
		o.Height = 24
	}
	if len(list) == 0 {
		return nil
	}
	axis := o.Axis
	if axis == "" {
		axis = list[0].Axis
		for i := range list {
			if len(list[i].Curves) > 0 {
				axis = list[i].Axis
				break
			}
		}
	}
	var out, foot []Line
	if len(list) == 1 {
		out = append(out, learningHead(&list[0], now, o)...)
		foot = learningNotes(&list[0], now, axis)
	} else {
		out = append(out, sweepHead(list, now).Lines(LineOptions{Width: o.Width})...)
		foot = sweepNotes(list)
	}
	chart, rest := learningChart(list, axis, o)
	table := restTable(rest, o)
	if len(chart.Series) > 0 || o.Live && len(rest) == 0 && len(o.Metrics) > 0 {
		out = append(out, Line{})
		room := o.Height - len(out) - len(foot)
		height := min(max(room-min(len(table), room/3), chartMinHeight), max(12, o.Width/5))
		out = append(out, chart.Lines(o.Width, height)...)
		table = fold(table, room-height)
	}
	out = append(append(out, table...), foot...)
	for i := range out {
		out[i] = out[i].Cut(o.Width)
	}
	return out
}

// fold leaves out the rows of a list for which there is no room, and counts them.
func fold(lines []Line, room int) []Line {
	if len(lines) <= room || len(lines) == 0 {
		return lines
	}
	if room < 1 {
		return nil
	}
	hidden := int64(len(lines) - max(room-1, 1))
	if room < 3 {
		room = 1 // no heading without a row
	}
	return append(lines[:room-1:room-1], Line{Toned("+"+Plural(hidden, "metric", "metrics")+" more: draw them with --metric", Dim)})
}

// learningHead is what the work is and how it stands, and how far it is.
func learningHead(t *fleet.Training, now time.Time, o LearningOptions) []Line {
	w := t.Work
	first := Line{Toned(Sanitize(w.KindName()), Head), Text("  "), Toned(Sanitize(stateAndWhy(w)), workTone(w.State))}
	if d := since(w.Started, w.Finished, now); d != "" {
		first = append(first, Text("  "+d))
	}
	if w.GPUs > 0 {
		first = append(first, Toned("  "+Plural(w.GPUs, "GPU", "GPUs"), Dim))
	}
	out := []Line{first}
	if line := howFar(t, now, o); len(line) > 0 {
		out = append(out, line)
	}
	return out
}

// stateAndWhy is the state of a piece of work, with the reason and its explanation.
func stateAndWhy(w *fleet.Work) string {
	if w.Reason == "" || w.Reason == w.State {
		return w.State
	}
	return w.State + ": " + why(w.Reason, w.Message)
}

// howFar is a bar with the numbers behind it; empty when nothing is known.
func howFar(t *fleet.Training, now time.Time, o LearningOptions) Line {
	p := &t.Progress
	if p.Source == "" {
		return nil
	}
	var line Line
	add := func(text string, tone Tone) {
		if text != "" {
			if len(line) > 0 {
				line = append(line, Text("  "))
			}
			line = append(line, Toned(text, tone))
		}
	}
	if p.Percent != job.Unknown {
		bar := Bar(p.Percent/100, min(max(o.Width/4, 8), 30))
		if o.ASCII {
			bar = strings.NewReplacer("█", "#", "░", ".", "▏", ".", "▎", ".", "▍", ".", "▌", "#", "▋", "#", "▊", "#", "▉", "#").Replace(bar)
		}
		of := ""
		if !p.Whole() {
			of = " of the epoch"
		}
		add(bar+" "+Percent(p.Percent/100)+of, Accent)
	}
	add(timeLeft(t, now), Plain)
	if !p.PerEpoch { // else it says which epoch
		add(Truncate(Sanitize(p.Label), 24), Dim)
	}
	add(ofTotal("step", p.Step, p.Total), Plain)
	add(ofTotal("epoch", p.Epoch, p.Epochs), Plain)
	add(speed(&t.Training), Plain)
	return line
}

// ofTotal is "step 45/100"; empty when the step is not known.
func ofTotal(name string, n, total float64) string {
	switch {
	case n == job.Unknown:
		return ""
	case total == job.Unknown:
		return name + " " + Float(n)
	}
	return name + " " + Float(n) + "/" + Float(total)
}

// speed is steps in a second, or how long a slow one takes.
func speed(t *job.Training) string {
	unit := "step"
	if t.Epochs {
		unit = "epoch"
	}
	switch {
	case t.Rate <= 0 || t.Progress.Percent == 100:
		return ""
	case t.Rate >= 1:
		return shortNumber(math.Round(t.Rate*10)/10, 0) + " " + unit + "s/s"
	}
	return shortSeconds(math.Round(10/t.Rate)/10) + "/" + unit
}

// timeLeft is how long the rest will take, as of now.
func timeLeft(t *fleet.Training, now time.Time) string {
	if t.Left <= 0 || t.Work.State != job.Running || silence(t, now) > 0 {
		return ""
	}
	left := t.Left
	if !t.Last.IsZero() {
		left -= now.Sub(t.Last)
	}
	of := ""
	if !t.Progress.Whole() {
		of = " of the epoch"
	}
	if left < -max(t.Left/10, 10*time.Second) {
		return "should be done by now"
	}
	return Age(max(left, time.Second)) + " left" + of
}

// silence is how long a training has said nothing although it used to; 0 when all is well.
func silence(t *fleet.Training, now time.Time) time.Duration {
	if t.Work.State != job.Running || t.Understood < 3 || t.Last.IsZero() {
		return 0
	}
	usual := t.Last.Sub(t.First) / time.Duration(t.Understood)
	if quiet := now.Sub(t.Last); quiet > max(20*usual, 2*time.Minute) {
		return quiet
	}
	return 0
}

// learningNotes are what is remarkable.
func learningNotes(t *fleet.Training, now time.Time, axis string) []Line {
	var out []Line
	note := func(tone Tone, format string, args ...any) {
		out = append(out, Line{Toned(Sanitize(fmt.Sprintf(format, args...)), tone)})
	}
	for _, name := range t.Progress.NotFinite {
		before := ""
		if v, ok := t.Progress.Metrics[name]; ok {
			before = "; it was " + Float(v) + " before"
		}
		note(Bad, "%s is not a finite number any more%s", name, before)
	}
	if quiet := silence(t, now); quiet > 0 {
		note(Warn, "nothing was heard of it for %s", Age(quiet))
	}
	if n := len(t.Restarts); n > 0 {
		r := t.Restarts[n-1]
		text := fmt.Sprintf("went back from %s to %s", Float(r.From), Float(r.To))
		if !r.At.IsZero() {
			text += " " + Age(now.Sub(r.At)) + " ago"
		}
		if n > 1 {
			text += fmt.Sprintf(", the last of %d times", n)
		}
		note(Warn, "%s", text)
	}
	if text := bests(t, axis); text != "" {
		note(Dim, "best %s", text)
	}
	if len(t.Work.Metrics) > 0 && t.Work.Final() {
		note(Good, "result: %s", Metrics(t.Work.Metrics))
	}
	if n := len(t.Errors); n > 0 && t.Understood == 0 {
		note(Warn, "%v", t.Errors[n-1])
	}
	if t.Note != "" && t.Understood == 0 {
		note(Dim, "%s", t.Note)
	}
	return out
}

// mostBests is how many metrics are told the best value of.
const mostBests = 2

// bests are the best values of measures taken on data that is not trained on.
func bests(t *fleet.Training, axis string) string {
	var out []string
	for i := range t.Curves {
		c := &t.Curves[i]
		if best, ok := c.Best(); ok && len(c.Points) > 1 && len(out) < mostBests && job.IsEvaluation(c.Name) && job.IsMeasure(c.Name) {
			out = append(out, c.Name+" "+Float(best.Value)+whereOn(axis, best, t.First))
		}
	}
	return strings.Join(out, ", ")
}

// whereOn is where a point stands on an axis.
func whereOn(axis string, p job.Point, first time.Time) string {
	switch {
	case axis == job.AxisStep && !math.IsNaN(p.Step):
		return " at step " + Float(p.Step)
	case axis == job.AxisEpoch && !math.IsNaN(p.Epoch):
		return " at epoch " + Float(p.Epoch)
	case p.At != 0:
		return " after " + Age(time.UnixMilli(p.At).Sub(first))
	}
	return ""
}

// learningChart is the chart, and the curves that it leaves out.
func learningChart(list []fleet.Training, axis string, o LearningOptions) (Chart, []job.Curve) {
	c := Chart{X: Axis{Name: axis}, Y: Axis{Log: o.Log}, ASCII: o.ASCII, Empty: "waiting for the first value"}
	switch axis {
	case job.AxisStep:
		c.X.Unit = Whole
	case job.AxisTime:
		c.X.Unit = Seconds
	}
	var rest []job.Curve
	n := 0
	for i := range list {
		t := &list[i]
		chosen := t.Match(o.Metrics)
		if len(o.Metrics) == 0 {
			chosen = t.Main()
			if len(list) > 1 {
				chosen = chosen[:min(len(chosen), 1)]
			} else {
				rest = without(t.Curves, chosen)
			}
		}
		for k := range chosen {
			curve := &chosen[k]
			name := strings.TrimSpace(t.Name + " " + curve.Name)
			if len(list) > 1 && len(o.Metrics) == 0 {
				name, c.Title = t.Name, orElse(c.Title, curve.Name)
			}
			x, y := curve.Over(axis, t.First.UnixMilli())
			tone := HueOf(n)
			n++
			if o.Smooth > 0 {
				c.Series = append(c.Series, Series{Name: name, X: x, Y: y, Tone: Dim, Quiet: true})
				y = job.Smooth(y, o.Smooth)
			}
			c.Series = append(c.Series, Series{Name: name, X: x, Y: y, Tone: tone})
		}
	}
	return c, rest
}

func without(all, some []job.Curve) []job.Curve {
	has := map[string]bool{}
	for _, c := range some {
		has[c.Name] = true
	}
	var out []job.Curve
	for _, first := range []bool{true, false} { // measures of the model stand before those of its training
		for _, c := range all {
			if !has[c.Name] && job.IsMeasure(c.Name) == first {
				out = append(out, c)
			}
		}
	}
	return out
}

// restTable are the metrics that have no chart, a line each.
func restTable(curves []job.Curve, o LearningOptions) []Line {
	if len(curves) == 0 {
		return nil
	}
	t := Table{Columns: []Column{{Name: "METRIC", Max: 32}, {Name: "CURVE"}, {Name: "LAST", Right: true}, {Name: "LEAST", Right: true}, {Name: "MOST", Right: true}}}
	for i := range curves {
		c := &curves[i]
		values := make([]float64, len(c.Points))
		lo, hi := math.Inf(1), math.Inf(-1)
		for k, p := range c.Points {
			values[k] = p.Value
			if finite(p.Value) {
				lo, hi = min(lo, p.Value), max(hi, p.Value)
			}
		}
		draw := Sparkline
		if o.ASCII {
			draw = ASCIISparkline
		}
		row := []Cell{Text(c.Name), Toned(strings.TrimRight(draw(values, max(min(o.Width-56, 40), 8)), " "), Accent), Text(Float(c.Last())), Text(Unknown), Text(Unknown)}
		if lo <= hi {
			row[3], row[4] = Toned(Float(lo), Dim), Toned(Float(hi), Dim)
		}
		t.Rows = append(t.Rows, row)
	}
	return t.Lines(LineOptions{Width: o.Width})
}

// sweepHead lists the children of a sweep.
func sweepHead(list []fleet.Training, now time.Time) Table {
	t := Table{Columns: []Column{{Name: "CHILD", Max: 40}, {Name: "STATE"}, {Name: "PROGRESS", Min: 8}, {Name: "STEP", Right: true}, {Name: "LEFT"}, {Name: "METRICS"}}}
	for i := range list {
		x := &list[i]
		p := &x.Progress
		far, step := "", ""
		if p.Source != "" && p.Percent != job.Unknown {
			far = Bar(p.Percent/100, 8) + " " + Percent(p.Percent/100)
		}
		if p.Source != "" && p.Step != job.Unknown {
			step = strings.TrimPrefix(ofTotal("", p.Step, p.Total), " ")
		}
		values := p.Metrics
		if len(x.Work.Metrics) > 0 {
			values = x.Work.Metrics
		}
		t.Rows = append(t.Rows, []Cell{
			Text(orElse(x.Name, x.Work.Name)), Toned(x.Work.State, workTone(x.Work.State)), Text(orUnknown(far)), Text(orUnknown(step)),
			Text(orUnknown(strings.TrimSuffix(timeLeft(x, now), " left"))), Text(orUnknown(Metrics(values))),
		})
	}
	return t
}

func sweepNotes(list []fleet.Training) []Line {
	var out []Line
	for i := range list {
		for _, name := range list[i].Progress.NotFinite {
			out = append(out, Line{Toned(Sanitize(list[i].Name+": "+name+" is not a finite number any more"), Bad)})
		}
	}
	return out
}

// LearningEvent is how far a training is in one line, for a log.
func LearningEvent(t fleet.Training, now time.Time) Line {
	line := Line{Toned(now.UTC().Format("15:04:05")+" ", Dim)}
	if t.Name != "" {
		line = append(line, Toned(Sanitize(t.Name)+" ", Head))
	}
	p := &t.Progress
	if p.Source == "" {
		return append(line, Toned(Sanitize(stateAndWhy(t.Work)), workTone(t.Work.State)))
	}
	if t.Work.State != job.Running {
		line = append(line, Toned(Sanitize(t.Work.State), workTone(t.Work.State)), Text("  "))
	}
	var parts []string
	if p.Percent != job.Unknown {
		parts = append(parts, Percent(p.Percent/100))
	}
	for _, part := range []string{ofTotal("step", p.Step, p.Total), ofTotal("epoch", p.Epoch, p.Epochs), Metrics(p.Metrics), speed(&t.Training), timeLeft(&t, now)} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return append(line, Text(Sanitize(strings.Join(parts, "  "))))
}
