package diagnose

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/utils/ptr"
)

// claimNames are the claims that pods of this make mount; those of ephemeral volumes have a name for each pod.
func claimNames(s *corev1.PodSpec) []string {
	var out []string
	for _, v := range s.Volumes {
		if v.PersistentVolumeClaim != nil {
			out = append(out, v.PersistentVolumeClaim.ClaimName)
		}
	}
	return out
}

// volumesRule: claims that are not there, not bound, or in use elsewhere.
func volumesRule(e *Evidence) []Cause {
	s := e.spec()
	if s == nil || len(e.pending()) == 0 {
		return nil
	}
	var out []Cause
	for _, name := range claimNames(s) {
		c, ok := e.Claims[name]
		switch {
		case !ok:
		case c.Claim == nil:
			out = append(out, cause(Certain, "ClaimNotFound", "its claim "+name+" does not exist").because(e.schedulerLine("persistentvolumeclaim")).
				cure("create the claim", "kubectl apply -f CLAIM.yaml").cures(e.change("or name a claim that exists")))
		case c.Claim.DeletionTimestamp != nil:
			out = append(out, cause(Certain, "ClaimDeleting", "its claim "+name+" is being deleted; that waits for the pods that still use it").
				cure("let go of it, and create it again", "kubectl describe pvc "+name))
		case c.Claim.Status.Phase == corev1.ClaimLost:
			out = append(out, cause(Certain, "VolumeMissing", fmt.Sprintf("its claim %s is bound to volume %s, which is gone", name, c.Claim.Spec.VolumeName)).
				cure("delete and create the claim again; its data is lost", "kubectl delete pvc "+name))
		case c.Claim.Status.Phase != corev1.ClaimBound:
			out = append(out, e.unbound(name, c))
		default:
			out = append(out, e.inUse(name, c)...)
		}
	}
	return append(out, e.mountTrouble()...)
}

// schedulerLine is the scheduler's message if it contains the text.
func (e *Evidence) schedulerLine(text string) string {
	for _, p := range e.unscheduled() {
		if v := e.verdictOn(p); strings.Contains(v.text, text) {
			return v.line()
		}
	}
	return ""
}

// unbound tells why a claim has no volume. One that waits for its first pod is no trouble by itself.
func (e *Evidence) unbound(name string, c Claim) Cause {
	spec := &c.Claim.Spec
	class := ptr.Deref(spec.StorageClassName, c.Claim.Annotations[corev1.BetaStorageClassAnnotation])
	events := e.about("persistentvolumeclaim/" + name)
	newest := ""
	for _, ev := range slices.Backward(events) {
		if ev.Type == corev1.EventTypeWarning || ev.Reason == "FailedBinding" || ev.Reason == "ExternalProvisioning" {
			newest = e.eventLine(ev)
			break
		}
	}
	asks := fmt.Sprintf("it asks for %s, %s, class %q", spec.Resources.Requests.Storage(), modes(spec.AccessModes), class)
	describe := "kubectl describe pvc " + name
	switch {
	case class == "" && spec.StorageClassName == nil:
		return cause(Certain, "NoStorageClass", "its claim "+name+" names no storage class, and the cluster has no default one").because(asks, newest).
			cure("name a class in the claim (delete and create it again), or have a default class set", "kubectl get storageclasses")
	case class != "" && c.Class == nil && !c.ClassUnknown && !slices.ContainsFunc(c.Free, c.takes):
		return cause(Certain, "StorageClassNotFound", fmt.Sprintf("its claim %s names the storage class %s, which does not exist", name, class)).because(asks, newest).
			cure("create the claim again with a class that exists", "kubectl get storageclasses")
	}
	late := c.Class != nil && ptr.Deref(c.Class.VolumeBindingMode, storagev1.VolumeBindingImmediate) == storagev1.VolumeBindingWaitForFirstConsumer
	if failed := e.about("persistentvolumeclaim/"+name, "ProvisioningFailed"); len(failed) > 0 {
		return cause(Certain, "ProvisioningFailed", "no volume can be made for its claim "+name+": "+failed[len(failed)-1].Message).because(asks, e.eventLine(failed[len(failed)-1])).
			cure("see the claim and the storage driver", describe)
	}
	static := c.Class == nil || c.Class.Provisioner == "kubernetes.io/no-provisioner"
	if late && !static {
		// It is made when the pod has a node; what keeps the pod from a node is another cause.
		return cause(Possible, "ClaimWaitsForPod", "its claim "+name+" gets a volume when the pod has a node (WaitForFirstConsumer)").because(asks).
			cure("nothing: this cures itself when the pod is scheduled", describe)
	}
	if static {
		k := cause(Certain, "NoVolume", "no persistent volume fits its claim "+name+", and its class makes none").because(asks).because(c.nearly()...).because(newest)
		return k.cure("add a PersistentVolume that fits, or create the claim again with a class that makes volumes", "kubectl get pv,storageclasses")
	}
	return cause(Likely, "ProvisioningSlow", fmt.Sprintf("its claim %s waits for the provisioner %s to make a volume", name, c.Class.Provisioner)).because(asks, newest).
		cure("look whether the storage driver runs", describe)
}

