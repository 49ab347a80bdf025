package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/artifact"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// storeOptions say how a store of artifacts is reached.
type storeOptions struct {
	Secret           string
	PlainHTTP, Quiet bool
	// Image is the helper pod's, for volumes.
	Image, PullPolicy string
}

func (s *storeOptions) add(f *Factory, c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&s.Secret, "secret", "", "read the store's credentials from this `Secret` (default: from the environment)")
	fl.BoolVar(&s.PlainHTTP, "plain-http", false, "speak HTTP with the registry of an oci:// URI")
	fl.BoolVar(&s.Quiet, "quiet", false, "do not show how far it is")
	fl.StringVar(&s.Image, "helper-image", "", "`image` of the pod that reads or writes a pvc:// URI (default: $KUBECTL_ML_DRIVER_IMAGE, else the one released with this version)")
	fl.StringVar(&s.PullPolicy, "helper-pull-policy", "", "image pull `policy` of that pod: Always, IfNotPresent or Never")
	_ = c.RegisterFlagCompletionFunc("secret", func(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		return f.ask(c, artifact.SecretNames, prefix)
	})
}

// options are the store's for kube/artifact. The function it returns ends the showing of progress.
func (s storeOptions) options(f *Factory) (artifact.Options, func()) {
	d := driverOptions{Image: s.Image, PullPolicy: s.PullPolicy}.driver(f)
	o := artifact.Options{
		Secret: s.Secret, Env: f.Getenv, PlainHTTP: s.PlainHTTP, Image: d.Image, PullPolicy: s.PullPolicy, Now: f.Now,
	}
	if s.Quiet {
		return o, func() {}
	}
	p := f.newTransferBar()
	o.Said = p.show
	return o, p.end
}

// logTransferEvery is how often a line is written where no terminal can be drawn on; short transfers write none.
const logTransferEvery = 5 * time.Second

// transferBar draws progress in one line of a terminal, or writes a line of a log now and then.
type transferBar struct {
	f    *Factory
	live bool

	mu      sync.Mutex
	drawn   bool
	doing   string
	written time.Time
}

func (f *Factory) newTransferBar() *transferBar {
	live := isTerminal(f.ErrOut) && f.Getenv("CI") == "" && f.Getenv("TERM") != "dumb"
	return &transferBar{f: f, live: live, written: f.Now()}
}

func (b *transferBar) show(p artifact.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	pal := b.f.palette(b.f.ErrOut)
	var text strings.Builder
	if b.live {
		pal.write(&text, views.Transfer(p, width(b.f.ErrOut)-1))
		_, _ = io.WriteString(b.f.ErrOut, "\r"+text.String()+"\x1b[K")
		b.drawn = true
		return
	}
	now := b.f.Now()
	waiting := p.Total == 0 && p.Done == 0
	if waiting && p.Doing == b.doing || !waiting && now.Sub(b.written) < logTransferEvery {
		return
	}
	b.doing, b.written = p.Doing, now
	pal.write(&text, views.Transfer(p, 0))
	b.f.say("%s", text.String())
}

// end takes the line away, for what is printed next.
func (b *transferBar) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.drawn {
		_, _ = io.WriteString(b.f.ErrOut, "\r\x1b[K")
		b.drawn = false
	}
}

// isURI tells an artifact's URI from a version's name.
func isURI(s string) bool { return strings.Contains(s, "://") || strings.HasPrefix(s, "inline:") }

// uriItem is an artifact that no version names. The connection is one that may lead nowhere: only Secrets and volumes
// need it.
func (f *Factory) uriItem(uri, digest string) (*client.Client, artifact.Item, error) {
	if err := artifact.Check(uri); err != nil {
		return nil, artifact.Item{}, err
	}
	c, err := f.Offline()
	return c, artifact.Item{Artifact: pipeline.Artifact{URI: uri, Digest: digest}}, err
}

// transferred gives an error of moving an artifact its exit code.
func transferred(ctx context.Context, f *Factory, err error) error {
	var mismatch *artifact.MismatchError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		var kept *artifact.KeptError
		if errors.As(err, &kept) {
			f.say("Interrupted. %s are kept: the same command goes on from there.", views.Bytes(kept.Have))
		}
		return &CodeError{Code: ExitInterrupted}
	case errors.As(err, &mismatch):
		return &CodeError{Code: ExitFailed, Err: err}
	}
	return err
}

// artifactText is an artifact in one line: where it is, and what.
func artifactText(a pipeline.Artifact) string {
	return fmt.Sprintf("%s, %s", views.Bytes(a.Size), a.Digest)
}
