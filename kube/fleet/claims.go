package fleet

import (
	"maps"
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// dra is what a fleet keeps of an object of dynamic resource allocation (resource.k8s.io).
type dra struct {
	resource        string
	namespace, name string
	// held are the devices that a claim was given, by driver; nil while it has none. asked is what a claim or a
	// template asks for, by device class.
	held, asked map[string]int64
	// drivers are those that a device class chooses by.
	drivers []string
	// pool is where the devices of a slice belong, which is valid in its newest generation; devices are by node.
	pool       string
	generation int64
	devices    map[string]*devices
}

// devices are those of one driver on one node.
type devices struct {
	driver string
	// count is of those that stand for themselves; counters are the names of what the others are slices of.
	count    int64
	counters map[string]bool
	product  string
	// memory is of one device, in MiB; 0 when unknown.
	memory int64
}

func (d *devices) total() int64 { return d.count + int64(len(d.counters)) }

// The resources of dynamic resource allocation.
const (
	draGroup          = "resource.k8s.io"
	resourceClaims    = "resourceclaims"
	resourceTemplates = "resourceclaimtemplates"
	resourceSlices    = "resourceslices"
	deviceClasses     = "deviceclasses"
)

// draResource is one of them, and when it is needed.
type draResource struct {
	name, kind string
	namespaced bool
	needed     func(p *parts, nodes bool) bool
}

// draResources is the table of what is read of dynamic resource allocation.
func draResources() []draResource {
	return []draResource{
		{resourceClaims, "ResourceClaim", true, func(p *parts, _ bool) bool { return p.names(func(c claimUse) bool { return c.name != "" }) }},
		{resourceTemplates, "ResourceClaimTemplate", true, func(p *parts, _ bool) bool { return p.names(func(c claimUse) bool { return c.template != "" }) }},
		{deviceClasses, "DeviceClass", false, func(p *parts, _ bool) bool { return p.names(func(claimUse) bool { return true }) }},
		{resourceSlices, "ResourceSlice", false, func(_ *parts, nodes bool) bool { return nodes }},
	}
}

// names says that a pod, or what makes pods, names such a claim.
func (p *parts) names(which func(claimUse) bool) bool {
	named := func(pod *Pod) bool { return slices.ContainsFunc(pod.claims, which) }
	return slices.ContainsFunc(p.pods, named) || slices.ContainsFunc(p.others, named) ||
		slices.ContainsFunc(p.roots, func(r *root) bool { return slices.ContainsFunc(r.demand.claims, which) })
}

// dra is where a resource of dynamic resource allocation is listed; false when the server has none. The versions differ
// in where a device and a request keep their fields, which decodeDRA knows.
func (s served) dra(d draResource) (schema.GroupVersionResource, bool) {
	return s.find(&kind{group: draGroup, kind: d.kind, versions: []string{"v1", "v1beta2", "v1beta1"}})
}

// decodeDRA reads an object of dynamic resource allocation.
func decodeDRA(u *unstructured.Unstructured) *dra {
	d, o := &dra{namespace: u.GetNamespace(), name: u.GetName()}, u.Object
	switch u.GetKind() {
	case "ResourceClaim":
		d.resource = resourceClaims
		d.asked = requests(o, "spec.devices.requests.*")
		for _, r := range at(o, "status.allocation.devices.results.*") {
			if !truth(r, "adminAccess") {
				d.held = plus(d.held, map[string]int64{text(r, "driver"): 1}, 1)
			}
		}
	case "ResourceClaimTemplate":
		d.resource = resourceTemplates
		d.asked = requests(o, "spec.spec.devices.requests.*")
	case "DeviceClass":
		d.resource = deviceClasses
		for _, e := range at(o, "spec.selectors.*.cel.expression") {
			if s, ok := e.(string); ok {
				d.drivers = append(d.drivers, driversIn(s)...)
			}
		}
	case "ResourceSlice":
		d.resource = resourceSlices
		d.offer(o)
	}
	return d
}

// quoted are the names that look like those of drivers in an expression.
var quoted = regexp.MustCompile(`["']([a-z0-9-]+(?:\.[a-z0-9-]+)+)["']`)

func driversIn(expression string) []string {
	var out []string
	for _, m := range quoted.FindAllStringSubmatch(expression, -1) {
		if !slices.Contains(out, m[1]) {
			out = append(out, m[1])
		}
	}
	return out
}

// requests counts devices by class. Of alternatives the first counts, which is the one preferred; "all devices of a
// node" are at least one.
func requests(o map[string]any, path string) map[string]int64 {
	var out map[string]int64
	for _, r := range at(o, path) {
		one := r
		if exactly := at(r, "exactly"); len(exactly) > 0 {
			one = exactly[0]
		} else if first := at(r, "firstAvailable.*"); len(first) > 0 {
			one = first[0]
		}
		if class := text(one, "deviceClassName"); class != "" && !truth(one, "adminAccess") {
			out = plus(out, map[string]int64{class: whole(one, "count", 1)}, 1)
		}
	}
	return out
}

// offer reads the devices of a slice.
func (d *dra) offer(o map[string]any) {
	driver, node := text(o, "spec.driver"), text(o, "spec.nodeName")
	d.pool, d.generation = key(driver, text(o, "spec.pool.name")), whole(o, "spec.pool.generation", 0)
	if !job.IsAcceleratorDriver(driver) {
		return
	}
	d.devices = map[string]*devices{}
	for _, device := range at(o, "spec.devices.*") {
		on := orElse(node, text(device, "nodeName"))
		if on == "" {
			continue // not of one node
		}
		if d.devices[on] == nil {
			d.devices[on] = &devices{driver: driver, counters: map[string]bool{}}
		}
		d.devices[on].add(device)
	}
}

// add takes a device of a slice; v1beta1 has its fields below basic.
func (d *devices) add(device any) {
	if basic := at(device, "basic"); len(basic) > 0 {
		device = basic[0]
	}
	counters := at(device, "consumesCounters.*.counterSet")
	for _, c := range counters {
		if name, ok := c.(string); ok {
			d.counters[name] = true
		}
	}
	if len(counters) == 0 {
		d.count++
	}
	d.product = orElse(d.product, text(device, "attributes.productName.string"))
	if d.memory == 0 {
		d.memory = mebibytes(orElse(text(device, "capacity.memory.value"), text(device, "capacity.memory")))
	}
}

// mebibytes is a quantity of bytes in MiB, 0 when it is none.
func mebibytes(s string) int64 {
	q, err := resource.ParseQuantity(s)
	if err != nil {
		return 0
	}
	return q.Value() >> 20
}

// claims finds what the claims of pods hold.
type claims struct {
	claims, templates map[string]*dra // by namespace/name
	drivers           map[string]string
	nodes             map[string][]*devices
}

// newClaims sorts what was read of dynamic resource allocation.
func newClaims(all []*dra) claims {
	c := claims{claims: map[string]*dra{}, templates: map[string]*dra{}, drivers: map[string]string{}, nodes: map[string][]*devices{}}
	newest := map[string]int64{}
	for _, d := range all {
		switch d.resource {
		case resourceClaims:
			c.claims[key(d.namespace, d.name)] = d
		case resourceTemplates:
			c.templates[key(d.namespace, d.name)] = d
		case deviceClasses:
			if i := slices.IndexFunc(d.drivers, job.IsAcceleratorDriver); i >= 0 {
				c.drivers[d.name] = d.drivers[i]
			} else if len(d.drivers) > 0 {
				c.drivers[d.name] = ""
			}
		case resourceSlices:
			newest[d.pool] = max(newest[d.pool], d.generation)
		}
	}
	for _, d := range all {
		if d.resource != resourceSlices || d.generation < newest[d.pool] {
			continue
		}
		for _, node := range slices.Sorted(maps.Keys(d.devices)) {
			c.nodes[node] = append(c.nodes[node], d.devices[node])
		}
	}
	return c
}

// driver is the driver of a device class, empty when it is none for accelerators.
func (c claims) driver(class string) string {
	if driver, ok := c.drivers[class]; ok {
		return driver
	}
	switch class {
	case "mig.nvidia.com", "vfio.gpu.nvidia.com":
		return "gpu.nvidia.com"
	}
	if job.IsAcceleratorDriver(class) {
		return class
	}
	return ""
}

// devices are the accelerators that one claim holds or, while it has none, asks for, by driver.
func (c claims) devices(namespace string, use claimUse) map[string]int64 {
	d := c.templates[key(namespace, use.template)]
	if made := c.claims[key(namespace, use.name)]; use.name != "" && made != nil {
		d = made
	}
	if d == nil {
		return nil
	}
	var out map[string]int64
	for driver, n := range d.held {
		if job.IsAcceleratorDriver(driver) {
			out = plus(out, map[string]int64{driver: n}, 1)
		}
	}
	if d.held != nil {
		return out
	}
	for class, n := range d.asked {
		if driver := c.driver(class); driver != "" {
			out = plus(out, map[string]int64{driver: n}, 1)
		}
	}
	return out
}

// fill gives each pod with claims the devices of these, in a copy.
func (c claims) fill(pods []*Pod) []*Pod {
	if !slices.ContainsFunc(pods, func(p *Pod) bool { return len(p.claims) > 0 }) {
		return pods
	}
	out := make([]*Pod, len(pods))
	for i, p := range pods {
		if out[i] = p; len(p.claims) == 0 {
			continue
		}
		full := *p
		full.Resources = maps.Clone(p.Resources)
		for _, use := range p.claims {
			full.Resources = plus(full.Resources, c.devices(p.Namespace, use), 1)
		}
		full.GPUs, full.Accelerator = job.Sum(full.Resources)
		out[i] = &full
	}
	return out
}

// ask is a demand with the devices of its claims. A named claim is shared by all pods, and counts once.
func (c claims) ask(namespace string, d demand) map[string]int64 {
	out := maps.Clone(d.resources)
	shared := map[string]bool{}
	for _, use := range d.claims {
		n := use.pods
		if use.template == "" {
			if n == 0 || shared[use.name] {
				continue
			}
			n, shared[use.name] = 1, true
		}
		out = plus(out, c.devices(namespace, use), n)
	}
	return out
}

// sum adds up the accelerators of pods, and those of a claim that several share once.
type sum struct {
	claims    claims
	seen      map[string]bool
	resources map[string]int64
}

func (s *sum) add(p *Pod) {
	s.resources = plus(s.resources, p.Resources, 1)
	for _, use := range p.claims {
		id := key(p.Namespace, use.name)
		if use.name == "" || !s.seen[id] {
			if s.seen == nil {
				s.seen = map[string]bool{}
			}
			s.seen[id] = true
			continue
		}
		for res, n := range s.claims.devices(p.Namespace, use) {
			if s.resources[res] -= n; s.resources[res] <= 0 {
				delete(s.resources, res)
			}
		}
	}
}

func (s *sum) total() int64 {
	n, _ := job.Sum(s.resources)
	return n
}
