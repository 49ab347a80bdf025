package job

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"time"
	"unicode/utf8"
)

// readBuffer is the size of a stream's buffer, in bytes.
const readBuffer = 16 << 10

// rawLine is a line of a container's log as the API server sends it.
type rawLine struct {
	// at is the time stamp that the server put before the line; zero when there is none.
	at time.Time
	// text is valid until the next line is read.
	text []byte
	// dropped counts the bytes cut away.
	dropped int64
	// ended says that the line break was seen.
	ended bool
}

// lineReader splits a log into lines in bounded memory.
type lineReader struct {
	r   *bufio.Reader
	max int
	buf []byte
	// growing, when set, is shown the state of an overwritten line that has not ended.
	growing func(rawLine)
	// state, when set, is shown each state of a line that was overwritten, once something stands behind it.
	state func(rawLine)
	// over is the state being read, and overwritten says that a carriage return ended it.
	over        []byte
	overwritten bool
}

func newLineReader(r io.Reader, limit int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, readBuffer), max: limit}
}

// next reads a line. At the end of the stream it may return both a line that has not ended and the error.
func (l *lineReader) next() (rawLine, error) {
	line := rawLine{}
	l.buf, l.over, l.overwritten = l.buf[:0], l.over[:0], false
	for first := true; ; first = false {
		chunk, err := l.r.ReadSlice('\n')
		full := errors.Is(err, bufio.ErrBufferFull)
		if err == nil {
			line.ended = true
			chunk = chunk[:len(chunk)-1]
		}
		if first {
			line.at, chunk = stamp(chunk)
		}
		if l.state != nil {
			l.states(line.at, chunk)
		}
		l.add(&line, chunk)
		line.text = l.buf
		if !full {
			return line, err
		}
		if l.growing != nil && bytes.IndexByte(chunk, '\r') >= 0 {
			l.growing(line)
		}
	}
}

// states shows the states that are whole in a further piece of a line. The last one is the line itself.
func (l *lineReader) states(at time.Time, chunk []byte) {
	for len(chunk) > 0 {
		end := bytes.IndexByte(chunk, '\r')
		piece, whole := chunk, end >= 0
		if whole {
			piece = chunk[:end]
		}
		if l.overwritten && len(bytes.TrimSpace(piece)) > 0 {
			l.state(rawLine{at: at, text: l.over})
			l.over, l.overwritten = l.over[:0], false
		}
		if !l.overwritten {
			l.over = append(l.over, piece[:min(len(piece), max(l.max-len(l.over), 0))]...)
			l.overwritten = whole && len(bytes.TrimSpace(l.over)) > 0
		}
		if !whole {
			return
		}
		if !l.overwritten {
			l.over = l.over[:0]
		}
		chunk = chunk[end+1:]
	}
}

// add takes a further piece of a line. What does not fit is dropped: first the states that a carriage return overwrote, then the end.
func (l *lineReader) add(line *rawLine, chunk []byte) {
	if len(l.buf)+len(chunk) > l.max {
		if i := bytes.LastIndexByte(chunk, '\r'); i >= 0 && len(bytes.TrimSpace(chunk[i:])) > 0 {
			l.buf, line.dropped = l.buf[:0], 0
			chunk = chunk[i+1:]
		}
	}
	if room := l.max - len(l.buf); len(chunk) > room {
		line.dropped += int64(len(chunk) - room)
		chunk = wholeRunes(chunk[:room])
	}
	l.buf = append(l.buf, chunk...)
}

// wholeRunes leaves out a character that was cut in the middle at the end of b.
func wholeRunes(b []byte) []byte {
	for i := len(b) - 1; i >= 0 && i > len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return b[:i]
			}
			break
		}
	}
	return b
}

// stamp splits off the time stamp that the server put before a line.
func stamp(line []byte) (time.Time, []byte) {
	i := bytes.IndexByte(line[:min(len(line), len(time.RFC3339Nano)+1)], ' ')
	if i < 0 {
		i = len(line)
	}
	if i < len("2006-01-02T15:04:05Z") || i > len(time.RFC3339Nano) || line[0] < '0' || line[0] > '9' {
		return time.Time{}, line
	}
	at, err := time.Parse(time.RFC3339Nano, string(line[:i]))
	if err != nil {
		return time.Time{}, line
	}
	return at, line[min(i+1, len(line)):]
}

// remembered bounds the distinct time stamps that a stream remembers.
const remembered = 1024

// stampCount is how many lines in a row bore a time stamp.
type stampCount struct {
	at time.Time
	n  int
}

// seenLines remembers the time stamps of the lines read last, so that a log opened anew goes on where it broke off.
// The server can only be asked for lines from a whole second on; those read before are told by stamp and count. Stamps
// need not be in order, as two streams of a process share a log.
type seenLines struct {
	ring []stampCount
	head int // the oldest, once the ring is full
	last int // the newest
	top  time.Time

	// again counts, after resume, what the server will send once more; floor is the oldest stamp remembered.
	again map[time.Time]int
	floor time.Time
}

// add remembers a line.
func (s *seenLines) add(at time.Time) {
	at = at.UTC()
	if at.After(s.top) {
		s.top = at
	}
	switch {
	case len(s.ring) > 0 && s.ring[s.last].at.Equal(at):
		s.ring[s.last].n++
	case len(s.ring) < remembered:
		s.ring = append(s.ring, stampCount{at, 1})
		s.last = len(s.ring) - 1
	default:
		s.ring[s.head] = stampCount{at, 1}
		s.last, s.head = s.head, (s.head+1)%remembered
	}
}

// since is the time from which a log opened anew must be read; zero when nothing was read yet. The second more is for
// stamps out of order.
func (s *seenLines) since() time.Time {
	if s.top.IsZero() {
		return s.top
	}
	return s.top.Add(-time.Second).Truncate(time.Second)
}

// resume prepares for a log opened anew from since on.
func (s *seenLines) resume() {
	s.again, s.floor = nil, time.Time{}
	if len(s.ring) == 0 {
		return
	}
	s.again = make(map[time.Time]int, len(s.ring))
	for _, r := range s.ring {
		s.again[r.at] += r.n
	}
	s.floor = slices.MinFunc(s.ring, func(a, b stampCount) int { return a.at.Compare(b.at) }).at
}

// known tells a line that was read before the log was opened anew.
func (s *seenLines) known(at time.Time) bool {
	if s.again == nil {
		return false
	}
	at = at.UTC()
	switch n := s.again[at]; {
	case n > 0:
		s.again[at] = n - 1
		return true
	case at.After(s.top):
		s.again = nil
		return false
	default:
		return at.Before(s.floor)
	}
}
