package diagnose

import (
	"context"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// readClaims reads the claims of pods that wait, with their classes and volumes, where there are any.
func (g *gatherer) readClaims(ctx context.Context, list []*Evidence) {
	var needing []*Evidence
	for _, e := range list {
		if s := e.spec(); s != nil && len(e.pending()) > 0 && len(claimNames(s)) > 0 {
			needing = append(needing, e)
		}
	}
	if len(needing) == 0 {
		return
	}
	claims, volumes := map[string]*corev1.PersistentVolumeClaim{}, []corev1.PersistentVolume{}
	classes := map[string]*storagev1.StorageClass{}
	var claimsErr, volumesErr, classesErr error
	var tasks sync.WaitGroup
	tasks.Go(func() {
		claimsErr = pages(ctx, metav1.ListOptions{}, g.c.Kube.CoreV1().PersistentVolumeClaims(g.ns).List, func(l *corev1.PersistentVolumeClaimList) {
			for i := range l.Items {
				claims[l.Items[i].Namespace+"/"+l.Items[i].Name] = &l.Items[i]
			}
		})
	})
	tasks.Go(func() {
		volumesErr = pages(ctx, metav1.ListOptions{}, g.c.Kube.CoreV1().PersistentVolumes().List, func(l *corev1.PersistentVolumeList) { volumes = append(volumes, l.Items...) })
	})
	tasks.Go(func() {
		var l *storagev1.StorageClassList
		if l, classesErr = g.c.Kube.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{}); classesErr == nil {
			for i := range l.Items {
				classes[l.Items[i].Name] = &l.Items[i]
			}
		}
	})
	tasks.Wait()
	if g.failed("claims", claimsErr) {
		return
	}
	g.failed("volumes", volumesErr)
	g.failed("storage classes", classesErr)
	for _, e := range needing {
		for _, name := range claimNames(e.spec()) {
			c := Claim{Claim: claims[e.Work.Namespace+"/"+name], ClassUnknown: classesErr != nil}
			if c.Claim != nil {
				g.complete(&c, volumes, volumesErr == nil, classes, e)
			}
			e.Claims[name] = c
		}
	}
}

// complete adds the class and the volumes of a claim, and who else uses it.
func (g *gatherer) complete(c *Claim, volumes []corev1.PersistentVolume, known bool, classes map[string]*storagev1.StorageClass, e *Evidence) {
	class := ""
	if c.Claim.Spec.StorageClassName != nil {
		class = *c.Claim.Spec.StorageClassName
		c.Class = classes[class]
	}
	if known {
		c.Free = []*corev1.PersistentVolume{}
	}
	for i := range volumes {
		v := &volumes[i]
		switch {
		case v.Name == c.Claim.Spec.VolumeName:
			c.Volume = v
		case v.Status.Phase == corev1.VolumeAvailable && v.Spec.ClaimRef == nil && v.Spec.StorageClassName == class:
			c.Free = append(c.Free, v)
		}
	}
	for _, p := range g.bound {
		if p.Namespace == e.Work.Namespace && p.Spec.NodeName != "" && p.Status.Phase == corev1.PodRunning && slices.Contains(claimNames(&p.Spec), c.Claim.Name) && !slices.Contains(e.Pods, p) {
			c.UsedBy = append(c.UsedBy, p)
		}
	}
	slices.SortFunc(c.UsedBy, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
}
