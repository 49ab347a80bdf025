// Package cluster is the room for the life of a sandbox: up, down and status of a real control
// plane with simulated GPU nodes, Prometheus and, on Linux as root, one real node.
package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/build"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/image"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/netlink"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/proc"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/progress"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

// Sandbox is one sandbox, running or not.
type Sandbox struct {
	Dir      state.Dir
	Cache    *build.Cache
	Progress *progress.Printer
	Self     string // this program, to run the supervisor
	Now      func() time.Time
}

// UpOptions says what to bring up.
type UpOptions struct {
	GPUNodes     int      // negative: as it is, or the default
	RealNode     string   // one of the RealNode constants
	WhilePID     int      // 0: none
	DriverBinary string   // to load as the image of the plugin; none: ""
	With         []string // some of Additions to have besides; those that are there stay
}

// Up brings the sandbox up, or what is missing of it. What it began it takes down again when it
// cannot finish.
func (s *Sandbox) Up(ctx context.Context, o UpOptions) (err error) {
	unlock, err := state.Lock(ctx, s.lockFile(), func() { s.Progress.Note("another command works on %s, waiting for it", s.Dir) })
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.Cache.Build(ctx, s.Progress, build.ControlPlane()...); err != nil {
		return err
	}
	c, err := s.current(ctx)
	if err != nil {
		return err
	}
	if c.Ready {
		return s.boot(ctx, c, o)
	}
	if err := s.Dir.Claim(); err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := s.fresh(ctx, o)
		if err == nil {
			return nil
		}
		s.Progress.Note("taking down what was started")
		if downErr := s.down(context.WithoutCancel(ctx)); downErr != nil {
			return errors.Join(err, downErr)
		}
		if !errors.Is(err, ErrPortTaken) || try == 3 {
			return err
		}
	}
}

func (s *Sandbox) lockFile() string { return s.Cache.LockFile(s.Dir.ID()) }

// current returns the config of a sandbox that is worth going on with. The rest of any other, one
// that was interrupted or that the machine's restart ended, is removed.
func (s *Sandbox) current(ctx context.Context) (state.Config, error) {
	c, err := s.Dir.Load()
	switch {
	case errors.Is(err, os.ErrNotExist):
		return state.Config{}, s.down(ctx)
	case err != nil:
		return c, err
	case c.Ready && c.BootID == proc.BootID():
		return c, nil
	}
	s.Progress.Note("removing what an earlier sandbox left in %s", s.Dir)
	return state.Config{}, s.down(ctx)
}

// fresh decides ports and networks, writes the files and boots.
func (s *Sandbox) fresh(ctx context.Context, o UpOptions) error {
	if err := s.Dir.Claim(); err != nil {
		return err
	}
	ports, err := state.FreePorts(portNames()...)
	if err != nil {
		return err
	}
	used, err := state.UsedNetworks()
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(s.Dir))
	services, pods, err := state.Networks(binary.BigEndian.Uint64(sum[:8]), used)
	if err != nil {
		return err
	}
	c := state.Config{
		BootID: proc.BootID(), Created: s.Now().UTC().Truncate(time.Second), Ports: ports,
		ServiceCIDR: services.String(), PodCIDR: pods.String(), Address: services.Addr().Next().String(),
		GPUNodes: o.GPUNodes,
	}
	c.OnLoopback = netlink.CanChange()
	if err := s.Dir.Save(c); err != nil {
		return err
	}
	if err := writeFiles(s.Dir, c, s.Now()); err != nil {
		return err
	}
	return s.boot(ctx, c, o)
}

