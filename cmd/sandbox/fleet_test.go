package main

import (
	"strings"
	"testing"
)

func TestAFleet(t *testing.T) {
	m := newMachine(t)
	m.sandbox("up", "--real-node=off", "--gpu-nodes=8")
	if got := m.sandbox("fleet"); !strings.Contains(got, "failed-rank ") || !strings.Contains(got, "not here: needs a reserved node") {
		t.Errorf("fleet printed\n%s", got)
	}
	m.kubectl("", "wait", "-n", "fleet", "--for=condition=failed", "job/failed-rank", "job/failed-oom", "--timeout=60s")
	if got := m.kubectl("", "logs", "-n", "fleet", "job/failed-rank"); !strings.HasSuffix(got, "KeyError: 'input_ids'") {
		t.Errorf("the log of the failed rank is %q", got)
	}
	waiting := "jsonpath={.items[0].status.containerStatuses[0].state.waiting.reason}"
	if got := m.kubectl("", "get", "pods", "-n", "fleet", "-l", "app=pending-image", "-o", waiting); got != "ImagePullBackOff" {
		t.Errorf("pending-image waits for %q", got)
	}
	if got := m.kubectl("", "get", "pods", "-n", "fleet", "-l", "app=llm-pretrain", "-o", "jsonpath={.items[*].status.phase}"); got != "Running Running Running Running" {
		t.Errorf("the ranks of llm-pretrain are %s", got)
	}
	if got := m.sandbox("fleet"); !strings.Contains(got, "pending-fragmented") {
		t.Errorf("a second fleet printed\n%s", got)
	}
	m.sandbox("fleet", "--remove")
	m.sandbox("fleet", "--remove") // nothing to do is fine
	m.sandbox("down")
}
