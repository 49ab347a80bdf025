package metrics

import (
	"cmp"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// target is an exporter as Prometheus sees it.
type target struct {
	labels model.Metric
	at     time.Time
}

// scrape is what a target is known by.
type scrape struct{ job, instance model.LabelValue }

func scrapeOf(m model.Metric) scrape { return scrape{m["job"], m["instance"]} }

// holding is a device in the hands of one container.
type holding struct{ id, namespace, pod, container string }

// reading gathers the series of a holding.
type reading struct {
	Device
	values [fields]float64
	// from is the row of the table that a value is from.
	from [fields]int
}

// decode makes devices of the answers to nowExpr and meansExpr.
func decode(q Query, now, means model.Vector) []Device {
	targets := map[scrape]target{}
	for _, s := range now {
		if _, named := s.Metric[model.MetricNameLabel]; !named {
			targets[scrapeOf(s.Metric)] = target{s.Metric, seconds(float64(s.Value))}
		}
	}
	rows, table := fieldsOf(), exported()
	found := map[holding]*reading{}
	for _, s := range now {
		row, ok := rows[string(s.Metric[model.MetricNameLabel])]
		if !ok || known(float64(s.Value)) == nil {
			continue
		}
		d := identify(s.Metric, targets)
		key := d.holding()
		r := found[key]
		if r == nil {
			r = newReading(d, s.Timestamp.Time())
			found[key] = r
		}
		r.note(&table[row], row, float64(s.Value))
	}
	for _, s := range means {
		d := identify(s.Metric, targets)
		// What somebody held who does not any more is not asked for.
		r := found[d.holding()]
		switch {
		case r == nil || known(float64(s.Value)) == nil:
		case s.Metric[windowLabel] == shortWindow:
			r.Busy = float64(s.Value)
		case s.Metric[windowLabel] == longWindow:
			r.Mean = float64(s.Value)
		}
	}
	devices := make([]Device, 0, len(found))
	for _, r := range found {
		if q.Namespace == "" || r.Namespace == q.Namespace {
			devices = append(devices, r.device())
		}
	}
	return tidy(devices)
}

func newReading(d Device, at time.Time) *reading {
	r := &reading{Device: d}
	if r.At.IsZero() {
		r.At = at
	}
	r.Busy, r.Mean = math.NaN(), math.NaN()
	for f := range r.values {
		r.values[f], r.from[f] = math.NaN(), math.MaxInt
	}
	return r
}

// note takes a series in.
func (r *reading) note(s *series, row int, value float64) {
	v := &r.values[s.field]
	value *= s.factor
	switch {
	case s.adds && !math.IsNaN(*v):
		*v += value
	case row <= r.from[s.field]:
		*v, r.from[s.field] = value, row
	}
}

// device is what the series come to.
func (r *reading) device() Device {
	d, v := r.Device, &r.values
	if math.IsNaN(d.Busy) {
		d.Busy = v[busy]
	}
	d.MemoryUsed, d.MemoryTotal = v[memoryUsed], v[memoryTotal]
	if math.IsNaN(d.MemoryTotal) {
		d.MemoryTotal = v[memoryUsed] + v[memoryRest]
	}
	d.Power, d.Temperature, d.XID = v[power], v[temperature], v[xid]
	return d
}

func (d *Device) holding() holding { return holding{d.ID(), d.Namespace, d.Pod, d.Container} }

// identify reads who a series is of.
func identify(m model.Metric, targets map[scrape]target) Device {
	t, known := targets[scrapeOf(m)]
	d := Device{
		Index: first(m, indexLabels()), UUID: first(m, uuidLabels()), Model: first(m, modelLabels()),
		Part: first(m, partLabels()), Profile: first(m, profileLabels()), Instance: string(m["instance"]), At: t.at,
	}
	for _, l := range holderLabels() {
		pod := m[model.LabelName(l.pod)]
		if pod == "" || m[model.LabelName(l.namespace)] == "" {
			continue
		}
		// Where nobody holds the device, the label that is left is that of the exporter's own pod.
		own := known && pod == t.labels[model.LabelName(l.pod)] && m[model.LabelName(l.namespace)] == t.labels[model.LabelName(l.namespace)]
		if !own && !(l.pod == "pod" && ofExporter(m)) {
			d.Namespace, d.Pod, d.Container = string(m[model.LabelName(l.namespace)]), string(pod), string(m[model.LabelName(l.container)])
		}
		break
	}
	d.Node = nodeOf(m, t)
	// AMD numbers partitions of whole devices too.
	if kind := m["gpu_compute_partition_type"]; strings.EqualFold(string(kind), "spx") {
		d.Part, d.Profile = "", ""
	}
	return d
}

// ofExporter guesses by names whether a pod is an exporter's, for when the series of targets are not kept.
func ofExporter(m model.Metric) bool {
	return strings.Contains(string(m["pod"]), "exporter") && strings.Contains(string(m["container"]), "exporter")
}

// nodeOf is the node's name: not that of the exporter's pod, which older exporters give, and no address.
func nodeOf(m model.Metric, t target) string {
	for _, name := range nodeLabels() {
		if v := m[model.LabelName(name)]; v != "" && v != t.labels["pod"] && v != m["pod"] {
			return string(v)
		}
	}
	host, _, err := net.SplitHostPort(string(m["instance"]))
	if err != nil {
		host = string(m["instance"])
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" {
		return ""
	}
	return host
}

// first is the value of the first of the labels that says something.
func first(m model.Metric, labels []string) string {
	for _, name := range labels {
		if v := m[model.LabelName(name)]; v != "" && v != "NA" && v != "N/A" {
			return string(v)
		}
	}
	return ""
}

// seconds is the time of a number of seconds; zero when it is none.
func seconds(v float64) time.Time {
	if known(v) == nil || v <= 0 || v > math.MaxInt32*100 {
		return time.Time{}
	}
	return time.UnixMilli(int64(v * 1000)).UTC()
}

// tidy sorts devices, and leaves out what one exporter says of a device without knowing its holder when another knows.
func tidy(devices []Device) []Device {
	held := map[string]bool{}
	for i := range devices {
		if devices[i].Held() {
			held[devices[i].ID()] = true
		}
	}
	devices = slices.DeleteFunc(devices, func(d Device) bool { return !d.Held() && held[d.ID()] })
	slices.SortFunc(devices, func(a, b Device) int {
		return cmp.Or(
			strings.Compare(a.Node, b.Node), number(a.Index)-number(b.Index), strings.Compare(a.Index, b.Index),
			number(a.Part)-number(b.Part), strings.Compare(a.UUID, b.UUID),
			strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Pod, b.Pod), strings.Compare(a.Container, b.Container),
		)
	})
	return devices
}

func number(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}
