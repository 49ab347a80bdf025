package fleet

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// object is a part of a manifest, as YAML has it.
type object = map[string]any

// draft is a manifest being made, by the parts that changes touch. The job is used by Jobs only.
type draft struct {
	name                     string
	labels, podLabels        object
	annotations              object // of the pods
	spec, container, selects object
	job                      object
}

// change is what makes a row different from others.
type change func(draft)

func of(changes ...change) []change { return changes }

// annotate says how simulated pods behave (README, simulated nodes).
func (d draft) annotate(name, value string) { d.annotations["sandbox.kubectl-ml.dev/"+name] = value }

func queue(name string) change {
	return func(d draft) {
		d.labels["kueue.x-k8s.io/queue-name"] = name
		d.podLabels["kueue.x-k8s.io/queue-name"] = name
	}
}

func priority(class string) change { return func(d draft) { d.spec["priorityClassName"] = class } }

func suspended(d draft) { d.job["suspend"] = true }

func deadline(t time.Duration) change {
	return func(d draft) { d.job["activeDeadlineSeconds"] = int(t.Seconds()) }
}

func retries(n int) change { return func(d draft) { d.job["backoffLimit"] = n } }

func fails(code int, reason string) change {
	return func(d draft) {
		d.annotate("exit-code", strconv.Itoa(code))
		if reason != "" {
			d.annotate("reason", reason)
		}
	}
}

// rank lets one rank fail after a while.
func rank(n int, after time.Duration, code int, log script) change {
	return func(d draft) {
		d.annotate(fmt.Sprintf("duration.%d", n), after.String())
		d.annotate(fmt.Sprintf("exit-code.%d", n), strconv.Itoa(code))
		d.annotate(fmt.Sprintf("logs.%d", n), strings.Join(log, "\n"))
	}
}

// xid is the driver error that its GPUs report.
func xid(n int) change { return func(d draft) { d.annotate("xid", strconv.Itoa(n)) } }

func result(text string) change { return func(d draft) { d.annotate("result", text) } }

// waits keeps containers from starting; the text is REASON: message.
func waits(text string) change { return func(d draft) { d.annotate("waiting", text) } }

func image(name string) change { return func(d draft) { d.container["image"] = name } }

func serviceAccount(name string) change {
	return func(d draft) { d.spec["serviceAccountName"] = name }
}

func secret(name string) change {
	return func(d draft) { d.container["envFrom"] = []object{{"secretRef": object{"name": name}}} }
}

func claim(name string) change {
	return func(d draft) {
		d.spec["volumes"] = []object{{"name": "data", "persistentVolumeClaim": object{"claimName": name}}}
		d.container["volumeMounts"] = []object{{"name": "data", "mountPath": "/data"}}
	}
}

func gate(name string) change {
	return func(d draft) { d.spec["schedulingGates"] = []object{{"name": name}} }
}

// onTainted asks for the one node that is reserved for somebody else.
func onTainted(d draft) { d.selects["kubernetes.io/hostname"] = tainted }

// onCordoned puts it onto a node that takes no new pods, as if it had been there before.
func onCordoned(d draft) { d.spec["nodeName"] = cordoned }
