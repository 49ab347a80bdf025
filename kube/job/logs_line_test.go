package job

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func readLines(t *testing.T, r io.Reader, limit int) (lines []string, dropped int64) {
	t.Helper()
	l := newLineReader(r, limit)
	for {
		line, err := l.next()
		if line.ended || len(line.text) > 0 {
			lines = append(lines, string(line.text))
			dropped += line.dropped
		}
		if errors.Is(err, io.EOF) {
			return lines, dropped
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestLineReader(t *testing.T) {
	const at = "2026-10-01T12:00:00.123456789Z "
	for name, tc := range map[string]struct {
		in      string
		limit   int
		want    []string
		dropped int64
	}{
		"stamped":         {at + "a\n" + at + "\n" + at + "b", 100, []string{"a", "", "b"}, 0},
		"not stamped":     {"plain text\n2026\n", 100, []string{"plain text", "2026"}, 0},
		"cut":             {at + strings.Repeat("x", 50) + "\n" + at + "next\n", 10, []string{"xxxxxxxxxx", "next"}, 40},
		"cut in a letter": {at + "aaa学b\n", 5, []string{"aaa"}, 2},
		"overwritten":     {at + strings.Repeat("\r 10% "+strings.Repeat("#", 70), 1000) + "\r 99% ok\n", 200, []string{" 99% ok"}, 0},
		"short states":    {at + " 10%\r 20%\r\n", 100, []string{" 10%\r 20%\r"}, 0},
		"zone":            {"2026-10-01T12:00:00+02:00 a\n", 100, []string{"a"}, 0},
	} {
		lines, dropped := readLines(t, strings.NewReader(tc.in), tc.limit)
		if name == "overwritten" { // which states fell away depends on the buffer, the last one stays
			lines[0] = lines[0][strings.LastIndexByte(lines[0], '\r')+1:]
		}
		if !slices.Equal(lines, tc.want) || dropped != tc.dropped {
			t.Errorf("%s: got %q, %d dropped", name, lines, dropped)
		}
		if one, _ := readLines(t, iotest.OneByteReader(strings.NewReader(tc.in)), tc.limit); len(one) != len(tc.want) {
			t.Errorf("%s: byte by byte gives %q", name, one)
		}
	}
}

func TestStatesOfALine(t *testing.T) {
	bar := strings.Repeat("#", 9000)
	for name, tc := range map[string]struct {
		in     string
		limit  int
		states []string
	}{
		"a bar":           {"10%\r20%\r30%\n", 100, []string{"10%", "20%"}},
		"cleared":         {"\r10%\r    \r20%\r\n40%\r\n", 100, []string{"10%"}},
		"windows":         {"a\r\nb\r\n", 100, nil},
		"not ended":       {"10%\r20%\r30%", 100, []string{"10%", "20%"}},
		"over the buffer": {"1" + bar + "\r2" + bar + "\r3" + bar + "\rend\n", 20000, []string{"1" + bar, "2" + bar, "3" + bar}},
		"cut":             {"1" + bar + "\r2\r3\n", 3, []string{"1##", "2"}},
	} {
		for _, r := range []io.Reader{strings.NewReader(tc.in), iotest.HalfReader(strings.NewReader(tc.in))} {
			var states []string
			l := newLineReader(r, tc.limit)
			l.state = func(line rawLine) { states = append(states, string(line.text)) }
			for {
				if _, err := l.next(); err != nil {
					break
				}
			}
			if !slices.Equal(states, tc.states) {
				t.Errorf("%s: %.100q", name, states)
			}
		}
	}
}

func TestLineReaderIsBounded(t *testing.T) {
	l := newLineReader(io.LimitReader(endless('x'), 64<<20), 1000)
	line, err := l.next()
	if !errors.Is(err, io.EOF) || len(line.text) != 1000 || line.dropped != 64<<20-1000 || cap(l.buf) > 4000 {
		t.Errorf("%d bytes, %d dropped, capacity %d, %v", len(line.text), line.dropped, cap(l.buf), err)
	}
	states := 0
	l = newLineReader(strings.NewReader(strings.Repeat("\r 10% #", 20_000)), 1000)
	l.growing = func(line rawLine) {
		states++
		if line.ended || len(line.text) > 1000 {
			t.Errorf("state of %d bytes", len(line.text))
		}
	}
	if _, err := l.next(); !errors.Is(err, io.EOF) || states < 5 {
		t.Errorf("%d states, %v", states, err)
	}
}

type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

func TestSeenLines(t *testing.T) {
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	var s seenLines
	for _, ms := range []int{100, 2000, 2000, 1990, 2500} {
		if s.known(at(ms)) {
			t.Errorf("%d is known before anything was resumed", ms)
		}
		s.add(at(ms))
	}
	if want := at(1000); !s.since().Equal(want) {
		t.Errorf("since %v, want %v", s.since(), want)
	}
	s.resume()
	for i, tc := range []struct {
		ms   int
		want bool
	}{{50, true}, {2000, true}, {2000, true}, {1990, true}, {2000, false}, {2500, true}, {2400, false}, {2600, false}, {50, false}} {
		if got := s.known(at(tc.ms)); got != tc.want {
			t.Errorf("%d: known(%d) = %t", i, tc.ms, got)
		}
	}
}

func TestSeenLinesIsBounded(t *testing.T) {
	var s seenLines
	for i := range 10 * remembered {
		s.add(t0.Add(time.Duration(i)))
	}
	if len(s.ring) != remembered {
		t.Fatalf("remembers %d", len(s.ring))
	}
	s.resume()
	for i := range 10 * remembered {
		if !s.known(t0.Add(time.Duration(i))) {
			t.Fatalf("line %d is new again", i)
		}
	}
	if s.known(t0.Add(time.Second)) {
		t.Error("a later line is known")
	}
}

func BenchmarkStream(b *testing.B) {
	line := "2026-10-01T12:00:00.123456789Z step 10 of 100, loss 0.4, and some more text as trainers print it\n"
	text := strings.Repeat(line, 10_000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	r := newLogReader(nil, "ns", PodSelector{}, LogOptions{}, func(LogLine) {})
	for b.Loop() {
		s := r.stream(pod("a", 0), "main")
		if _, err := s.pump(io.NopCloser(strings.NewReader(text))); err != nil {
			b.Fatal(err)
		}
	}
}

func TestPartialLines(t *testing.T) {
	s := newSink()
	r := newLogReader(nil, "ns", PodSelector{}, LogOptions{Partial: true}, s.emit)
	text := "2026-10-01T12:00:00Z " + strings.Repeat("\r 10%|#| 1/10 [00:01<00:09]", 2000) + "\r100%|#| 10/10 [00:10<00:00]\n"
	if _, err := r.stream(pod("a", 0), "main").pump(io.NopCloser(strings.NewReader(text))); err != nil {
		t.Fatal(err)
	}
	last := s.lines[len(s.lines)-1]
	if !s.lines[0].Partial || last.Partial || last.Text != "100%|#| 10/10 [00:10<00:00]" || r.report.Lines != 1 {
		t.Errorf("%d lines, the last %+v, report %+v", len(s.lines), last, r.report)
	}
}
