package metrics

import (
	"cmp"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
)

// decoder makes devices of the answers to nowExpr and meansExpr, which may come at the same time and in any order.
type decoder struct {
	once     sync.Once
	rows     map[string]int
	table    []series
	targets  map[scrape]target
	readings map[holding]*reading
	means    map[holding]*[2]float64
}

// scrape is what a target is known by.
type scrape struct{ job, instance string }

// target is an exporter as Prometheus sees it: when it was asked last, and the names of its own pod.
type target struct {
	at             time.Time
	namespace, pod string
}

// holding is a device in the hands of one container, as the labels have it.
type holding struct {
	uuid, instance, index, part string
	namespace, pod, container   string
}

// reading gathers the series of a holding.
type reading struct {
	Device
	scrape
	// guessed says that the labels of the holder may be those of the exporter's own pod.
	guessed bool
	// nodes are labels that may name the node, the best first.
	nodes  []string
	values [fields]float64
	// from is the row of the table that a value is from.
	from [fields]int
}

func (d *decoder) begin() {
	d.once.Do(func() {
		d.rows, d.table = fieldsOf(), exported()
		d.targets, d.readings, d.means = map[scrape]target{}, map[holding]*reading{}, map[holding]*[2]float64{}
	})
}

// now takes in an answer to nowExpr.
func (d *decoder) now(s sample) {
	d.begin()
	name, named := s.labels[model.MetricNameLabel]
	if !named {
		d.targets[scrapeOf(s.labels)] = target{seconds(s.value), s.labels["namespace"], s.labels["pod"]}
		return
	}
	row, ok := d.rows[name]
	if !ok || known(s.value) == nil {
		return
	}
	key, guessed := hold(s.labels)
	r := d.readings[key]
	if r == nil {
		r = newReading(key, s.labels)
		r.guessed = guessed
		d.readings[key] = r
	}
	r.note(&d.table[row], row, s.value)
}

// mean takes in an answer to meansExpr.
func (d *decoder) mean(s sample) {
	d.begin()
	key, _ := hold(s.labels)
	m := d.means[key]
	if m == nil {
		m = &[2]float64{math.NaN(), math.NaN()}
		d.means[key] = m
	}
	switch s.labels[windowLabel] {
	case shortWindow:
		m[0] = s.value
	case longWindow:
		m[1] = s.value
	}
}

// devices is what all answers come to. Means of what somebody held who does not any more are left out.
func (d *decoder) devices(q Query) []Device {
	d.begin()
	list := make([]Device, 0, len(d.readings))
	for key, r := range d.readings {
		t, found := d.targets[r.scrape]
		r.At = t.at
		r.disown(t, found)
		r.Node = nodeOf(r.nodes, r.Instance, t.pod)
		if m := d.means[key]; m != nil {
			r.Busy, r.Mean = m[0], m[1]
		}
		if q.Namespace == "" || r.Namespace == q.Namespace {
			list = append(list, r.device())
		}
	}
	return tidy(list)
}

// hold reads who a series is of. What may be wrong about the holder is settled when all targets are known.
func hold(l labels) (key holding, guessed bool) {
	key = holding{uuid: first(l, uuidLabels()), instance: l["instance"], index: first(l, indexLabels()), part: first(l, partLabels())}
	// AMD numbers partitions of whole devices too.
	if strings.EqualFold(l["gpu_compute_partition_type"], "spx") {
		key.part = ""
	}
	for _, names := range holderLabels() {
		if namespace := first(l, names.namespaces); l[names.pod] != "" && namespace != "" {
			key.namespace, key.pod, key.container = namespace, l[names.pod], first(l, names.container)
			return key, names.pod == "pod"
		}
	}
	return key, false
}

func newReading(key holding, l labels) *reading {
	r := &reading{scrape: scrapeOf(l), Device: Device{
		Namespace: key.namespace, Pod: key.pod, Container: key.container,
		UUID: key.uuid, Instance: key.instance, Index: key.index, Part: key.part,
		Model: first(l, modelLabels()), Busy: math.NaN(), Mean: math.NaN(),
	}}
	if r.Part != "" {
		r.Profile = first(l, profileLabels())
	}
	for _, name := range nodeLabels() {
		if l[name] != "" {
			r.nodes = append(r.nodes, l[name])
		}
	}
	for f := range r.values {
		r.values[f], r.from[f] = math.NaN(), math.MaxInt
	}
	return r
}

// disown takes the exporter's own pod for no holder: its labels are left where nobody holds a device. Where Prometheus
// does not keep the series of targets, names must tell.
func (r *reading) disown(t target, found bool) {
	own := found && t.pod != "" && r.Pod == t.pod && r.Namespace == t.namespace
	byName := !found && strings.Contains(r.Pod, "exporter") && strings.Contains(r.Container, "exporter")
	if r.guessed && (own || byName) {
		r.Namespace, r.Pod, r.Container = "", "", ""
	}
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
	if bits := v[throttle]; bits >= 0 && bits < 1<<53 {
		d.Throttle = new(uint64(bits))
	}
	return d
}

// nodeOf is the node's name: not that of the exporter's pod, which older exporters give, and no address.
func nodeOf(names []string, instance, exporter string) string {
	for _, name := range names {
		if name != exporter {
			return name
		}
	}
	host, _, err := net.SplitHostPort(instance)
	if err != nil {
		host = instance
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" {
		return ""
	}
	return host
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
			strings.Compare(a.Node, b.Node), strings.Compare(a.Instance, b.Instance), cmp.Compare(number(a.Index), number(b.Index)),
			strings.Compare(a.Index, b.Index), cmp.Compare(number(a.Part), number(b.Part)), strings.Compare(a.UUID, b.UUID),
			strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Pod, b.Pod), strings.Compare(a.Container, b.Container),
		)
	})
	return devices
}

func scrapeOf(l labels) scrape { return scrape{l["job"], l["instance"]} }

// first is the value of the first of the labels that says something.
func first(l labels, names []string) string {
	for _, name := range names {
		if v := l[name]; v != "" && v != "NA" && v != "N/A" {
			return v
		}
	}
	return ""
}

func number(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}

// seconds is the time of a number of seconds; zero when it is none.
func seconds(v float64) time.Time {
	if known(v) == nil || v <= 0 || v > math.MaxInt32*100 {
		return time.Time{}
	}
	return time.UnixMilli(int64(v * 1000)).UTC()
}
