package tui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"

	"github.com/kubectl-ml/kubectl-ml/views"
)

// aTable tells the time by a clock of its own.
func aTable(clock func() time.Time) Table {
	return Table{Now: clock, Paint: views.Line.Text}
}

func newTableScreen(t *testing.T, table Table, width, height int) *screen {
	t.Helper()
	return onScreen(t, width, height, func(terminal io.ReadWriter, env []string, options ...tea.ProgramOption) *tea.Program {
		table.In, table.Out, table.Env = terminal, terminal, env
		return table.program(t.Context(), options...)
	})
}

func text(lines ...string) Frame {
	return func(int, int, time.Time) ([]views.Line, time.Duration) {
		var out []views.Line
		for _, l := range lines {
			out = append(out, views.Line{views.Text(l)})
		}
		return out, 0
	}
}

func TestTableOnAScreen(t *testing.T) {
	s := newTableScreen(t, aTable(time.Now), 40, 10)
	s.program.Send(text("NAME STATE", "a    Pending", "b    Running"))
	s.await("a    Pending", "b    Running")
	s.program.Send(text("NAME STATE", "a    Running"))
	s.await("a    Running", "!b ")
	s.program.Send(Frame(func(width, height int, _ time.Time) ([]views.Line, time.Duration) {
		return []views.Line{{views.Text(fmt.Sprintf("%d times %d", width, height))}}, 0
	}))
	s.await("40 times 9") // the last line is the cursor's
	s.resize(60, 20)
	s.await("60 times 19")
	s.key('q', 0)
	<-s.ended
	if m, _ := s.final.(tableModel); !m.left || m.drawn != "60 times 19" {
		t.Errorf("%+v", m)
	}
}

// The clock draws anew when the frame says so, no sooner than after a second, and one clock at a time.
func TestTableKeepsTime(t *testing.T) {
	var mu sync.Mutex
	draws := 0
	frame := Frame(func(_, _ int, now time.Time) ([]views.Line, time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		draws++
		return []views.Line{{views.Text(now.Format("15:04:05.000"))}}, time.Millisecond
	})
	s := newTableScreen(t, aTable(time.Now), 40, 10)
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return draws
	}
	for range 20 {
		s.program.Send(frame)
	}
	wait(t, "the frames", func() bool { return count() >= 20 })
	began := time.Now()
	wait(t, "two turns of the clock", func() bool { return count() >= 22 })
	if took := time.Since(began); took < 1500*time.Millisecond {
		t.Errorf("the clock turned twice within %s", took)
	}
	s.key('c', uv.ModCtrl)
	<-s.ended
}

// Only what changed is written: one cell of a screen full of text costs a few bytes.
func TestTableWritesWhatChanged(t *testing.T) {
	var rows []string
	for i := range 40 {
		rows = append(rows, fmt.Sprintf("row %02d %s", i, strings.Repeat("x", 60)))
	}
	out := &lockedBuffer{}
	table := aTable(time.Now)
	table.In, table.Out, table.Env = blocked{t.Context()}, out, []string{"TERM=xterm-256color"}
	p := table.program(t.Context(), tea.WithWindowSize(80, 50))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = p.Run()
	}()
	p.Send(text(rows...))
	wait(t, "the first frame", func() bool { return strings.Contains(out.String(), "row 39") })
	time.Sleep(300 * time.Millisecond)
	before := len(out.String())
	rows[20] = strings.Replace(rows[20], "x", "Y", 1)
	p.Send(text(rows...))
	wait(t, "the change", func() bool { return strings.Contains(out.String()[before:], "Y") })
	time.Sleep(300 * time.Millisecond)
	if n := len(out.String()) - before; n > 200 {
		t.Errorf("%d bytes were written for one cell: %q", n, out.String()[before:])
	}
	p.Kill()
	<-ended
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// blocked is a terminal on which nobody types.
type blocked struct{ ctx context.Context }

func (b blocked) Read([]byte) (int, error) {
	<-b.ctx.Done()
	return 0, io.EOF
}

func TestTableShow(t *testing.T) {
	broken := errors.New("broken")
	out := &lockedBuffer{}
	table := aTable(time.Now)
	table.In, table.Out, table.Env = blocked{t.Context()}, out, []string{"TERM=xterm-256color"}
	left, err := table.Show(t.Context(), func(_ context.Context, show func(Frame)) error {
		show(text("a row"))
		return broken
	})
	if left || !errors.Is(err, broken) {
		t.Errorf("left %t, %v", left, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = table.Show(ctx, func(ctx context.Context, _ func(Frame)) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
