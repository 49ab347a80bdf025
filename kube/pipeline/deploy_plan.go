package pipeline

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// over lays the pods of a deploy stage over the defaults; d stays as it is.
func (d *Deploy) over(defaults Pod) *Deploy {
	out := *d
	if d.Serve != nil {
		serve := *d.Serve
		serve.Pod = mergePod(defaults, serve.Pod)
		out.Serve = &serve
	}
	out.mapGates(func(p Pod) Pod { return mergePod(defaults, p) })
	return &out
}

// mapGates replaces the pods of the gates in steps of its own.
func (d *Deploy) mapGates(f func(Pod) Pod) {
	d.Steps = slices.Clone(d.Steps)
	for i := range d.Steps {
		d.Steps[i].Gates = slices.Clone(d.Steps[i].Gates)
		for j, g := range d.Steps[i].Gates {
			if g.Job != nil {
				judge := *g.Job
				judge.Pod = f(judge.Pod)
				d.Steps[i].Gates[j].Job = &judge
			}
		}
	}
}

// DeployOf is what a deploy stage of the plan rolls out: its pods, those that are generated, see the plan's source.
func DeployOf(plan *Plan, stage string) (Deploy, error) {
	s, err := plan.mustHave(stage)
	if err != nil || s.Deploy == nil {
		return Deploy{}, err
	}
	out := *s.Deploy
	if plan.Source == nil {
		return out, nil
	}
	if out.Serve != nil {
		serve := *out.Serve
		serve.Pod = plan.Source.mountedIn(serve.Pod)
		out.Serve = &serve
	}
	out.mapGates(plan.Source.mountedIn)
	return out, nil
}

// mountedIn is the pod with the source at the place where stages see it.
func (r SourceRef) mountedIn(p Pod) Pod {
	items := make([]corev1.KeyToPath, 0, len(r.Keys))
	for _, key := range slices.Sorted(maps.Keys(r.Keys)) {
		items = append(items, corev1.KeyToPath{Key: key, Path: r.Keys[key]})
	}
	mode := int32(0o555)
	p.Volumes = append(slices.Clone(p.Volumes), corev1.Volume{Name: inputsVolume, VolumeSource: corev1.VolumeSource{
		ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: r.ConfigMap}, Items: items, DefaultMode: &mode},
	}})
	p.VolumeMounts = append(slices.Clone(p.VolumeMounts), corev1.VolumeMount{Name: inputsVolume, MountPath: SourcePath, ReadOnly: true})
	p.WorkingDir = orElse(p.WorkingDir, SourcePath)
	return p
}
