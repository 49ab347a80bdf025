package gpus

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"time"
)

// reading is what a device shows at one time.
type reading struct {
	util                float64 // percent
	memory, free        float64 // MiB
	reserved            float64 // MiB
	power, temperature  float64 // watts, degrees
	tensor              float64 // share of time, 0 to 1
	clock, memoryClock  float64 // MHz
	xid                 int
	energy              float64 // mJ since the pod started
	holder, container   string
	namespace           string
	index               int
	uuid, serial, busID string
}

// board is what a model of a device can do.
type board struct {
	name        string // as the driver says
	memory      float64
	idle, limit float64 // watts
	clock, hbm  float64
}

// boards by the label of feature discovery. What is not here is like the first.
func boardOf(model string) board {
	boards := map[string]board{
		"NVIDIA-A100-SXM4-80GB":   {"NVIDIA A100-SXM4-80GB", 81920, 62, 400, 1410, 1593},
		"NVIDIA-H100-80GB-HBM3":   {"NVIDIA H100 80GB HBM3", 81559, 70, 700, 1980, 2619},
		"NVIDIA-L4":               {"NVIDIA L4", 23034, 13, 72, 2040, 6251},
		"AMD_Instinct_MI300X_OAM": {"AMD Instinct MI300X OAM", 196592, 140, 750, 2100, 1300},
	}
	if b, ok := boards[model]; ok {
		return b
	}
	b := boards["NVIDIA-A100-SXM4-80GB"]
	b.name = model
	return b
}

// hash spreads names over 0 to 1.
func hash(parts ...any) float64 {
	sum := sha256.Sum256([]byte(fmt.Sprintln(parts...)))
	return float64(binary.BigEndian.Uint32(sum[:4])) / math.MaxUint32
}

// read is what the i-th device of a node shows. The same pod shows the same at the same time.
func (n *node) read(i int, now time.Time) reading {
	b, id := boardOf(n.model), sha256.Sum256(fmt.Appendf(nil, "%s %d", n.name, i))
	r := reading{
		index: i, free: b.memory, power: b.idle * (0.97 + 0.06*hash(n.name, i)), temperature: 29 + math.Floor(4*hash(n.name, i)),
		clock: 345, memoryClock: b.hbm, reserved: math.Round(b.memory / 140),
		uuid:   fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16]),
		serial: fmt.Sprintf("%012d", binary.BigEndian.Uint32(id[16:20])), busID: fmt.Sprintf("00000000:%02X:00.0", 0x17+16*i),
	}
	r.free -= r.reserved
	p := n.holders[i]
	if p == nil {
		return r
	}
	nth := 0
	for _, other := range n.holders[:i] {
		if other == p {
			nth++
		}
	}
	r.namespace, r.holder, r.container = p.namespace, p.name, p.container(n.kind, nth)
	r.xid, _ = strconv.Atoi(p.xid)
	age := now.Sub(p.started).Seconds()
	if p.started.IsZero() || age < 0 {
		return r
	}
	r.util = p.busy(i, age, now)
	load := r.util / 100
	// A process that does nothing keeps its memory.
	r.memory = math.Round((b.memory - r.reserved) * (0.35 + 0.6*hash(p.uid, "memory")) * math.Min(1, (age+3)/20))
	r.free -= r.memory
	r.power += (b.limit - b.idle) * load * (0.9 + 0.05*wave(now, 7, hash(p.uid, i)))
	r.temperature += math.Round(42 * load)
	r.tensor = load * (0.4 + 0.3*hash(p.uid, "tensor"))
	r.clock = math.Round(345 + (b.clock-345)*math.Min(1, 3*load))
	r.energy = math.Round(age * r.power * 1000)
	return r
}

// busy is the utilisation of a training: it starts slowly, breathes, and falls at each evaluation.
func (p *pod) busy(device int, age float64, now time.Time) float64 {
	if fixed, err := strconv.ParseFloat(p.util, 64); err == nil {
		return math.Max(0, math.Min(100, fixed))
	}
	level := 62 + 34*hash(p.uid, "level")
	level += 3*wave(now, 90, hash(p.uid)) + 2*wave(now, 13, hash(p.uid, device))
	period := 120 + 240*hash(p.uid, "evaluation")
	if into := math.Mod(age, period); age > period && into < 12 {
		level *= 0.3
	}
	level *= math.Min(1, (age+1)/10)
	return math.Round(math.Max(0, math.Min(100, level)))
}

// wave goes from -1 to 1 and back in so many seconds.
func wave(now time.Time, seconds, phase float64) float64 {
	return math.Sin(2 * math.Pi * (float64(now.UnixMilli())/1000/seconds + phase))
}
