package diagnose

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
)

// Gang is a group of pods that start together or not at all: a PodGroup of Volcano, of the coscheduling plugin, of KAI or
// of Kubernetes itself.
type Gang struct {
	// Resource is the plural with its group; Name is the group's.
	Resource, Name string
	// Missing says that pods name the group and that it does not exist.
	Missing bool
	// Min is how many pods must fit at once; Queue and Phase are the scheduler's, empty where it has none.
	Min          int64
	Queue, Phase string
	// Conditions are the group's, those of KAI's schedulingConditions included.
	Conditions []fleet.Condition
}

// notFitting are conditions that say, when true, that the gang does not fit: of Volcano and of KAI.
var notFitting = []string{"Unschedulable", "UnschedulableOnNodePool"}

// gangRule: the pods wait for each other.
func gangRule(e *Evidence) []Cause {
	if len(e.unscheduled()) == 0 && len(e.Pods) > 0 {
		return nil
	}
	var out []Cause
	for _, g := range e.Gangs {
		out = append(out, e.gangCause(g)...)
	}
	if len(e.Gangs) > 0 && len(out) == 0 {
		return e.gangRoom(e.Gangs[0])
	}
	return out
}

func (e *Evidence) gangCause(g Gang) []Cause {
	get := "kubectl get " + g.Resource + " " + g.Name + " -o yaml"
	if g.Missing {
		return []Cause{cause(Certain, "GangMissing", "its pods belong to the pod group "+g.Name+", which does not exist").
			cure("create the group, or take its name from the pods", "kubectl get "+g.Resource)}
	}
	var said []string
	unfit := false
	for _, c := range g.Conditions {
		bad := slices.Contains(notFitting, c.Type) && c.Status == "True" || c.Type == "PodGroupInitiallyScheduled" && c.Status == "False"
		if bad {
			unfit = true
			said = append(said, e.conditionLine("podgroup/"+g.Name, c))
		}
	}
	have := int64(0)
	for _, p := range e.Pods {
		have += int64(btoi(p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded))
	}
	switch {
	case g.Min > 0 && have < g.Min && e.Work.Want >= 0 && int64(e.Work.Want) < g.Min:
		return []Cause{cause(Certain, "GangTooSmall", fmt.Sprintf("its gang %s needs %d pods at once, and the work makes only %d", g.Name, g.Min, e.Work.Want)).because(said...).
			cure("lower minMember of the group, or make more pods", "kubectl edit "+g.Resource+" "+g.Name)}
	case g.Phase == "Pending" && have == 0:
		return []Cause{cause(Certain, "GangQueued", strings.TrimSpace("its gang waits in the queue "+g.Queue)+" until there is room for all of it").because(said...).cure("see the group", get)}
	case g.Min > 0 && have < g.Min:
		return []Cause{cause(Certain, "GangIncomplete", fmt.Sprintf("its gang %s needs %d pods, and %d exist", g.Name, g.Min, have)).because(said...).
			cure("see why the others are not made: the events of the work", "kubectl describe "+e.Work.KindName())}
	case unfit:
		c := cause(Certain, "GangDoesNotFit", fmt.Sprintf("its gang needs room for %d pods at once, and there is none", g.Min)).because(said...).because(e.roomLine(g)...)
		return []Cause{c.cure("wait until so much is free at once, or make the gang smaller", get)}
	}
	return nil
}

// gangRoom finds by the arithmetic that some but not all pods of a gang fit, where the scheduler has not said so.
func (e *Evidence) gangRoom(g Gang) []Cause {
	fits, ok := e.room()
	if !ok || fits == 0 || fits >= g.Min || g.Min <= 1 {
		return nil
	}
	return []Cause{cause(Likely, "GangDoesNotFit", fmt.Sprintf("its gang needs room for %d pods at once, and there is room for %d", g.Min, fits)).because(e.roomLine(g)...).
		cure("wait until so much is free at once, or make the gang smaller", "kubectl get "+g.Resource+" "+g.Name+" -o yaml")}
}

func (e *Evidence) roomLine(g Gang) []string {
	n, ok := e.room()
	if !ok {
		return nil
	}
	return []string{fmt.Sprintf("there is room for %d of the %d pods now", min(n, g.Min), g.Min)}
}

// room is how many pods like the first waiting one would fit at once, by what is free.
func (e *Evidence) room() (int64, bool) {
	pods := e.unscheduled()
	if len(pods) == 0 || !e.canCompute(&pods[0].Spec) {
		return 0, false
	}
	a := compute(e.Cluster, &pods[0].Spec, e.volumes(&pods[0].Spec))
	var sum int64
	for _, f := range a.pool(blockerOrder...) {
		most := int64(-1)
		for name, want := range a.want {
			if want > 0 {
				n := e.free(f.Node, name) / want
				if most < 0 || n < most {
					most = n
				}
			}
		}
		sum += max(most, 1)
	}
	return sum, true
}
