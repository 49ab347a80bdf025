package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// RegisterOptions say how a version is registered.
type RegisterOptions struct {
	// Key names what made the version, such as run UID, stage, attempt and child: registering with the same key again
	// returns the version that exists. Empty makes each call a version of its own.
	Key string
	// Inline is the artifact itself, to be kept in the record; MaxInline bytes at most.
	Inline []byte
	// DryRun has the server check what would be written, and write nothing.
	DryRun []string
	// Action is Registered, when empty, or Imported.
	Action Action
	// By is who registers; empty asks the server who the caller is.
	By string
}

// How long somebody else's registration may stand before it is settled, and before its number is taken.
const (
	settleAfter = 150 * time.Millisecond
	stealAfter  = 2 * time.Second
)

// Register keeps facts as a version for good. f.Version 0 takes the next number, another exactly that one. made is false
// when the version was there already: the same key, or the same number and artifact.
//
// A version is three writes: the head notes the number that is being taken and for which key, the record is created, and
// the head gets the line of history and forgets the note. Only one number is being taken at a time, so there are no gaps.
// Who finds a note that stands too long finishes what was begun, or takes the number when no record has it. A client that
// was slow and not dead then finds its number taken and begins anew: creating the record decides. No clock is compared
// with another.
func Register(ctx context.Context, c *client.Client, f Facts, o RegisterOptions) (v Version, made bool, err error) {
	r, err := newRegistration(ctx, c, f, o)
	if err != nil {
		return Version{}, false, err
	}
	wait := newPause(patience)
	for {
		v, made, err = r.try(ctx)
		switch {
		case err == nil:
			return v, made, nil
		case !errors.Is(err, errBusy) && !lostRace(err):
			return Version{}, false, explain(c, "register a version of model "+f.Model, err)
		case !wait.next(ctx):
			return Version{}, false, tooFast(ctx, f.Model)
		}
	}
}

// errBusy says that somebody else is registering a version of the same model.
var errBusy = errors.New("another version is being registered")

// registration is one version on its way into the registry.
type registration struct {
	c     *client.Client
	facts Facts
	RegisterOptions
	// alone says that the key is of this call alone.
	alone bool
	// pending is what the head notes of it.
	pending Pending
	// other is somebody else's registration, first seen at since.
	other Pending
	since time.Time
}

func newRegistration(ctx context.Context, c *client.Client, f Facts, o RegisterOptions) (*registration, error) {
	now := time.Now().UTC()
	if f.CreatedAt.IsZero() {
		f.CreatedAt = now
	}
	if o.Action == "" {
		o.Action = Registered
	}
	if o.Inline != nil {
		if len(o.Inline) > MaxInline {
			return nil, refuse("the artifact has %d bytes, and a record keeps %d at most: push it to a store and register its URI", len(o.Inline), MaxInline)
		}
		if f.Artifact.URI == "" {
			f.Artifact.URI = "inline:model"
		}
		digest := DigestOf(o.Inline)
		if f.Artifact.Digest != "" && f.Artifact.Digest != digest {
			return nil, refuse("the artifact's digest is %s, not %s", digest, f.Artifact.Digest)
		}
		f.Artifact.Digest, f.Artifact.Size = digest, int64(len(o.Inline))
	} else if strings.HasPrefix(f.Artifact.URI, "inline:") {
		return nil, refuse("the artifact %s is to be kept in the record, and its bytes are missing", f.Artifact.URI)
	}
	if err := f.check(); err != nil {
		return nil, &RefusedError{Reason: err.Error()}
	}
	r := &registration{c: c, facts: f, RegisterOptions: o}
	if o.Key == "" {
		r.alone, r.Key = true, utilrand.String(20)
	}
	// What cannot be written is said before anything is.
	trial := f
	trial.Version = maxVersion
	if _, err := trial.object(c.Namespace, r.Key, o.Inline); err != nil {
		return nil, err
	}
	if o.By == "" {
		r.By = c.WhoAmI(ctx)
	}
	if f.CreatedBy == "" {
		r.facts.CreatedBy = r.By
	}
	r.pending = Pending{Key: keyHash(r.Key), Action: o.Action, By: r.By}
	return r, nil
}

// keyHash fits a key into a label.
func keyHash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:12])
}

// try takes all steps from the head as it stands; errBusy and lost races ask to be tried again.
func (r *registration) try(ctx context.Context) (v Version, made bool, err error) {
	cm, h, err := readHead(ctx, r.c, r.facts.Model)
	if err != nil {
		return Version{}, false, err
	}
	if h == nil {
		cm, h = &corev1.ConfigMap{}, newHead(r.facts.Model, r.c.Namespace)
		if err := h.mend(ctx, r.c); err != nil {
			return Version{}, false, err
		}
	}
	if h.Deleting != nil {
		return Version{}, false, h.refuseDeleting()
	}
	if h.Pending == nil || h.Pending.Key != r.pending.Key {
		there, err := r.existing(ctx, h)
		if err != nil || there != nil {
			return there.or(Version{}), false, err
		}
		if err := r.queue(ctx, h); err != nil {
			return Version{}, false, err
		}
		if err := r.take(ctx, h, cm); err != nil {
			return Version{}, false, err
		}
	} else {
		r.pending = *h.Pending
	}
	object, made, err := r.create(ctx)
	if err != nil {
		return Version{}, false, err
	}
	if len(r.DryRun) > 0 {
		return h.versionOf(object), made, nil
	}
	h, err = r.finish(ctx, object)
	if err != nil {
		return Version{}, false, err
	}
	return h.versionOf(object), made, nil
}

