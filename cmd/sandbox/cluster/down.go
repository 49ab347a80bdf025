package cluster

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"time"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/netlink"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/proc"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

// Down ends everything that the sandbox started and removes everything that it made. Nothing to do
// is fine.
func (s *Sandbox) Down(ctx context.Context) error {
	unlock, err := state.Lock(ctx, s.lockFile(), func() { s.Progress.Note("another command works on %s, waiting for it", s.Dir) })
	if err != nil {
		return err
	}
	defer unlock()
	return s.down(ctx)
}

func (s *Sandbox) down(ctx context.Context) error {
	if !s.Dir.Ours() { // nothing is there, or somebody else's folder; a process whose folder was removed may be
		return proc.Stop(ctx, time.Second, proc.Marked(s.Dir.Mark())...)
	}
	c, err := s.Dir.Load()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.Progress.Note("%v; going on without it", err)
	}
	if s.hadNode() {
		if err := s.stopNode(ctx); err != nil {
			return err
		}
	}
	if err := s.stopPrograms(ctx, c); err != nil {
		return err
	}
	if s.hadNode() {
		if err := s.nodeSettings(c).Clean(ctx); err != nil {
			return err
		}
	}
	if err := removeAddresses(c); err != nil {
		return err
	}
	return s.Dir.Remove()
}

// removeAddresses takes the sandbox's own address off the loopback interface, and those of Services.
func removeAddresses(c state.Config) error {
	network, err := netip.ParsePrefix(c.ServiceCIDR)
	if err != nil || !c.OnLoopback {
		return nil //nolint:nilerr // none was decided on
	}
	addresses, err := netlink.LoopbackIn(network)
	if err != nil {
		return err
	}
	for _, addr := range addresses {
		if err := netlink.RemoveLoopback(addr); err != nil {
			return err
		}
	}
	return nil
}

// stopPrograms ends the clients of the API server before it and etcd last, then whatever else
// carries the sandbox's mark: what a crashed `up` had no time to write down.
func (s *Sandbox) stopPrograms(ctx context.Context, c state.Config) error {
	programs := hostPrograms(s.Dir, c)
	for len(programs) > 0 {
		n := max(1, len(programs)-2) // all but two at first, then one by one
		var ids []proc.Identity
		for _, p := range programs[len(programs)-n:] {
			id, err := proc.ReadFile(s.Dir.PIDFile(p.Name))
			if err != nil {
				return err
			}
			if id.PID != os.Getpid() { // the supervisor takes the sandbox down itself
				ids = append(ids, id)
			}
		}
		if err := proc.Stop(ctx, 3*time.Second, ids...); err != nil {
			return err
		}
		programs = programs[:len(programs)-n]
	}
	return proc.Stop(ctx, time.Second, proc.Marked(s.Dir.Mark())...)
}
