package pipeline

import (
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// distributed checks replicas and what goes with them.
func (v *validator) distributed(at *path, s *Stage) {
	v.oneOf(at.field("framework"), string(s.Framework), []string{
		string(FrameworkNone), string(FrameworkTorchrun), string(FrameworkMPI), string(FrameworkRay), string(FrameworkTensorFlow), string(FrameworkJAX),
	})
	v.oneOf(at.field("engine"), string(s.Engine), []string{string(EngineJob), string(EngineJobSet)})
	if !v.has(at.field("replicas")) {
		for _, field := range []string{"framework", "engine", "topology"} {
			if v.has(at.field(field)) {
				v.err(at.field(field), "is for a stage of several replicas, this one is a single pod", "add replicas: 2, or remove it")
			}
		}
		return
	}
	l, here := launches[s.framework()], at.field("replicas")
	switch most := maxReplicas; {
	case s.Replicas < 1:
		v.err(here, "must be at least 1", "write how many pods work together")
	case l.lists && s.Replicas > maxHosts:
		v.err(here, fmt.Sprintf("%d are too many for framework %s, which is told the names of all; at most %d fit", s.Replicas, s.Framework, maxHosts), "give each replica more GPUs")
	case s.Replicas > most:
		v.err(here, fmt.Sprintf("%d are more than a cluster has nodes; at most %d", s.Replicas, most), "give each replica more GPUs")
	}
	if l.script != "" && len(s.Command) == 0 && !v.has(at.field("command")) {
		v.err(at.field("command"), fmt.Sprintf("is missing: framework %s starts it on rank 0 when the others are there", s.Framework), "write what rank 0 runs, such as [mpirun, python3, train.py]")
	}
	if s.Schedule != "" {
		v.err(at.field("schedule"), "a distributed stage cannot be a plain CronJob, whose Jobs have names that nobody knows beforehand", "move the schedule to spec.schedule, which runs the whole pipeline")
	}
	v.topology(at.field("topology"), s.Topology)
	v.sharedWorkspace(here, s)
}

func (v *validator) topology(at *path, t *Topology) {
	if t == nil {
		return
	}
	if t.Spread == "" && t.Together == "" {
		v.err(at, "says neither spread nor together", "write {spread: host} for one replica a node, or {together: zone}")
	}
	if t.Spread != "" && topologyKey(t.Spread) == topologyKey(t.Together) {
		v.err(at, "replicas cannot be apart and together at once by "+strconv.Quote(t.Spread), "remove one of the two")
	}
	for field, domain := range map[string]string{"spread": t.Spread, "together": t.Together} {
		if domain != "" && len(validation.IsQualifiedName(topologyKey(domain))) > 0 {
			v.err(at.field(field), strconv.Quote(domain)+" is not a label of nodes", "write host, zone, or a label such as cloud.provider.com/rack")
		}
	}
}

// sharedWorkspace warns of a claim that the replicas of several nodes cannot mount.
func (v *validator) sharedWorkspace(at *path, s *Stage) {
	w := v.p.Spec.Workspace
	if w == nil || w.Size == "" || s.Replicas < 2 || slices.Contains([]corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany, corev1.ReadOnlyMany}, w.AccessMode) {
		return
	}
	v.warn(at, "replicas on several nodes cannot mount the workspace "+w.Claim+", which is made for one node", "write accessMode: ReadWriteMany under spec.workspace, with a storage class that can do it")
}

func (v *validator) queue(at *path, queue string) {
	switch {
	case queue == "" && v.has(at):
		v.err(at, "is empty", "name a LocalQueue of Kueue, or remove the line")
	case queue == "":
	case len(validation.IsDNS1123Subdomain(queue)) > 0, len(validation.IsValidLabelValue(queue)) > 0:
		v.err(at, strconv.Quote(queue)+" is not the name of a queue", "write it as kubectl get localqueues shows it")
	}
}
