package tui

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// screen is a program on a virtual terminal.
type screen struct {
	t        *testing.T
	emulator *vt.SafeEmulator
	program  *tea.Program
	ended    chan struct{}
	final    tea.Model
}

func newScreen(t *testing.T, live Live, width, height int) *screen {
	t.Helper()
	return onScreen(t, width, height, func(terminal io.ReadWriter, env []string, options ...tea.ProgramOption) *tea.Program {
		live.In, live.Out, live.Env = terminal, terminal, env
		return live.program(t.Context(), options...)
	})
}

// onScreen runs a program that is built for a terminal.
func onScreen(t *testing.T, width, height int, build func(io.ReadWriter, []string, ...tea.ProgramOption) *tea.Program) *screen {
	t.Helper()
	s := &screen{t: t, emulator: vt.NewSafeEmulator(width, height), ended: make(chan struct{})}
	if _, err := s.emulator.Write([]byte("\x1b[20h")); err != nil { // a line feed is a new line
		t.Fatal(err)
	}
	// Its WriteString is not the locked one: only Write may be seen.
	terminal := struct {
		io.Reader
		io.Writer
	}{s.emulator, s.emulator}
	s.program = build(terminal, []string{"TERM=xterm-256color"}, tea.WithWindowSize(width, height))
	go func() {
		defer close(s.ended)
		var err error
		if s.final, err = s.program.Run(); err != nil && !errors.Is(err, tea.ErrProgramKilled) {
			t.Errorf("run the program: %v", err)
		}
	}()
	t.Cleanup(func() {
		s.program.Kill()
		<-s.ended
	})
	return s
}

// text is what the screen shows, without what is blank at the ends.
func (s *screen) text() string {
	rows := strings.Split(ansi.Strip(s.emulator.Render()), "\n")
	for i, row := range rows {
		rows[i] = strings.TrimRight(row, " \r")
	}
	return strings.TrimRight(strings.Join(rows, "\n"), "\n") + "\n"
}

// await waits until the screen shows all that is wanted, and nothing of what starts with a !.
func (s *screen) await(wants ...string) string {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		text := s.text()
		ok := true
		for _, want := range wants {
			unwanted, not := strings.CutPrefix(want, "!")
			ok = ok && strings.Contains(text, unwanted) != not
		}
		if ok {
			return text
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the screen never showed %q; it shows\n%s", wants, text)
		}
	}
}

func (s *screen) resize(width, height int) {
	s.emulator.Resize(width, height)
	s.program.Send(tea.WindowSizeMsg{Width: width, Height: height})
}

func (s *screen) key(code rune, mod uv.KeyMod) {
	s.emulator.SendKey(uv.KeyPressEvent{Code: code, Mod: mod})
}

// end waits for the program's last state.
func (s *screen) end() liveModel {
	s.t.Helper()
	select {
	case <-s.ended:
		m, _ := s.final.(liveModel)
		return m
	case <-time.After(10 * time.Second):
		s.t.Fatal("the program does not end")
		return liveModel{}
	}
}

func TestTreeOnScreens(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {200, 50}, {40, 10}} {
		s := newScreen(t, aLive(), size[0], size[1])
		s.program.Send(updateMsg{Run: aRun(run.Running, 3)})
		s.program.Send(progressMsg{views.ProgressKey("学習-train", 1), job.Progress{Percent: 45, Source: job.SourceMarked, Metrics: map[string]float64{"loss": 0.51234}}})
		text := s.await("学習-train", "deploy", "!MESSAGES")
		if size[0] > 40 {
			text = s.await("45%")
		}
		golden(t, fmt.Sprintf("tree-%dx%d", size[0], size[1]), text)
		s.key('c', uv.ModCtrl)
		golden(t, fmt.Sprintf("question-%dx%d", size[0], size[1]), s.await("[w] keep watching", "[c] cancel the run"))
		s.key('w', 0)
		s.await("!keep watching", "deploy")
		s.key('c', uv.ModCtrl)
		s.await("keep watching")
		s.key('l', 0)
		if m := s.end(); m.choice != Leave {
			t.Errorf("l is choice %d", m.choice)
		}
	}
}

func TestCancelOnAScreen(t *testing.T) {
	s := newScreen(t, aLive(), 80, 24)
	s.program.Send(updateMsg{Run: aRun(run.Running, 1)})
	s.await("deploy")
	s.key('c', uv.ModCtrl)
	s.await("Cancel the run, or only leave it?")
	s.key('c', 0)
	if m := s.end(); m.choice != CancelRun {
		t.Errorf("c is choice %d", m.choice)
	}
	s.await("!house-prices") // what stays is printed below, once
}

func TestResizeFoldsTheTree(t *testing.T) {
	s := newScreen(t, aLive(), 80, 24)
	s.program.Send(updateMsg{Run: aRun(run.Running, 12)})
	s.await("lr=0.1", "deploy")
	s.resize(40, 10)
	golden(t, "folded-40x10", s.await("!lr=0.1", "deploy", "学習-train"))
	s.resize(80, 24)
	s.await("lr=0.1", "deploy")
}

func TestLostConnectionOnAScreen(t *testing.T) {
	s := newScreen(t, aLive(), 80, 24)
	s.program.Send(updateMsg{Run: aRun(run.Running, 1)})
	s.await("deploy", "!away")
	s.program.Send(updateMsg{Run: aRun(run.Running, 1), Lost: errors.New("gone"), Since: now.Add(-30 * time.Second)})
	golden(t, "lost-80x24", s.await("The API server is away; this is 30s old; reconnecting", "deploy"))
	s.program.Send(updateMsg{Run: aRun(run.Running, 1)})
	s.await("!away", "deploy")
	s.program.Send(doneMsg{run: aRun(run.Succeeded, 1)})
	if m := s.end(); m.choice != Stay || m.update.Run.State != run.Succeeded {
		t.Errorf("choice %d, state %s", m.choice, m.update.Run.State)
	}
}