// takes says whether a free volume would do for the claim, by size and modes.
func (c Claim) takes(v *corev1.PersistentVolume) bool { return c.misses(v) == "" }

func (c Claim) misses(v *corev1.PersistentVolume) string {
	want := c.Claim.Spec.Resources.Requests[corev1.ResourceStorage]
	have := v.Spec.Capacity[corev1.ResourceStorage]
	if have.Cmp(want) < 0 {
		return "it has " + have.String()
	}
	for _, m := range c.Claim.Spec.AccessModes {
		if !slices.Contains(v.Spec.AccessModes, m) {
			return "it is " + modes(v.Spec.AccessModes)
		}
	}
	return ""
}

// nearly says what the free volumes of the class lack.
func (c Claim) nearly() []string {
	if c.Free == nil {
		return nil
	}
	if len(c.Free) == 0 {
		return []string{"no volume of its class is free"}
	}
	var out []string
	for _, v := range c.Free[:min(len(c.Free), 3)] {
		if why := c.misses(v); why != "" {
			out = append(out, "volume "+v.Name+" does not fit: "+why)
		}
	}
	return out
}

func modes(list []corev1.PersistentVolumeAccessMode) string {
	out := make([]string, len(list))
	for i, m := range list {
		out[i] = string(m)
	}
	return strings.Join(out, "+")
}

// inUse: a claim for one node at a time is held on another node.
func (e *Evidence) inUse(name string, c Claim) []Cause {
	single := slices.Contains(c.Claim.Spec.AccessModes, corev1.ReadWriteOnce) || slices.Contains(c.Claim.Spec.AccessModes, corev1.ReadWriteOncePod)
	shared := slices.Contains(c.Claim.Spec.AccessModes, corev1.ReadWriteMany) || slices.Contains(c.Claim.Spec.AccessModes, corev1.ReadOnlyMany)
	if !single || shared || len(c.UsedBy) == 0 {
		return nil
	}
	l := Possible
	attach := ""
	for _, ev := range e.Events {
		if ev.Reason == "FailedAttachVolume" {
			l, attach = Certain, e.eventLine(ev)
		}
	}
	var who []string
	for _, p := range c.UsedBy {
		who = append(who, "pod "+p.Name+" on "+p.Spec.NodeName)
	}
	if l != Certain && !slices.ContainsFunc(e.pending(), func(p *corev1.Pod) bool {
		return p.Spec.NodeName != "" && p.Spec.NodeName != c.UsedBy[0].Spec.NodeName
	}) && !slices.Contains(c.Claim.Spec.AccessModes, corev1.ReadWriteOncePod) {
		return nil
	}
	return []Cause{cause(l, "ClaimInUse", fmt.Sprintf("its claim %s can be used from one node at a time, and is in use: %s", name, some(who, 3))).because(attach).
		cure("wait until that pod has ended, or end it", "kubectl get pod "+c.UsedBy[0].Name+" -o wide").
		cure("or use a claim with the mode ReadWriteMany", "")}
}

// mountTrouble: volumes that the node cannot attach or mount, beside missing Secrets and ConfigMaps.
func (e *Evidence) mountTrouble() []Cause {
	for _, ev := range slices.Backward(e.Events) {
		if !strings.HasPrefix(ev.Object, "pod/") || ev.Reason != "FailedAttachVolume" && ev.Reason != "FailedMount" && ev.Reason != "FailedMapVolume" {
			continue
		}
		pod := strings.TrimPrefix(ev.Object, "pod/")
		if !slices.ContainsFunc(e.pending(), func(p *corev1.Pod) bool { return p.Name == pod }) || missingObject.MatchString(ev.Message) {
			continue
		}
		if strings.Contains(ev.Message, "Multi-Attach error") || strings.Contains(ev.Message, "exclusively attached to one node") {
			return []Cause{cause(Certain, "VolumeInUse", "its volume is still attached to another node").because(e.eventLine(ev)).
				cure("wait until the pod there has ended; after a lost node this takes six minutes", "kubectl get volumeattachments")}
		}
		return []Cause{cause(Likely, "MountFailed", "a volume cannot be mounted on its node").because(e.eventLine(ev)).
			cure("see the pod's events", "kubectl describe pod "+pod)}
	}
	return nil
}
