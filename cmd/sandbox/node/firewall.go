package node

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// rules let the pods reach the world: with the machine's address, and through a firewall that
// forwards nothing else (Docker's, say). Services they reach on this machine: what is to be forwarded
// for one has nowhere to go, and is refused at once.
func (s Settings) rules() [][]string {
	comment := []string{"-m", "comment", "--comment", s.cgroup()}
	return [][]string{
		append([]string{"-t", "nat", "POSTROUTING", "-s", s.PodCIDR, "!", "-d", s.PodCIDR, "-j", "MASQUERADE"}, comment...),
		append([]string{"-t", "filter", "FORWARD", "-s", s.PodCIDR, "-j", "ACCEPT"}, comment...),
		append([]string{"-t", "filter", "FORWARD", "-d", s.PodCIDR, "-j", "ACCEPT"}, comment...),
		append([]string{"-t", "filter", "INPUT", "-s", s.PodCIDR, "-d", s.Services, "-j", "ACCEPT"}, comment...),
		append([]string{"-t", "filter", "FORWARD", "-s", s.PodCIDR, "-d", s.Services, "-j", "REJECT"}, comment...),
	}
}

// OpenFirewall adds the rules that are not there.
func (s Settings) OpenFirewall(ctx context.Context) error {
	for _, rule := range s.rules() {
		if iptables(ctx, "-C", rule) == nil {
			continue
		}
		if err := iptables(ctx, "-I", rule); err != nil {
			return err
		}
	}
	return nil
}

// closeFirewall removes whatever rules carry the sandbox's name, those of an older version too.
func (s Settings) closeFirewall(ctx context.Context) {
	for _, rule := range s.rules() {
		table, chain := rule[1], rule[2]
		list, err := exec.CommandContext(ctx, "iptables", "-w", "-t", table, "-S", chain).Output()
		if err != nil {
			continue // no iptables, no rules
		}
		for line := range strings.Lines(string(list)) {
			// -A CHAIN RULE
			if words := strings.Fields(line); len(words) > 2 && slices.Contains(words, s.cgroup()) {
				_ = iptables(ctx, "-D", append([]string{"-t", table, chain}, words[2:]...))
			}
		}
	}
}

// iptables runs iptables -t TABLE OPERATION CHAIN RULE.
func iptables(ctx context.Context, operation string, rule []string) error {
	args := append([]string{"-w", rule[0], rule[1], operation}, rule[2:]...)
	out, err := exec.CommandContext(ctx, "iptables", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("iptables %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
