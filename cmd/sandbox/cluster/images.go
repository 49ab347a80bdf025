package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/image"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/node"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

func (s *Sandbox) pythonArchive() string {
	return filepath.Join(s.Cache.Root, "images", "python-sklearn-"+image.PythonRecipe()+".tar")
}

// storePath is where the cache keeps containerd's folder with these images.
func (s *Sandbox) storePath(ctx context.Context) (string, error) {
	key, err := node.StoreKey(ctx, image.PythonRecipe(), s.Cache.PauseKey())
	if err != nil {
		return "", err
	}
	return filepath.Join(s.Cache.Root, "images", "store-"+key), nil
}

// loadImages loads the images that are not on the node yet.
func (s *Sandbox) loadImages(ctx context.Context, c *state.Config) error {
	out, err := exec.CommandContext(ctx, "ctr", "--address", node.Socket(s.Dir), "--namespace", "k8s.io", "images", "ls", "-q").Output()
	if err != nil {
		return fmt.Errorf("list the images of the node: %w", err)
	}
	have := strings.Fields(string(out))
	for _, name := range []string{image.Pause, image.Python} {
		if slices.Contains(have, name) {
			addImage(c, name)
		}
	}
	if !slices.Contains(have, image.Pause) {
		if err := s.loadBinary(ctx, c, image.Pause, s.Cache.Path("pause"), image.Config{}); err != nil {
			return err
		}
	}
	if !slices.Contains(have, image.Python) {
		if err := s.load(ctx, c, image.Python, s.pythonArchive()); err != nil {
			return err
		}
	}
	return s.Dir.Save(*c)
}

func addImage(c *state.Config, name string) {
	if !slices.Contains(c.Images, name) {
		c.Images = append(c.Images, name)
	}
}

func (s *Sandbox) loadBinary(ctx context.Context, c *state.Config, name, binary string, config image.Config) error {
	archive := s.Dir.Join("node", "image.tar")
	defer func() { _ = os.Remove(archive) }()
	err := image.WriteFile(archive, func(w io.Writer) error { return image.Binary(w, name, binary, config) })
	if err != nil {
		return err
	}
	return s.load(ctx, c, name, archive)
}

func (s *Sandbox) load(ctx context.Context, c *state.Config, name, archive string) error {
	err := s.Progress.Do(ctx, "load image "+filepath.Base(name), func(ctx context.Context) error {
		out, err := exec.CommandContext(ctx, "ctr", "--address", node.Socket(s.Dir), "--namespace", "k8s.io",
			"images", "import", archive).CombinedOutput()
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("load image %s: %w\n%s", name, err, strings.TrimSpace(string(out)))
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	addImage(c, name)
	return s.Dir.Save(*c)
}

// LoadBinary makes an image of a static program and loads it into the real node. It returns the
// image's full name.
func (s *Sandbox) LoadBinary(ctx context.Context, name, binary string) (string, error) {
	full, err := image.Normalize(name)
	if err != nil {
		return "", err
	}
	unlock, err := state.Lock(ctx, s.lockFile(), nil)
	if err != nil {
		return "", err
	}
	defer unlock()
	c, err := s.Dir.Load()
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("no sandbox in %s: start it with `sandbox up --state %s`", s.Dir, s.Dir)
	case err != nil:
		return "", err
	case !c.RealNode:
		return "", fmt.Errorf("the sandbox has no real node to load an image into (%s): simulated nodes take any image", c.NoRealNode)
	}
	return full, s.loadBinary(ctx, &c, full, binary, image.Config{User: "65532:65532"})
}
