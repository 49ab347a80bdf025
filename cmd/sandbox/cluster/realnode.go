package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/build"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/image"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/node"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/proc"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

// Values of UpOptions.RealNode.
const (
	RealNodeAuto = "auto" // if this machine can
	RealNodeOn   = "on"
	RealNodeOff  = "off"
	RealNodeKeep = "" // as it is; auto for a new sandbox
)

func (s *Sandbox) nodeSettings(c state.Config) node.Settings {
	return node.Settings{
		Dir: s.Dir, Address: c.Address, Port: c.Ports[kubelet], HealthPort: c.Ports[kubeletHealth], PodCIDR: c.PodCIDR, Services: c.ServiceCIDR,
		Kubelet: s.Cache.Path(kubelet), PauseImage: image.Pause,
	}
}

// programs lists every program of this sandbox.
func (s *Sandbox) programs(c state.Config) []Program {
	list := hostPrograms(s.Dir, c)
	if c.RealNode {
		list = append(list, Program{Name: containerd}, Program{Name: kubelet})
	}
	return list
}

// decideRealNode decides whether there is to be a real node and gets ready what it is made of.
func (s *Sandbox) decideRealNode(ctx context.Context, c *state.Config, want string) error {
	if c.RealNode || (want == RealNodeKeep && c.Ready) {
		return nil
	}
	if want == RealNodeOff {
		c.NoRealNode = "not asked for (--real-node=off)"
		return nil
	}
	err := s.makeReady(ctx)
	return s.acceptNoNode(ctx, c, want, err)
}

// acceptNoNode makes of an error a sandbox without a real node, unless one was asked for.
func (s *Sandbox) acceptNoNode(ctx context.Context, c *state.Config, want string, err error) error {
	switch {
	case err == nil:
		c.RealNode, c.NoRealNode = true, ""
		return nil
	case ctx.Err() != nil:
		return err
	case want == RealNodeOn:
		return fmt.Errorf("--real-node=on: %w", err)
	}
	c.RealNode = false
	c.NoRealNode, _, _ = strings.Cut(err.Error(), "\n")
	s.Progress.Note("no real node, simulated ones only: %v", err)
	return nil
}

// makeReady installs, builds and makes what a real node is made of; nothing runs yet.
func (s *Sandbox) makeReady(ctx context.Context) error {
	if why := node.Possible(); why != "" {
		return errors.New(why)
	}
	if packages := node.Missing(); len(packages) > 0 {
		if err := s.Progress.Do(ctx, "apt-get install "+strings.Join(packages, " "), node.Install); err != nil {
			return err
		}
	}
	if err := s.Cache.Build(ctx, s.Progress, build.RealNode()...); err != nil {
		return err
	}
	archive := s.pythonArchive()
	build.Touch(archive)
	if _, err := os.Stat(archive); err == nil {
		return nil
	}
	unlock, err := state.Lock(ctx, s.Cache.LockFile("image"), func() { s.Progress.Note("another command makes the image, waiting for it") })
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(archive); err == nil {
		return nil
	}
	return s.Progress.Do(ctx, "make image python-sklearn", func(ctx context.Context) error { return image.BuildPython(ctx, archive) })
}

// startNode starts what does not run of the real node and waits until it takes pods with GPUs.
func (s *Sandbox) startNode(ctx context.Context, c *state.Config, a *api, client *http.Client) error {
	settings := s.nodeSettings(*c)
	if err := settings.Prepare(); err != nil {
		return err
	}
	if err := settings.OpenFirewall(ctx); err != nil {
		s.Progress.Note("pods will not reach the world outside: %v", err)
	}
	if err := s.startContainerd(ctx, c, settings, client); err != nil {
		return err
	}
	kl := settings.KubeletCommand()
	p := Program{Name: kubelet, Path: kl.Path, Args: kl.Args, Health: "http://" + hostPort(*c, kubeletHealth) + "/healthz"}
	if err := s.startWait(ctx, client, p); err != nil {
		return err
	}
	return s.waitNode(ctx, a)
}

