package pipeline

import (
	"strconv"
	"strings"
)

// Problem is one finding in a pipeline file, or in a manifest that it names.
type Problem struct {
	// File, Line and Column say where; lines and columns count from 1.
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	// Field is the path, such as spec.stages[2].gpus.count; empty for findings about the file as a whole.
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
	// Fix says what to write instead, where that is known.
	Fix string `json:"fix,omitempty"`
	// Warning marks a finding that does not stop a run.
	Warning bool `json:"warning,omitempty"`
}

// String is file:line:column: field: message (fix), without the parts that are not known.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			b.WriteString(":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(max(p.Column, 1)))
		}
		b.WriteString(": ")
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.Message)
	if p.Fix != "" {
		b.WriteString(" (" + p.Fix + ")")
	}
	return b.String()
}

// Problems are findings in the order of their position. As an error they print one a line.
//
//nolint:errname // they are findings first, an error only when they stop a run
type Problems []Problem

// Error lists the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}
