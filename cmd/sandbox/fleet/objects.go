package fleet

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
)

const (
	// label marks what belongs to the fleet; its value is the row's name.
	label = "sandbox.kubectl-ml.dev/fleet"
	// annotationShows says in words what an object shows.
	annotationShows = "sandbox.kubectl-ml.dev/shows"
	// high and limited are priority classes; the GPUs of limited work are bounded by a ResourceQuota.
	high, limited = "fleet-high", "fleet-limited"
	// tainted is a simulated node with a taint of its own, cordoned one that is cordoned.
	tainted, cordoned = "gpu-12", "gpu-9"
	// finalizer keeps a pod that was deleted.
	finalizer = "sandbox.kubectl-ml.dev/leaving"
)

// people start the fleet's work in turn, each in a team.
func people() [][2]string {
	return [][2]string{{"ada", "language"}, {"grace", "vision"}, {"alan", "language"}, {"mei", "speech"}, {"noor", "vision"}}
}

// piece is one object of a row.
type piece struct {
	row
	namespace, name string
	by, team        string
}

// pieces are the objects of all rows, for a sandbox of so many nodes.
func pieces(namespace string, nodes int) []piece {
	var out []piece
	who := people()
	for _, r := range rows() {
		n := max(r.times, 1)
		if r.per > 0 {
			n *= max(nodes/r.per, 1)
		}
		for i := range n {
			p := piece{row: r, namespace: namespace, name: r.name, by: who[len(out)%len(who)][0], team: who[len(out)%len(who)][1]}
			if n > 1 {
				p.name = fmt.Sprintf("%s-%d", r.name, i)
			}
			out = append(out, p)
		}
	}
	return out
}

// manifest is what the API server is given. It runs on simulated nodes, whether or not there is a real one.
func (p piece) manifest() object {
	gpu := "nvidia.com/gpu"
	if p.on.are(amd) {
		gpu = "amd.com/gpu"
	}
	resources := object{"cpu": strconv.Itoa(2 * p.gpus), "memory": fmt.Sprintf("%dGi", 10*p.gpus), gpu: strconv.Itoa(p.gpus)}
	d := draft{
		name:        p.name,
		labels:      object{label: p.row.name, "app": p.name, "team": p.team},
		podLabels:   object{label: p.row.name, "app": p.name, "team": p.team},
		annotations: object{},
		container: object{
			"name": "main", "image": "ghcr.io/example/trainer:1.4", "command": []string{"python3", "train.py"},
			"resources": object{"requests": resources, "limits": resources},
		},
		selects: object{"type": "kwok"},
		job:     object{"backoffLimit": 0},
	}
	d.spec = object{
		"restartPolicy": "Never", "nodeSelector": d.selects, "containers": []object{d.container},
		"tolerations": []object{{"key": "kwok.x-k8s.io/node", "operator": "Exists"}},
	}
	p.behave(d)
	p.place(d)
	for _, change := range p.with {
		change(d)
	}
	return p.wrap(d)
}

// behave says what the simulated pods do.
func (p piece) behave(d draft) {
	if p.busy != "" {
		d.annotate("gpu-util", p.busy)
	}
	if len(p.log) > 0 {
		d.annotate("logs", strings.Join(p.log, "\n"))
	}
	if p.age > 0 {
		d.annotate("age", p.age.String())
	}
	if p.runs > 0 {
		d.annotate("duration", p.runs.String())
	}
}

// place chooses the nodes by their GPUs.
func (p piece) place(d draft) {
	const product = "nvidia.com/gpu.product"
	switch {
	case len(p.on) == 0 || p.on.are(amd):
	case len(p.on) == 1:
		d.selects[product] = p.on[0]
	default:
		term := object{"matchExpressions": []object{{"key": product, "operator": "In", "values": p.on}}}
		d.spec["affinity"] = object{"nodeAffinity": object{"requiredDuringSchedulingIgnoredDuringExecution": object{"nodeSelectorTerms": []object{term}}}}
	}
}

// are says whether models are others, which are not none.
func (m models) are(others models) bool { return len(m) > 0 && m[0] == others[0] }

// wrap puts the pods into the object of the row's kind.
func (p piece) wrap(d draft) object {
	meta := object{
		"name": p.name, "namespace": p.namespace, "labels": d.labels,
		"annotations": object{annotationShows: p.shows, "kubectl-ml.dev/applied-by": p.by},
	}
	template := object{"metadata": object{"labels": d.podLabels, "annotations": d.annotations}, "spec": d.spec}
	selector := object{"matchLabels": object{"app": p.name}}
	count := max(p.pods, 1)
	switch p.kind {
	case pod:
		maps.Copy(d.annotations, meta["annotations"].(object))
		meta["annotations"] = d.annotations
		if p.leaves {
			meta["finalizers"] = []string{finalizer}
		}
		d.spec["restartPolicy"] = "Always"
		return object{"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": d.spec}
	case deployment, statefulSet:
		d.spec["restartPolicy"] = "Always"
		spec := object{"replicas": count, "selector": selector, "template": template}
		if p.kind == statefulSet {
			spec["serviceName"] = p.name
		}
		return object{"apiVersion": "apps/v1", "kind": string(p.kind), "metadata": meta, "spec": spec}
	case indexed:
		d.job["completionMode"] = "Indexed"
	}
	d.job["parallelism"], d.job["completions"], d.job["template"] = count, count, template
	return object{"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": d.job}
}

// surroundings are what the rows need, or must not have enough of.
func surroundings(namespace string) []object {
	marks := object{label: "surroundings"}
	class := func(name string, value int, text string) object {
		return object{
			"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": object{"name": name, "labels": marks},
			"value": value, "description": text, "preemptionPolicy": "Never",
		}
	}
	within := func(name string) object { return object{"name": name, "namespace": namespace, "labels": marks} }
	return []object{
		class(high, 1000, "research that must not wait"),
		class(limited, 10, "work whose GPUs a quota bounds"),
		{
			"apiVersion": "v1", "kind": "ResourceQuota", "metadata": within("limited-gpus"),
			"spec": object{
				"hard":          object{"requests.nvidia.com/gpu": "2"},
				"scopeSelector": object{"matchExpressions": []object{{"scopeName": "PriorityClass", "operator": "In", "values": []string{limited}}}},
			},
		},
		{
			"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": within("imagenet"),
			"spec": object{"storageClassName": "fast-nvme", "accessModes": []string{"ReadWriteMany"}, "resources": object{"requests": object{"storage": "2Ti"}}},
		},
	}
}