// boot starts what does not run, in order, and makes the objects in the cluster so. It can be
// repeated on a running sandbox.
func (s *Sandbox) boot(ctx context.Context, c state.Config, o UpOptions) error {
	again := c.Ready
	if o.GPUNodes >= 0 {
		c.GPUNodes = o.GPUNodes
	} else if !again {
		c.GPUNodes = DefaultGPUNodes
	}
	if err := s.decideRealNode(ctx, &c, o.RealNode); err != nil {
		return err
	}
	controllers, err := With(c.With, o.With)
	if err != nil {
		return err
	}
	if err := s.Cache.Build(ctx, s.Progress, controllers...); err != nil {
		return err
	}
	c.With = controllers
	if err := s.remember(&c, o); err != nil {
		return err
	}
	if c.OnLoopback {
		if err := netlink.AddLoopback(c.Address); err != nil {
			return err
		}
	}
	client, err := healthClient(s.Dir)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	if err := s.startAll(ctx, c, client); err != nil {
		return err
	}
	a, err := connect(s.Dir)
	if err != nil {
		return err
	}
	step := s.Progress.Do
	if again {
		step = func(ctx context.Context, _ string, f func(context.Context) error) error { return f(ctx) }
	}
	err = step(ctx, "volumes, roles", func(ctx context.Context) error {
		return a.wait(ctx, "the API server to take objects", func(ctx context.Context) (bool, error) {
			err := a.apply(ctx, "base.yaml", s.Dir, c)
			return err == nil, err
		})
	})
	if err != nil {
		return err
	}
	if c.RealNode {
		err := s.startNode(ctx, &c, a, client)
		if err := s.acceptNoNode(ctx, &c, o.RealNode, err); err != nil {
			return err
		}
		if !c.RealNode {
			if err := s.removeNode(ctx, c); err != nil {
				return err
			}
		}
	}
	// Before any pod: the webhooks of a controller that has died refuse them all.
	if err := s.startExtras(ctx, &c, a, client); err != nil {
		return err
	}
	err = step(ctx, "nodes, monitoring", func(ctx context.Context) error {
		if err := a.syncNodes(ctx, s.Dir, c); err != nil {
			return err
		}
		if c.OnLoopback {
			if err := a.wait(ctx, "the monitoring namespace", func(ctx context.Context) (bool, error) {
				err := a.apply(ctx, "monitoring.yaml", s.Dir, c)
				return err == nil, err
			}); err != nil {
				return err
			}
		}
		return a.waitReady(ctx)
	})
	if err != nil {
		return err
	}
	switch {
	case o.DriverBinary != "" && !c.RealNode:
		s.Progress.Note("no real node to load %s into: simulated nodes take any image", o.DriverBinary)
	case o.DriverBinary != "":
		if err := s.loadBinary(ctx, &c, image.Driver, o.DriverBinary, image.Config{User: "65532:65532"}); err != nil {
			return err
		}
	}
	c.Ready, c.Kubectl = true, s.Cache.Path("kubectl")
	return s.Dir.Save(c)
}

// DefaultGPUNodes is how many GPU nodes are simulated when nobody says.
const DefaultGPUNodes = 4

// remember keeps the process whose end takes the sandbox down. The first one that was named stays,
// unless it ended.
func (s *Sandbox) remember(c *state.Config, o UpOptions) error {
	if o.WhilePID != 0 && !c.WhilePID.Alive() {
		id, err := proc.Identify(o.WhilePID)
		if err != nil {
			return fmt.Errorf("--while-pid: %w", err)
		}
		c.WhilePID = id
	}
	return s.Dir.Save(*c)
}

// startAll starts the programs that do not run: etcd, then the API server, then the others at once.
func (s *Sandbox) startAll(ctx context.Context, c state.Config, client *http.Client) error {
	programs := controlPlane(s.Dir, c)
	for _, p := range programs[:2] {
		if err := s.startWait(ctx, client, p); err != nil {
			return err
		}
	}
	type started struct {
		Program
		ended <-chan struct{}
	}
	var rest []started
	for _, p := range programs[2:] {
		ended, err := s.start(ctx, p)
		if err != nil {
			return err
		}
		if ended != nil {
			rest = append(rest, started{p, ended})
		}
	}
	for _, p := range rest {
		err := s.Progress.Do(ctx, "start "+p.Name, func(ctx context.Context) error {
			return waitHealthy(ctx, client, s.Dir, p.Program, p.ended)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Sandbox) startWait(ctx context.Context, client *http.Client, p Program) error {
	ended, err := s.start(ctx, p)
	if err != nil || ended == nil {
		return err
	}
	return s.Progress.Do(ctx, "start "+p.Name, func(ctx context.Context) error {
		return waitHealthy(ctx, client, s.Dir, p, ended)
	})
}

// start starts a program, unless it runs: then it returns no channel.
func (s *Sandbox) start(ctx context.Context, p Program) (ended <-chan struct{}, err error) {
	id, err := proc.ReadFile(s.Dir.PIDFile(p.Name))
	if err != nil || id.Alive() {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path := s.Cache.Path(p.Name)
	switch {
	case p.Path != "":
		path = p.Path
	case p.Name == supervisor:
		path = s.Self
	}
	process, err := proc.Start(ctx, proc.Spec{
		Path: path, Args: p.Args, Env: []string{s.Dir.Mark()}, Dir: string(s.Dir),
		LogFile: s.Dir.LogFile(p.Name), PIDFile: s.Dir.PIDFile(p.Name),
	})
	if err != nil {
		return nil, err
	}
	return process.Exited(), nil
}
