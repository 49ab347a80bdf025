package pipeline

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// mergeTemplate lays a stage over the defaults.
func mergeTemplate(defaults, stage Template) Template {
	return Template{
		Pod:     mergePod(defaults.Pod, stage.Pod),
		Timeout: first(stage.Timeout, defaults.Timeout),
		Queue:   orElse(stage.Queue, defaults.Queue),
		Retries: first(stage.Retries, defaults.Retries),
		TTL:     first(stage.TTL, defaults.TTL),
	}
}

// mergePod lays one pod over another: single values replace, named lists merge by name,
// node selectors and resources by key, tolerations and envFrom add up.
func mergePod(defaults, own Pod) Pod {
	return Pod{
		Image:              orElse(own.Image, defaults.Image),
		ImagePullPolicy:    corev1.PullPolicy(orElse(string(own.ImagePullPolicy), string(defaults.ImagePullPolicy))),
		ImagePullSecrets:   mergeBy(defaults.ImagePullSecrets, own.ImagePullSecrets, func(r corev1.LocalObjectReference) string { return r.Name }),
		ServiceAccountName: orElse(own.ServiceAccountName, defaults.ServiceAccountName),
		WorkingDir:         orElse(own.WorkingDir, defaults.WorkingDir),
		Env:                mergeBy(defaults.Env, own.Env, func(e corev1.EnvVar) string { return e.Name }),
		EnvFrom:            slices.Concat(defaults.EnvFrom, own.EnvFrom),
		Resources:          mergeResources(defaults.Resources, own.Resources),
		Volumes:            mergeBy(defaults.Volumes, own.Volumes, func(v corev1.Volume) string { return v.Name }),
		VolumeMounts:       mergeBy(defaults.VolumeMounts, own.VolumeMounts, func(m corev1.VolumeMount) string { return m.MountPath }),
		NodeSelector:       merged(defaults.NodeSelector, own.NodeSelector),
		Tolerations:        slices.Concat(defaults.Tolerations, own.Tolerations),
		GPUs:               first(own.GPUs, defaults.GPUs),
	}
}

// mergeBy keeps the order of the defaults; a later element of the same key takes the place of the earlier one.
func mergeBy[T any](defaults, stage []T, key func(T) string) []T {
	var out []T
	at := map[string]int{}
	for _, e := range slices.Concat(defaults, stage) {
		if i, ok := at[key(e)]; ok {
			out[i] = e
			continue
		}
		at[key(e)] = len(out)
		out = append(out, e)
	}
	return out
}

func mergeResources(defaults, stage corev1.ResourceRequirements) corev1.ResourceRequirements {
	out := corev1.ResourceRequirements{
		Requests: mergeQuantities(defaults.Requests, stage.Requests),
		Limits:   mergeQuantities(defaults.Limits, stage.Limits),
		Claims:   mergeBy(defaults.Claims, stage.Claims, func(c corev1.ResourceClaim) string { return c.Name }),
	}
	return out
}

func mergeQuantities(defaults, stage corev1.ResourceList) corev1.ResourceList {
	if len(defaults)+len(stage) == 0 {
		return nil
	}
	out := corev1.ResourceList{}
	maps.Copy(out, defaults)
	maps.Copy(out, stage)
	return out
}

// first is a, or b when a is not given.
func first[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}
