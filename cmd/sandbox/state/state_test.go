package state_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

func TestClaimRefusesSomebodysFolder(t *testing.T) {
	d := state.Dir(t.TempDir())
	file := d.Join("thesis.tex")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Claim(); err == nil {
		t.Error("claimed a folder with somebody's files")
	}
	if err := d.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("Remove took somebody's file: %v", err)
	}
}

func TestSaveLoadRemove(t *testing.T) {
	d := state.Dir(filepath.Join(t.TempDir(), "sandbox"))
	for range 2 { // a second claim of our own folder is fine
		if err := d.Claim(); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Save(state.Config{GPUNodes: 3, Ready: true}); err != nil {
		t.Fatal(err)
	}
	if c, err := d.Load(); err != nil || c.GPUNodes != 3 || !c.Ready {
		t.Errorf("Load = %+v, %v", c, err)
	}
	if err := d.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(string(d)); !os.IsNotExist(err) {
		t.Errorf("folder is still there: %v", err)
	}
}

func TestOpenGivesOneFolderOneName(t *testing.T) {
	tmp := t.TempDir()
	if err := os.Symlink(tmp, filepath.Join(tmp, "link")); err != nil {
		t.Fatal(err)
	}
	a, errA := state.Open(filepath.Join(tmp, "new"))
	b, errB := state.Open(filepath.Join(tmp, "link", ".", "new"))
	if errA != nil || errB != nil || a.ID() != b.ID() {
		t.Errorf("Open = %v (%v), %v (%v); want one name", a, errA, b, errB)
	}
}

func TestLockWaits(t *testing.T) {
	file := filepath.Join(t.TempDir(), "locks", "a")
	unlock, err := state.Lock(t.Context(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	waited := false
	if _, err := state.Lock(ctx, file, func() { waited = true }); err == nil || !waited {
		t.Errorf("took a held lock: %v, waited %v", err, waited)
	}
	unlock()
	unlock, err = state.Lock(t.Context(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestFreePortsAreDistinct(t *testing.T) {
	ports, err := state.FreePorts("a", "b", "c")
	if err != nil {
		t.Fatal(err)
	}
	if len(ports) != 3 || ports["a"] == ports["b"] || ports["b"] == ports["c"] || ports["a"] == ports["c"] {
		t.Errorf("ports = %v", ports)
	}
}

func TestNetworksAvoidWhatIsUsed(t *testing.T) {
	first, pods, err := state.Networks(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := state.Networks(1, nil)
	if err != nil || again != first {
		t.Errorf("the same seed gave %v, then %v (%v)", first, again, err)
	}
	used := []netip.Prefix{netip.PrefixFrom(first.Addr().Next(), 32), netip.MustParsePrefix("10.0.0.0/8")}
	other, _, err := state.Networks(1, used)
	if err != nil || other.Overlaps(first) || first.Overlaps(pods) {
		t.Errorf("Networks = %v (%v) with %v in use", other, err, used)
	}
}
