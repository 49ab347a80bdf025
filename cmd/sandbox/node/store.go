package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A store is containerd's folder with the images unpacked. Unpacking the Python image takes longer
// than all the rest of a boot, so the first sandbox keeps its store in the cache, and later ones
// begin with a tree of links to it. Links are safe: containerd never changes a file of an image, and
// the databases are copied.

// StoreKey is different for every content and every containerd.
func StoreKey(ctx context.Context, content ...string) (string, error) {
	version, err := exec.CommandContext(ctx, "containerd", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask containerd for its version: %w", err)
	}
	sum := sha256.Sum256([]byte(string(version) + "\x00" + strings.Join(content, "\x00")))
	return hex.EncodeToString(sum[:6]), nil
}

// LinkStore makes a store of links to another one. It fails where links cannot be, between file
// systems say, and leaves nothing then.
func LinkStore(ctx context.Context, from, to string) error {
	tmp := to + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("link the image store: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := os.MkdirAll(filepath.Dir(tmp), 0o755); err != nil {
		return fmt.Errorf("link the image store: %w", err)
	}
	if out, err := exec.CommandContext(ctx, "cp", "-al", from, tmp).CombinedOutput(); err != nil {
		first, _, _ := strings.Cut(string(out), "\n")
		return fmt.Errorf("link the image store: %w: %s", err, first)
	}
	databases, err := filepath.Glob(filepath.Join(tmp, "*", "*.db"))
	if err != nil {
		return fmt.Errorf("link the image store: %w", err)
	}
	for _, db := range databases {
		if err := ownCopy(db); err != nil {
			return fmt.Errorf("link the image store: %w", err)
		}
	}
	if err := os.RemoveAll(to); err != nil { // the empty folder that Prepare made
		return fmt.Errorf("link the image store: %w", err)
	}
	if err := os.Rename(tmp, to); err != nil {
		return fmt.Errorf("link the image store: %w", err)
	}
	return nil
}

// ownCopy puts a copy in the place of a link.
func ownCopy(path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(path+".copy", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(path+".copy", path)
}
