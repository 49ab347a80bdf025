// Package safetext makes text that came from pods and from the cluster harmless for a terminal.
// It is the one place that decides what may pass; it does no I/O and knows nothing of Kubernetes.
package safetext

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// TabStop is the distance of tab stops, in cells, to which Line expands tabs.
const TabStop = 8

// maxMarks bounds the combining marks in a row, so that a single cell cannot grow over its neighbours.
const maxMarks = 8

// Cell returns s as one line fit for a table cell: escape sequences, control characters, invisible
// format characters and bidirectional overrides are removed, line breaks and tabs become one space,
// and invalid UTF-8 becomes U+FFFD. Text that is already harmless is returned as it is.
func Cell(s string) string {
	if plain(s) {
		return s
	}
	return clean(s, 1)
}

// Line returns s as one log line: like Cell, but tabs run to the next stop, and of a line that was
// overwritten with carriage returns only the last visible state remains.
func Line(s string) string {
	if plain(s) {
		return s
	}
	for {
		i := strings.LastIndexByte(s, '\r')
		last := clean(s[i+1:], TabStop)
		if i < 0 || strings.TrimSpace(last) != "" {
			return last
		}
		s = s[:i]
	}
}

// plain says whether s is printable ASCII alone.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// scanner holds what is known of the text ahead, so that a text full of openings without an end costs linear time.
type scanner struct {
	s string
	// noBell and noST are set once no terminator of that kind was found ahead.
	noBell, noST bool
}

// clean is the slow path. A tab becomes spaces up to the next multiple of stop.
func clean(s string, stop int) string {
	var b strings.Builder
	b.Grow(len(s))
	sc := scanner{s: s}
	column, marks := 0, 0
	for i := 0; i < len(s); {
		if c := s[i]; c >= ' ' && c <= '~' {
			b.WriteByte(c)
			column++
			marks = 0
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\t':
			n := stop - column%stop
			for range n {
				b.WriteByte(' ')
			}
			column += n
		case r == '\n' || r == '\r' || r == '\v' || r == '\f' || r == 0x85 || r == 0x2028 || r == 0x2029:
			b.WriteByte(' ')
			column++
		case r == 0x1b:
			size = sc.escape(i)
		case r >= 0x80 && r < 0xa0:
			size += sc.introduced(i+size, byte(r-0x40))
		case dropped(r):
		case unicode.In(r, unicode.Mn, unicode.Me):
			if marks++; marks <= maxMarks {
				b.WriteRune(r)
			}
			i += size
			continue
		default:
			b.WriteRune(r) // an invalid byte decodes as U+FFFD
			column++
		}
		marks = 0
		i += size
	}
	return b.String()
}

// escape returns the length of the escape sequence at i, where ESC stands.
func (sc *scanner) escape(i int) int {
	j := i + 1
	if j >= len(sc.s) {
		return 1
	}
	switch c := sc.s[j]; {
	case c >= 0x20 && c <= 0x2f: // intermediates, then one final byte
		for j < len(sc.s) && sc.s[j] >= 0x20 && sc.s[j] <= 0x2f {
			j++
		}
		if j < len(sc.s) && sc.s[j] >= 0x30 && sc.s[j] <= 0x7e {
			j++
		}
		return j - i
	case c >= 0x40 && c <= 0x5f:
		return 2 + sc.introduced(j+1, c)
	case c >= 0x30 && c <= 0x7e:
		return 2
	default:
		return 1
	}
}

// introduced returns how many bytes from i belong to the sequence that the C1 control with the 7-bit form c opened.
func (sc *scanner) introduced(i int, c byte) int {
	switch c {
	case '[': // CSI: parameters, intermediates, one final byte
		j := i
		for j < len(sc.s) && sc.s[j] >= 0x20 && sc.s[j] <= 0x3f {
			j++
		}
		if j < len(sc.s) && sc.s[j] >= 0x40 && sc.s[j] <= 0x7e {
			j++
		}
		return j - i
	case ']': // OSC also ends with BEL
		return sc.str(i, true)
	case 'P', 'X', '^', '_':
		return sc.str(i, false)
	default:
		return 0
	}
}

// str returns the length of a control string with its terminator; 0 when it is never terminated, so that the text behind stays visible.
func (sc *scanner) str(i int, bell bool) int {
	if sc.noST && (!bell || sc.noBell) {
		return 0
	}
	for j := i; j < len(sc.s); j++ {
		switch c := sc.s[j]; {
		case c == 0x18 || c == 0x1a || c == '\a' && bell:
			return j + 1 - i
		case j+1 < len(sc.s) && (c == 0x1b && sc.s[j+1] == '\\' || c == 0xc2 && sc.s[j+1] == 0x9c):
			return j + 2 - i
		}
	}
	sc.noST = true
	sc.noBell = sc.noBell || bell
	return 0
}

// dropped tells the characters that show nothing and change how others show.
func dropped(r rune) bool {
	switch {
	case r < ' ' || r == 0x7f:
		return true
	case r == 0xad || r == 0x61c || r == 0x180e || r == 0x200b || r == 0xfeff:
		return true
	case r == 0x200e || r == 0x200f || r >= 0x202a && r <= 0x202e:
		return true
	case r >= 0x2060 && r <= 0x206f: // word joiner, invisible operators, isolates, deprecated controls
		return true
	case r >= 0xfff9 && r <= 0xfffb:
		return true
	case r >= 0xe0000 && r <= 0xe0fff && (r < 0xe0100 || r > 0xe01ef): // tags; variation selectors stay
		return true
	}
	return false
}
