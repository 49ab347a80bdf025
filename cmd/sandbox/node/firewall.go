package node

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// rules let the pods reach the world: with the machine's address, and through a firewall that
// forwards nothing else (Docker's, say). They reach the sandbox's own address too.
func (s Settings) rules() [][]string {
	comment := []string{"-m", "comment", "--comment", s.cgroup()}
	return [][]string{
		append([]string{"-t", "nat", "POSTROUTING", "-s", s.PodCIDR, "!", "-d", s.PodCIDR, "-j", "MASQUERADE"}, comment...),
		append([]string{"-t", "filter", "FORWARD", "-s", s.PodCIDR, "-j", "ACCEPT"}, comment...),
		append([]string{"-t", "filter", "FORWARD", "-d", s.PodCIDR, "-j", "ACCEPT"}, comment...),
		append([]string{"-t", "filter", "INPUT", "-s", s.PodCIDR, "-d", s.Address, "-j", "ACCEPT"}, comment...),
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

// closeFirewall removes the rules, each as often as it is there.
func (s Settings) closeFirewall(ctx context.Context) {
	for _, rule := range s.rules() {
		for range 10 {
			if iptables(ctx, "-D", rule) != nil {
				break
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
