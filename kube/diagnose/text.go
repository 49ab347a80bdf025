package diagnose

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

func age(d time.Duration) string { return duration.HumanDuration(max(d, 0)) }

// count is "1 node" or "3 nodes".
func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + many
}

// some joins the first few names and says how many more there are.
func some(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func unique(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out)
}

// amounts are quantities as whole numbers that can be added and compared: thousandths of a processor, else units.
type amounts map[corev1.ResourceName]int64

func amountsOf(list corev1.ResourceList) amounts {
	out := make(amounts, len(list))
	for name, q := range list {
		out[name] = amount(name, q)
	}
	return out
}

func amount(name corev1.ResourceName, q resource.Quantity) int64 {
	if base(string(name)) == "cpu" {
		return q.MilliValue()
	}
	return q.Value()
}

// base is a resource of a quota without its prefix: requests.cpu is cpu.
func base(name string) string {
	return strings.TrimPrefix(strings.TrimPrefix(name, "requests."), "limits.")
}

// quantity writes an amount with its unit, "4 GPUs", "3.5 CPUs", "64Gi memory".
func quantity(name corev1.ResourceName, n int64) string {
	switch {
	case name == corev1.ResourceCPU:
		text := strings.TrimRight(strings.TrimRight(strconv.FormatFloat(float64(n)/1000, 'f', 3, 64), "0"), ".")
		if text == "1" {
			return "1 CPU"
		}
		return text + " CPUs"
	case name == corev1.ResourceMemory || name == corev1.ResourceEphemeralStorage:
		return bytes(n) + " " + string(name)
	case job.IsAccelerator(string(name)):
		one, many := unit(string(name))
		return count(n, one, many)
	}
	return strconv.FormatInt(n, 10) + " " + string(name)
}

// bytes writes memory as manifests do, to one decimal: 1.5Gi.
func bytes(n int64) string {
	v, unit := float64(n), ""
	for _, u := range []string{"Ki", "Mi", "Gi", "Ti", "Pi"} {
		if v < 1024 && v > -1024 {
			break
		}
		v, unit = v/1024, u
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0") + unit
}

// unit is what one accelerator of a resource is called. Slices and vendors' own things keep the name of the resource.
func unit(name string) (one, many string) {
	switch {
	case strings.HasSuffix(name, "/gpu"):
		return "GPU", "GPUs"
	case name == "google.com/tpu":
		return "TPU chip", "TPU chips"
	}
	return name, name
}

// pairs writes labels sorted, "a=b, c=d".
func pairs(m map[string]string) string {
	out := make([]string, 0, len(m))
	for k, v := range m {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// taintText is a taint as kubectl taint takes it: key=value:effect.
func taintText(t corev1.Taint) string {
	s := t.Key
	if t.Value != "" {
		s += "=" + t.Value
	}
	return s + ":" + string(t.Effect)
}

// longest is how much of a log line is evidence.
const longest = 400

// cut shortens a line of a log to what can be read, at a whole character.
func cut(line string) string {
	line = strings.TrimSpace(line)
	if len(line) <= longest {
		return line
	}
	return strings.ToValidUTF8(line[:longest], "") + "…"
}
