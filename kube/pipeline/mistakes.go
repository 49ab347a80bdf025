package pipeline

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// wrong reports a value of the wrong type.
func (c *checker) wrong(n *node, t reflect.Type, at *path) {
	fix := ""
	switch {
	case t.Kind() == reflect.String && (n.shape == integer || n.shape == float || n.shape == boolean):
		fix = "quote it: " + strconv.Quote(n.text)
	case n.shape == str && !n.plain && (t.Kind() < reflect.Array || t == reflect.TypeFor[GPUs]()):
		fix = "remove the quotes"
	case t == reflect.TypeFor[[]corev1.EnvVar]() && n.shape == mapping:
		fix = "write a list: [{name: NAME, value: \"VALUE\"}]"
	case t == reflect.TypeFor[[]string]() && n.shape == str:
		fix = "write a list: [" + strconv.Quote(n.text) + "]"
	case t.Kind() == reflect.Slice && n.shape == mapping:
		fix = `begin each element with "- "`
	case t.Kind() == reflect.Struct && n.shape == sequence:
		fix = `write its fields without "- "`
	}
	c.reject(n, at, "must be "+wanted(t)+", not "+n.shape.String(), fix)
}

// wanted is what a value of the type looks like.
func wanted(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[metav1.Duration]():
		return "a duration such as 90s, 30m or 12h"
	case reflect.TypeFor[Pause]():
		return "a duration such as 10m, or approval"
	case reflect.TypeFor[resource.Quantity]():
		return "a quantity such as 500m, 2 or 10Gi"
	case reflect.TypeFor[intstr.IntOrString]():
		return "an int or a string"
	case reflect.TypeFor[GPUs]():
		return "a count such as 1, or a mapping such as {count: 1, product: NVIDIA-L4}"
	case reflect.TypeFor[Sweep]():
		return "a mapping of lists such as {lr: [0.1, 0.01]}, or a list of mappings such as [{lr: 0.1}]"
	case reflect.TypeFor[json.RawMessage]():
		return "a mapping"
	case reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime]():
		return "a time such as 2026-01-31T12:00:00Z"
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "a mapping"
	case reflect.Slice:
		return "a list"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Interface:
		return "a value"
	}
	return "an int"
}

// unknown reports a field that the type does not have, with the one that was meant.
func (c *checker) unknown(f *field, t reflect.Type, known map[string]reflect.Type, at *path) {
	names := make([]string, 0, len(known))
	for k := range known {
		names = append(names, k)
	}
	slices.Sort(names)
	fix := ""
	meant := closest(f.key, names)
	if t == reflect.TypeFor[Stage]() || t == reflect.TypeFor[Template]() {
		if elsewhere := c.kubernetesField(f.key); elsewhere != "" && (meant == "" || !strings.EqualFold(meant, f.key)) {
			fix, meant = elsewhere, ""
		}
		if slices.Contains([]string{"dependson", "depends_on", "dependencies", "depends", "after"}, strings.ToLower(f.key)) {
			meant = "needs"
		}
		if slices.Contains([]string{"nodes", "nnodes", "numnodes", "workers", "numworkers", "worldsize"}, strings.ToLower(f.key)) {
			meant = "replicas"
		}
	}
	switch {
	case meant != "":
		fix = `did you mean "` + meant + `"?`
		// What is missing under the right name is no second problem.
		c.silence(at.field(meant))
	case fix == "" && len(names) <= 30:
		fix = "the fields here are " + strings.Join(names, ", ")
	case fix == "":
		fix = "remove it"
	}
	name := at.field(f.key).String()
	f.value.bad = true
	c.silence(at.field(f.key))
	c.add(Problem{Line: f.line, Column: f.column, Field: name, Message: "unknown field " + strconv.Quote(f.key), Fix: fix})
}

// kubernetesField says where in a patch a field of a Job, its pod or its container goes.
func (c *checker) kubernetesField(key string) string {
	if _, ok := c.types.fieldsOf(reflect.TypeFor[corev1.PodSpec]())[key]; ok {
		return "it is a field of the pod: write patch: {spec: {template: {spec: {" + key + ": ...}}}}"
	}
	if _, ok := c.types.fieldsOf(reflect.TypeFor[corev1.Container]())[key]; ok {
		return "it is a field of the container: write patch: {spec: {template: {spec: {containers: [{name: " + ContainerName + ", " + key + ": ...}]}}}}"
	}
	if _, ok := c.types.fieldsOf(reflect.TypeFor[batchv1.JobSpec]())[key]; ok {
		return "it is a field of the Job: write patch: {spec: {" + key + ": ...}}"
	}
	return ""
}