func (v *Version) or(other Version) Version {
	if v == nil {
		return other
	}
	return *v
}

// existing is the version that was registered with the same key before; nil when there is none.
func (r *registration) existing(ctx context.Context, h *Head) (*Version, error) {
	if r.alone {
		return nil, nil
	}
	selector := kube.Selector(map[string]string{kube.LabelKind: kube.KindVersion, kube.LabelModel: h.Model, kube.LabelKey: r.pending.Key})
	list, err := listMeta(ctx, r.c, r.c.Namespace, selector)
	if err != nil {
		return nil, err
	}
	for i := range list {
		n, ok := versionOf(list[i].Name, h.Model)
		if !ok || h.absent.has(n) {
			continue
		}
		cm, err := readVersion(ctx, r.c, h.Model, n)
		if err != nil {
			return nil, err
		}
		if cm != nil {
			v := h.versionOf(cm)
			return &v, nil
		}
	}
	return nil, nil
}

func (h *Head) refuseDeleting() error {
	return refuse("model %s is being deleted by %s: finish that with: kubectl ml model delete %s", h.Model, orSomebody(h.Deleting.By), h.Model)
}

// queue waits for somebody else's registration, and settles it when it stands too long.
func (r *registration) queue(ctx context.Context, h *Head) error {
	if h.Pending == nil || len(r.DryRun) > 0 {
		return nil
	}
	if *h.Pending != r.other {
		r.other, r.since = *h.Pending, time.Now()
	}
	stands := time.Since(r.since)
	if stands < settleAfter {
		return errBusy
	}
	if _, err := h.settle(ctx, r.c); err != nil {
		return err
	}
	if h.Pending != nil && stands < stealAfter {
		return errBusy
	}
	return nil
}

// take notes in the head which number is being taken.
func (r *registration) take(ctx context.Context, h *Head, cm *corev1.ConfigMap) error {
	r.pending.Version, r.pending.At = h.Highest+1, time.Now().UTC()
	if n := r.facts.Version; n > 0 {
		if err := h.free(ctx, r.c, n, &r.facts); err != nil {
			return err
		}
		r.pending.Version = n
	}
	if r.pending.Version > maxVersion {
		return refuse("model %s has no numbers left after %d\n  see what is wrong with: kubectl ml model check %s", h.Model, h.Highest, h.Model)
	}
	h.Pending = &r.pending
	return h.store(ctx, r.c, cm, r.DryRun)
}

// free refuses a number that is or was a version's.
func (h *Head) free(ctx context.Context, c *client.Client, n int, f *Facts) error {
	name := Ref{Model: h.Model, Version: n}.String()
	switch {
	case h.Exists(n):
		return refuse("%s exists already: versions are kept as they are; register without a number to take the next one", name)
	case n > h.Highest:
		return nil
	}
	events, _, err := h.history(ctx, c)
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.Action == Deleted && e.Version == n && e.Origin == "" {
			return refuse("%s was deleted by %s on %s, and numbers are not used again: register %s without a number", name, orSomebody(e.By), stamp(e.At), f.Model)
		}
	}
	return nil
}

// stamp is a time as messages show it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// create makes the record. One that is there with the same key is the same version; one with another key belongs to
// whoever was faster, and is settled.
func (r *registration) create(ctx context.Context) (object *corev1.ConfigMap, made bool, err error) {
	f := r.facts
	f.Version = r.pending.Version
	object, err = f.object(r.c.Namespace, r.Key, r.Inline)
	if err != nil {
		return nil, false, err
	}
	object.Labels[kube.LabelKey] = r.pending.Key
	maps := r.c.Kube.CoreV1().ConfigMaps(r.c.Namespace)
	got, err := maps.Create(ctx, object, metav1.CreateOptions{FieldManager: kube.FieldManager, DryRun: r.DryRun})
	switch {
	case err == nil:
		return got, true, nil
	case !apierrors.IsAlreadyExists(err):
		r.withdraw(ctx, err)
		return nil, false, err
	}
	there, err := maps.Get(ctx, object.Name, metav1.GetOptions{})
	if err != nil {
		return nil, false, err
	}
	if there.Labels[kube.LabelKey] == r.pending.Key {
		// A key of this call alone was written by this call, and the answer was lost.
		return there, r.alone, nil
	}
	if len(r.DryRun) > 0 {
		return nil, false, refuse("%s is being registered by somebody else this moment: try again", Ref{Model: f.Model, Version: f.Version})
	}
	err = change(ctx, r.c, f.Model, nil, func(_ context.Context, h *Head) error {
		if h.Exists(f.Version) {
			return errUnchanged
		}
		h.adopt(there, f.Version)
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return nil, false, errBusy
}
