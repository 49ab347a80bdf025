// Package tui is the room of what draws on a terminal and reads its keys: here the live tree of one run.
package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// Choice is what a person decided while a run was shown.
type Choice int

// The choices. Stay means that the run ended before anything was decided.
const (
	Stay Choice = iota
	// Leave lets the run go on without this client.
	Leave
	// CancelRun ends the run.
	CancelRun
)

// Live is one run drawn in place, below the prompt, without taking the screen over.
type Live struct {
	In  io.Reader
	Out io.Writer
	Env []string
	Now func() time.Time
	// Paint turns tones into escape sequences, or into nothing.
	Paint func(views.Line) string
	// CanCancel offers to end the run on Ctrl-C; without it Ctrl-C only stops watching.
	CanCancel bool
}

// Show draws what work shows until work returns or the person decides. Work is cancelled then, and Show
// returns what it returned.
func (l Live) Show(ctx context.Context, work func(ctx context.Context, show func(run.Update), progress func(string, job.Progress)) (run.Run, error)) (run.Run, Choice, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p := l.program(ctx)
	var r run.Run
	var workErr error
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		r, workErr = work(ctx, func(u run.Update) { p.Send(updateMsg(u)) }, func(key string, pr job.Progress) { p.Send(progressMsg{key, pr}) })
		p.Send(doneMsg{run: r})
	}()
	final, err := p.Run()
	stop()
	<-finished
	if err != nil && !errors.Is(err, tea.ErrProgramKilled) {
		return r, Stay, fmt.Errorf("draw the run: %w", err)
	}
	m, ok := final.(liveModel)
	if !ok {
		return r, Stay, workErr
	}
	l.leave(m)
	if m.choice == Stay {
		return r, Stay, workErr
	}
	return m.update.Run, m.choice, nil
}

// program is ready to run; options come on top of what every terminal gets.
func (l Live) program(ctx context.Context, options ...tea.ProgramOption) *tea.Program {
	return tea.NewProgram(liveModel{live: l, progress: map[string]job.Progress{}}, append([]tea.ProgramOption{
		tea.WithInput(l.In), tea.WithOutput(l.Out), tea.WithEnvironment(l.Env), tea.WithFPS(20), tea.WithoutSignalHandler(), tea.WithContext(ctx),
	}, options...)...)
}

// leave writes the whole tree as it was last seen, also what did not fit the screen: it stays above the prompt.
func (l Live) leave(m liveModel) {
	if m.update.Run.Record == nil {
		return
	}
	var b strings.Builder
	o := views.TreeOptions{LineOptions: views.LineOptions{Width: m.width}}
	for _, line := range views.RunTree(m.update.Run, m.progress, l.Now(), o) {
		b.WriteString(l.Paint(line) + "\n")
	}
	_, _ = io.WriteString(l.Out, b.String())
}

type (
	updateMsg   run.Update
	progressMsg struct {
		key      string
		progress job.Progress
	}
	doneMsg struct{ run run.Run }
	tickMsg time.Time
)

// liveModel is the tree, and the question that Ctrl-C asks.
type liveModel struct {
	live          Live
	update        run.Update
	progress      map[string]job.Progress
	width, height int
	asking, done  bool
	choice        Choice
}

func (m liveModel) Init() tea.Cmd { return tick() }

// tick moves the clock of running stages: once a second is all that shows.
func tick() tea.Cmd { return tea.Tick(time.Second, func(t time.Time) tea.Msg { return tickMsg(t) }) }

func (m liveModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case updateMsg:
		m.update = run.Update(msg)
	case progressMsg:
		m.progress[msg.key] = msg.progress
	case tickMsg:
		return m, tick()
	case doneMsg:
		m.done, m.asking = true, false
		if msg.run.Record != nil {
			m.update.Run, m.update.Lost = msg.run, nil
		}
		return m, tea.Quit
	case tea.KeyPressMsg:
		return m.key(msg.String())
	}
	return m, nil
}

func (m liveModel) key(key string) (tea.Model, tea.Cmd) {
	leave := func() (tea.Model, tea.Cmd) {
		m.choice, m.asking, m.done = Leave, false, true
		return m, tea.Quit
	}
	stop := key == "ctrl+c" || key == "q"
	switch {
	case stop && (!m.live.CanCancel || m.asking):
		return leave()
	case stop:
		m.asking = true
	case !m.asking:
	case key == "c":
		m.choice, m.asking, m.done = CancelRun, false, true
		return m, tea.Quit
	case key == "l" || key == "d":
		return leave()
	case key == "esc" || key == "enter" || key == "w":
		m.asking = false
	}
	return m, nil
}

func (m liveModel) View() tea.View {
	if m.update.Run.Record == nil || m.done {
		return tea.NewView("")
	}
	var b strings.Builder
	for _, line := range m.lines() {
		b.WriteString(m.live.Paint(line))
		b.WriteByte('\n')
	}
	return tea.NewView(strings.TrimSuffix(b.String(), "\n"))
}

// lines are the tree, what is wrong with the connection, and the question.
func (m liveModel) lines() []views.Line {
	now := m.live.Now()
	var foot []views.Line
	if m.update.Lost != nil {
		age := views.Age(now.Sub(m.update.Since))
		foot = append(foot, views.Line{views.Toned("The API server is away; this is "+age+" old; reconnecting", views.Warn)})
	}
	if m.asking {
		foot = append(foot, m.question()...)
	}
	room := max(m.height-len(foot)-1, 2)
	if m.height == 0 {
		room = 0
	}
	o := views.TreeOptions{LineOptions: views.LineOptions{Width: m.width}, Rows: room}
	lines := append(fold(views.RunTree(m.update.Run, m.progress, now, o), room), foot...)
	for i := range lines {
		if m.width > 0 {
			lines[i] = lines[i].Cut(m.width)
		}
	}
	return lines
}

// question is what Ctrl-C asks.
func (m liveModel) question() []views.Line {
	leave := "no later stage starts before the run is resumed"
	if m.update.Run.Detached {
		leave = "the run goes on in the cluster"
	}
	key := func(key, text string) views.Line {
		return views.Line{views.Text("  "), views.Toned("["+key+"]", views.Accent), views.Text(" " + text)}
	}
	return []views.Line{
		{views.Toned("Cancel the run, or only leave it?", views.Head)},
		key("w", "keep watching"), key("l", "leave: "+leave), key("c", "cancel the run"),
	}
}

// fold keeps the tree within the screen: what does not fit is counted.
func fold(lines []views.Line, room int) []views.Line {
	if room == 0 || len(lines) <= room {
		return lines
	}
	more := fmt.Sprintf("… %d more lines", len(lines)-room+1)
	return append(lines[:room-1:room-1], views.Line{views.Toned(more, views.Dim)})
}
