package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// Delete removes the record of a version, or of a whole model when ref is one. It refuses what an alias names and what a
// workload serves. The number of a deleted version is not used again, and the history goes on to tell of it; with a whole
// model its history goes too. The artifact itself, unless it is in the record, stays where it is.
//
// The history has its line before the record goes, so a deletion that stopped half way is seen, and is finished by
// asking for it again.
func Delete(ctx context.Context, c *client.Client, ref Ref, mark Mark, dryRun []string) error {
	if ref.Alias != "" {
		return refuse("name the version to delete by its number: what %s names may change at any moment", ref)
	}
	if err := checkComment(mark.Comment); err != nil {
		return err
	}
	if err := CheckModel(ref.Model); err != nil {
		return &RefusedError{Reason: err.Error()}
	}
	if err := refuseLive(ctx, c, ref.Model, ref.Version, "delete"); err != nil {
		return err
	}
	mark = marked(ctx, c, mark)
	if ref.Version == 0 {
		return deleteModel(ctx, c, ref.Model, mark, dryRun)
	}
	return deleteVersion(ctx, c, ref, mark, dryRun)
}

func deleteVersion(ctx context.Context, c *client.Client, ref Ref, mark Mark, dryRun []string) error {
	n := ref.Version
	err := change(ctx, c, ref.Model, dryRun, func(ctx context.Context, h *Head) error {
		cm, err := readVersion(ctx, c, h.Model, n)
		switch {
		case err != nil:
			return err
		case cm == nil && !h.Exists(n):
			return h.noVersion(ctx, c, ref, n, false)
		case h.absent.has(n):
			return errUnchanged // said before, and not done
		}
		if err := h.refuseAliased(n, "delete"); err != nil {
			return err
		}
		e := Event{At: mark.At, By: mark.By, Action: Deleted, Version: n, Comment: mark.Comment}
		if cm != nil {
			f, _ := decodeFacts(cm.Data)
			e.Digest = f.Artifact.Digest
		}
		h.forget(n)
		return h.say(e)
	})
	if err != nil {
		return err
	}
	return remove(ctx, c, versionName(ref.Model, n), dryRun)
}

// forget takes a version out of the head.
func (h *Head) forget(n int) {
	if n > h.Highest+1 {
		h.absent = h.absent.with(h.Highest+1, n-1)
	}
	h.Highest = max(h.Highest, n)
	h.absent = h.absent.with(n, n)
	delete(h.Approvals, n)
	delete(h.Archived, n)
	delete(h.VersionNotes, n)
}

func remove(ctx context.Context, c *client.Client, object string, dryRun []string) error {
	err := c.Kube.CoreV1().ConfigMaps(c.Namespace).Delete(ctx, object, metav1.DeleteOptions{DryRun: dryRun})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return c.Explain("delete "+object, err)
}

// deleteModel removes versions, pages of history and the head, in this order: while the head is there, the deletion can
// be gone on with, and nothing new is registered.
func deleteModel(ctx context.Context, c *client.Client, model string, mark Mark, dryRun []string) error {
	err := change(ctx, c, model, dryRun, func(_ context.Context, h *Head) error {
		if h.Deleting != nil {
			return errUnchanged
		}
		if len(h.Aliases) > 0 {
			names := slices.Sorted(maps.Keys(h.Aliases))
			return refuse("cannot delete model %s: its aliases name versions: %s\n  remove them first: kubectl ml model alias %s %s --remove",
				model, strings.Join(names, ", "), model, names[0])
		}
		h.Deleting = &mark
		return h.say(Event{At: mark.At, By: mark.By, Action: Deleted, Comment: mark.Comment})
	})
	if err != nil {
		return err
	}
	for _, kind := range []string{kube.KindVersion, kube.KindHistory} {
		list, err := listMeta(ctx, c, c.Namespace, kube.Selector(map[string]string{kube.LabelKind: kind, kube.LabelModel: model}))
		if err != nil {
			return err
		}
		for i := range list {
			if err := remove(ctx, c, list[i].Name, dryRun); err != nil {
				return fmt.Errorf("%w\n  go on with: kubectl ml model delete %s", err, model)
			}
		}
	}
	return remove(ctx, c, kube.PrefixModel+model, dryRun)
}
