package artifact

import (
	"io"
	"sync"
	"time"
)

// A meter tells ten times a second at most; a rate is of the last rateWindow.
const (
	tellEvery  = 100 * time.Millisecond
	rateWindow = 4 * time.Second
)

// meter counts bytes and says so. Its methods may be called at once.
type meter struct {
	said func(Progress)
	now  func() time.Time

	mu    sync.Mutex
	p     Progress
	told  time.Time
	since time.Time
	past  []sample
}

// sample is how much was done at a time.
type sample struct {
	at   time.Time
	done int64
}

func newMeter(o Options) *meter { return &meter{said: o.Said, now: o.Now} }

// begin starts to count what is done; total is -1 when it is unknown, done what was there before.
func (m *meter) begin(doing string, total, done int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.p = Progress{Doing: doing, Total: total, Done: done}
	m.since, m.past = now, []sample{{now, done}}
	m.tell(now)
}

// note says what is waited for.
func (m *meter) note(doing string) { m.begin(doing, 0, 0) }

func (m *meter) add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.p.Done += n
	if now := m.now(); now.Sub(m.told) >= tellEvery {
		m.tell(now)
	}
}

// end says how far it came.
func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tell(m.now())
}

// tell is called with the lock held.
func (m *meter) tell(now time.Time) {
	m.told = now
	if m.said == nil {
		return
	}
	for len(m.past) > 1 && now.Sub(m.past[0].at) > rateWindow {
		m.past = m.past[1:]
	}
	if len(m.past) > 0 {
		if d := now.Sub(m.past[0].at); d > 0 {
			m.p.Rate = float64(m.p.Done-m.past[0].done) / d.Seconds()
		}
	}
	m.past = append(m.past, sample{now, m.p.Done})
	m.said(m.p)
}

// reader counts what is read through it.
func (m *meter) reader(r io.Reader) io.Reader { return &counted{r, m} }

type counted struct {
	io.Reader
	m *meter
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.m.add(int64(n))
	return n, err
}
