package metrics

import "math"

// Usage is what a set of devices does together. What none of them tells is nil.
type Usage struct {
	// Devices counts devices and parts of devices, each once however many pods share it.
	Devices int `json:"devices"`
	// Busy is the mean of Device.Busy in percent, Mean that of Device.Mean.
	Busy *float64 `json:"busy,omitempty"`
	Mean *float64 `json:"mean,omitempty"`
	// MemoryUsed and MemoryTotal are sums in bytes.
	MemoryUsed  *float64 `json:"memoryUsed,omitempty"`
	MemoryTotal *float64 `json:"memoryTotal,omitempty"`
	// Power is the sum in watts; the parts of one device count once, with all that the device draws.
	Power *float64 `json:"power,omitempty"`
	// Temperature is that of the hottest device in degrees Celsius.
	Temperature *float64 `json:"temperature,omitempty"`
	// XID is the last driver error of the devices that report one: 0 when there was none.
	XID *float64 `json:"xid,omitempty"`
}

// ByPod sorts devices by who holds them, under namespace/pod. Devices that nobody holds are left out.
func ByPod(devices []Device) map[string][]Device {
	held := map[string][]Device{}
	for i := range devices {
		if d := &devices[i]; d.Held() {
			key := d.Namespace + "/" + d.Pod
			held[key] = append(held[key], *d)
		}
	}
	return held
}

// ByNode sorts devices by the name that Prometheus has for their node; those without one are under "".
func ByNode(devices []Device) map[string][]Device {
	nodes := map[string][]Device{}
	for i := range devices {
		nodes[devices[i].Node] = append(nodes[devices[i].Node], devices[i])
	}
	return nodes
}

// UsageOf adds devices up. Numbers that are not known are left out of sums and means, so that one silent exporter does
// not blank the others.
func UsageOf(devices []Device) Usage {
	var u Usage
	var busy, mean, used, total sum
	hottest, xid := math.NaN(), math.NaN()
	power := map[string]float64{}
	seen := map[string]bool{}
	for i := range devices {
		d := &devices[i]
		// Exporters that tell the pods of a shared device apart give each its own numbers.
		busy.add(d.Busy)
		mean.add(d.Mean)
		if seen[d.ID()] {
			continue
		}
		seen[d.ID()] = true
		u.Devices++
		used.add(d.MemoryUsed)
		total.add(d.MemoryTotal)
		hottest = larger(hottest, d.Temperature)
		if d.XID > 0 || math.IsNaN(xid) {
			xid = d.XID
		}
		whole := *d
		whole.Part = ""
		if known(d.Power) != nil {
			power[whole.ID()] = max(power[whole.ID()], d.Power)
		}
	}
	u.Busy, u.Mean = busy.mean(), mean.mean()
	u.MemoryUsed, u.MemoryTotal = used.sum(), total.sum()
	u.Temperature, u.XID = known(hottest), known(xid)
	var watts sum
	for _, w := range power {
		watts.add(w)
	}
	u.Power = watts.sum()
	return u
}

// sum adds what is known.
type sum struct {
	n     int
	total float64
}

func (s *sum) add(v float64) {
	if known(v) != nil {
		s.n++
		s.total += v
	}
}

func (s *sum) sum() *float64 {
	if s.n == 0 {
		return nil
	}
	return &s.total
}

func (s *sum) mean() *float64 {
	if s.n == 0 {
		return nil
	}
	m := s.total / float64(s.n)
	return &m
}

// larger is the larger of two numbers of which either may be NaN.
func larger(a, b float64) float64 {
	if math.IsNaN(a) || b > a {
		return b
	}
	return a
}
