package views

import (
	"strings"
	"unicode/utf8"

	"github.com/clipperhouse/displaywidth"

	"github.com/kubectl-ml/kubectl-ml/kube/job/safetext"
)

// None is printed for a field that is known to be empty; every empty cell of a table prints it.
const None = "<none>"

// Unknown is printed for a value that cannot be known, such as the step of a stage that reports none.
const Unknown = "-"

const ellipsis = "…"

// Sanitize makes text of pods and of the cluster harmless and one line long: escape sequences,
// control characters and bidirectional overrides are removed, line breaks and tabs become a space,
// invalid UTF-8 becomes U+FFFD.
func Sanitize(s string) string { return safetext.Cell(s) }

// SanitizeLine is Sanitize for a log line: tabs run to the next stop of eight cells, and a line that was
// overwritten with carriage returns shows its last state.
func SanitizeLine(s string) string { return safetext.Line(s) }

// Width is the number of terminal cells that sanitized text takes.
func Width(s string) int {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return displaywidth.String(s)
		}
	}
	return len(s)
}

// Truncate cuts s to at most width cells, the last of which is then an ellipsis; width below 1 gives "".
func Truncate(s string, width int) string {
	switch {
	case width < 1:
		return ""
	case len(s) <= width || Width(s) <= width: // no text takes more cells than bytes
		return s
	}
	return displaywidth.TruncateString(s, width, ellipsis)
}

// Plural is "1 pod" or "3 pods"; many is the plural form of one.
func Plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(n) + " " + many
}

const blank = "                                                                                "

// spaces returns n spaces without allocating for usual widths.
func spaces(n int) string {
	if n <= 0 {
		return ""
	}
	if n <= len(blank) {
		return blank[:n]
	}
	return strings.Repeat(" ", n)
}
