package safetext

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCell(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"plain":              {"loss 0.3", "loss 0.3"},
		"colours":            {"\x1b[31mred\x1b[0m", "red"},
		"title":              {"\x1b]0;evil\aname", "name"},
		"title with ST":      {"\x1b]0;evil\x1b\\name", "name"},
		"clipboard":          {"\x1b]52;c;ZXZpbA==\aok", "ok"},
		"device control":     {"\x1bP1$r0m\x1b\\ok", "ok"},
		"C1 CSI":             {"\u009b31mred", "red"},
		"C1 OSC":             {"a\u009d0;evil\u009cb", "ab"},
		"raw C1 byte":        {"a\x9b31mb", "a\ufffd31mb"},
		"unterminated":       {"\x1b]0;still here", "0;still here"},
		"lone escape":        {"a\x1b", "a"},
		"escape in sequence": {"a\x1b[3\x1b[1mb", "ab"},
		"charset":            {"\x1b(0x", "x"},
		"reset":              {"\x1bcx", "x"},
		"bell and backspace": {"a\a\bb\x00\x7f", "ab"},
		"breaks":             {"a\nb\r\nc\u2028d", "a b  c d"},
		"tab":                {"a\tb", "a b"},
		"override":           {"abc\u202egpj.exe\u2066x\u2069", "abcgpj.exex"},
		"invalid":            {"a\xffb", "a\ufffdb"},
		"emoji kept":         {"👩‍🔬 ❤️ 学習", "👩‍🔬 ❤️ 学習"},
		"tags":               {"a\U000e0041b", "ab"},
		"marks":              {"e" + strings.Repeat("\u0301", 50), "e" + strings.Repeat("\u0301", maxMarks)},
	} {
		if got := Cell(tc.in); got != tc.want {
			t.Errorf("%s: Cell(%q) = %q, want %q", name, tc.in, got, tc.want)
		}
	}
}

func TestLine(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{" 10%|\r 20%|\r 30%|", " 30%|"},
		{"done\r", "done"},
		{"45%|x\r\x1b[K\r  \r", "45%|x"},
		{"\r\r", ""},
		{"a\tb\tc", "a       b       c"},
		{"12345678\tb", "12345678        b"},
	} {
		if got := Line(tc.in); got != tc.want {
			t.Errorf("Line(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

// A megabyte of unfinished sequences has to pass within the test's own deadline, and must not grow.
func TestHostileInputIsLinear(t *testing.T) {
	for _, unit := range []string{"\x1b]", "\x1bP", "\x1b]x\x1bP", "\u009d", "\r", "\x1b[", "\u0301"} {
		for _, in := range []string{strings.Repeat(unit, 1<<20/len(unit)), strings.Repeat(unit+"\a", 1<<20/(len(unit)+1)) + "\x1b\\"} {
			if got := Line(in); len(got) > len(in) {
				t.Errorf("%q repeated: %d bytes became %d", unit, len(in), len(got))
			}
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("\x1b[31mred\x1b[0m\r\x1b]0;t\aend")
	f.Add("\x1b]\x1b\\\u009c\x9c")
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{Line(s), Cell(s)} {
			if !utf8.ValidString(got) {
				t.Fatalf("%q gives invalid UTF-8 %q", s, got)
			}
			for _, r := range got {
				if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e {
					t.Fatalf("%q lets %U through: %q", s, r, got)
				}
			}
			if again := Cell(got); again != got {
				t.Fatalf("not stable: %q, then %q", got, again)
			}
		}
	})
}

func BenchmarkLinePlain(b *testing.B) {
	s := strings.Repeat("step 10 loss 0.3 ", 6)
	for b.Loop() {
		Line(s)
	}
}

func BenchmarkLineColoured(b *testing.B) {
	s := strings.Repeat("\x1b[31mstep\x1b[0m 10 loss 0.3 ", 6)
	for b.Loop() {
		Line(s)
	}
}
