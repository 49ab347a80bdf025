package diagnose

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// scalers are the events by which autoscalers say of a waiting pod what they do, by component and reason. Cluster
// Autoscaler and Karpenter; their messages are told as they are.
var scalers = []struct {
	reason, from string
	// on says that a node is coming.
	on          bool
	code, title string
	cure        string
}{
	{"TriggeredScaleUp", "", true, "ScalingUp", "the autoscaler is adding nodes for it", "wait for the node; it starts by itself"},
	{"Nominated", "karpenter", true, "ScalingUp", "Karpenter is adding a node for it", "wait for the node; it starts by itself"},
	{"NotTriggerScaleUp", "", false, "NoScaleUp", "the autoscaler adds no node for it", "raise the maximum of the node group, or ask for what a new node of it would have"},
	{"FailedScaleUp", "", false, "NoScaleUp", "the autoscaler tried to add a node, and failed", "see the provider's capacity and quota"},
	{"ScaleUpTimedOut", "", false, "NoScaleUp", "the autoscaler waited for a new node in vain", "see the provider's capacity and quota"},
	{"FailedScheduling", "karpenter", false, "NoScaleUp", "Karpenter has no node pool that fits it", "change what it asks for, or the node pools"},
}

// autoscalerRule tells what autoscalers say of the waiting pods: it is no cause of the wait, but of how long it lasts.
func autoscalerRule(e *Evidence) []Cause {
	waiting := e.unscheduled()
	for _, ev := range slices.Backward(e.Events) {
		name, isPod := strings.CutPrefix(ev.Object, "pod/")
		if !isPod || !slices.ContainsFunc(waiting, func(p *corev1.Pod) bool { return p.Name == name }) {
			continue
		}
		for _, s := range scalers {
			if ev.Reason != s.reason || s.from != "" && !strings.Contains(ev.From, s.from) {
				continue
			}
			l := Possible
			if s.on {
				l = Likely
			}
			return []Cause{cause(l, s.code, s.title).because(e.eventLine(ev)).cure(s.cure, "")}
		}
	}
	return nil
}
