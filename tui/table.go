package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/kubectl-ml/kubectl-ml/views"
)

// Frame draws lines for a screen of that size as of now. Next is how long they stay true when nothing changes but the
// clock, 0 for always.
type Frame func(width, height int, now time.Time) (lines []views.Line, next time.Duration)

// Table is lines that are drawn in place, below the prompt, without taking the screen over. Only what changed is
// written.
type Table struct {
	In  io.Reader
	Out io.Writer
	Env []string
	Now func() time.Time
	// Paint turns tones into escape sequences, or into nothing.
	Paint func(views.Line) string
}

// Show draws the frames that work shows until work returns or the person leaves with Ctrl-C or q, which cancels work.
// The last frame stays above the prompt. Left says that the person left.
func (t Table) Show(ctx context.Context, work func(ctx context.Context, show func(Frame)) error) (left bool, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p := t.program(ctx)
	var workErr error
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		workErr = work(ctx, func(f Frame) { p.Send(f) })
		p.Send(tea.QuitMsg{})
	}()
	final, err := p.Run()
	stop()
	<-finished
	if err != nil && !errors.Is(err, tea.ErrProgramKilled) {
		return false, fmt.Errorf("draw the table: %w", err)
	}
	m, ok := final.(tableModel)
	if !ok {
		return false, workErr
	}
	if m.drawn != "" {
		_, _ = io.WriteString(t.Out, m.drawn+"\n")
	}
	if m.left {
		return true, nil
	}
	return false, workErr
}

// program is ready to run; options come on top of what every terminal gets.
func (t Table) program(ctx context.Context, options ...tea.ProgramOption) *tea.Program {
	return tea.NewProgram(tableModel{table: t}, append([]tea.ProgramOption{
		tea.WithInput(t.In), tea.WithOutput(t.Out), tea.WithEnvironment(t.Env), tea.WithFPS(10), tea.WithoutSignalHandler(), tea.WithContext(ctx),
	}, options...)...)
}

// clockMsg asks for the lines as of now; turn tells an old clock from the one that counts.
type clockMsg struct{ turn int }

type tableModel struct {
	table         Table
	frame         Frame
	width, height int
	// drawn are the lines as they stand, so that a View costs nothing.
	drawn string
	turn  int
	// over ends the drawing, left says by whom.
	over, left bool
}

func (m tableModel) Init() tea.Cmd { return nil }

func (m tableModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case Frame:
		m.frame = msg
	case clockMsg:
		if msg.turn != m.turn {
			return m, nil
		}
	case tea.QuitMsg:
		m.over = true
		return m, tea.Quit
	case tea.KeyPressMsg:
		if key := msg.String(); key == "ctrl+c" || key == "q" {
			m.over, m.left = true, true
			return m, tea.Quit
		}
		return m, nil
	default:
		return m, nil
	}
	return m.draw()
}

// draw makes the lines anew, and sets the clock for when they have to be made again.
func (m tableModel) draw() (tea.Model, tea.Cmd) {
	if m.frame == nil || m.height == 0 {
		return m, nil
	}
	lines, next := m.frame(m.width, m.height-1, m.table.Now())
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(m.table.Paint(line))
	}
	m.drawn = b.String()
	m.turn++
	if next <= 0 {
		return m, nil
	}
	turn := m.turn
	return m, tea.Tick(max(next, time.Second), func(time.Time) tea.Msg { return clockMsg{turn} })
}

func (m tableModel) View() tea.View {
	if m.over {
		return tea.NewView("")
	}
	return tea.NewView(m.drawn)
}