// startContainerd starts containerd, unless it runs, with the images in it.
func (s *Sandbox) startContainerd(ctx context.Context, c *state.Config, settings node.Settings, client *http.Client) error {
	start := func() error {
		command := settings.Containerd()
		return s.startWait(ctx, client, Program{
			Name: containerd, Path: command.Path, Args: command.Args, Health: "unix://" + node.Socket(s.Dir),
		})
	}
	if len(c.Images) > 0 { // not the first start
		return start()
	}
	store, err := s.storePath(ctx)
	if err != nil {
		return err
	}
	own := s.Dir.Join("node", containerd)
	linked := false
	if _, err := os.Stat(store); err == nil {
		build.Touch(store)
		err := s.Progress.Do(ctx, "link images", func(ctx context.Context) error { return node.LinkStore(ctx, store, own) })
		if err != nil && ctx.Err() != nil {
			return err
		}
		linked = err == nil // else, on another file system say, the images are loaded
	}
	if err := start(); err != nil {
		return err
	}
	if err := s.loadImages(ctx, c); err != nil || linked {
		return err
	}
	// Keep the store for the next sandbox. Its databases are whole only while nobody writes them.
	id, err := proc.ReadFile(s.Dir.PIDFile(containerd))
	if err != nil {
		return err
	}
	if err := proc.Stop(ctx, 10*time.Second, id); err != nil {
		return err
	}
	if _, err := os.Stat(store); err != nil {
		build.PruneUnused(filepath.Join(filepath.Dir(store), "*"))
		if err := node.LinkStore(ctx, own, store); err != nil && ctx.Err() != nil {
			return err
		}
	}
	return start()
}

// waitNode waits until the node is ready and offers its GPUs, which no device plugin announces.
func (s *Sandbox) waitNode(ctx context.Context, a *api) error {
	nodes, err := a.of("Node", "")
	if err != nil {
		return err
	}
	err = a.wait(ctx, "the real node", func(ctx context.Context) (bool, error) {
		obj, err := nodes.Get(ctx, node.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		gpus, _, _ := unstructured.NestedString(obj.Object, "status", "allocatable", "nvidia.com/gpu")
		if condition(obj, "Ready") && gpus == nodeGPUs {
			return true, nil
		}
		return false, a.patch(ctx, "Node", node.Name,
			`{"status":{"capacity":{"nvidia.com/gpu":"`+nodeGPUs+`"},"allocatable":{"nvidia.com/gpu":"`+nodeGPUs+`"}}}`, "status")
	})
	if err != nil {
		return fmt.Errorf("%w; the end of %s:\n%s", err, s.Dir.LogFile(kubelet), proc.Tail(s.Dir.LogFile(kubelet), 15))
	}
	return nil
}

// nodeGPUs is how many GPUs the real node says it has.
const nodeGPUs = "2"

// stopNode ends the real node, its pods first.
func (s *Sandbox) stopNode(ctx context.Context) error {
	kl, err := proc.ReadFile(s.Dir.PIDFile(kubelet))
	if err != nil {
		return err
	}
	if err := proc.Stop(ctx, 3*time.Second, kl); err != nil {
		return err
	}
	cd, err := proc.ReadFile(s.Dir.PIDFile(containerd))
	if err != nil {
		return err
	}
	if cd.Alive() {
		if err := node.StopPods(ctx, node.Socket(s.Dir)); err != nil {
			s.Progress.Note("pods do not end in order (%v): ending them by force", err)
		}
	}
	return proc.Stop(ctx, 5*time.Second, cd)
}

// hadNode reports whether a real node was begun.
func (s *Sandbox) hadNode() bool {
	_, err := os.Stat(s.Dir.Join("node"))
	return err == nil
}

// removeNode takes the real node away from a sandbox that goes on without it.
func (s *Sandbox) removeNode(ctx context.Context, c state.Config) error {
	if err := s.stopNode(ctx); err != nil {
		return err
	}
	keep := map[int]bool{}
	for _, p := range hostPrograms(s.Dir, c) {
		id, err := proc.ReadFile(s.Dir.PIDFile(p.Name))
		if err != nil {
			return err
		}
		keep[id.PID] = true
	}
	rest := slices.DeleteFunc(proc.Marked(s.Dir.Mark()), func(id proc.Identity) bool { return keep[id.PID] })
	if err := proc.Stop(ctx, time.Second, rest...); err != nil {
		return err
	}
	if err := s.nodeSettings(c).Clean(ctx); err != nil {
		return err
	}
	return os.RemoveAll(s.Dir.Join("node"))
}
