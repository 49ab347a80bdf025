package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	// maxFile bounds a pipeline file or manifest, in bytes.
	maxFile = 3 << 20
	// maxSearch bounds the files in which the line of a syntax error is searched for by reading them in parts.
	maxSearch = 256 << 10
)

var linePattern = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// parse reads the one YAML document of a file; nil, with problems added, when that cannot be done.
// what is the noun for messages: "pipeline" or "manifest".
func (c *checker) parse(data []byte, what string) *node {
	if !c.readable(data) {
		return nil
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		c.add(Problem{Line: 1, Column: 1, Message: "the file is empty", Fix: "write a " + what})
		return nil
	case err != nil:
		c.add(syntaxProblem(data, err))
		return nil
	}
	for {
		err := d.Decode(&more)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.add(syntaxProblem(data, err))
			return nil
		}
		if len(more.Content) > 0 && more.Content[0].Tag != "!!null" {
			c.add(Problem{
				Line: more.Content[0].Line, Column: more.Content[0].Column,
				Message: "the file holds a second document",
				Fix:     "one " + what + " a file: move it into a file of its own",
			})
			return nil
		}
	}
	if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		c.add(Problem{Line: 1, Column: 1, Message: "the file is empty", Fix: "write a " + what})
		return nil
	}
	g := grower{c: c, made: map[*yaml.Node]*node{}}
	root := g.grow(doc.Content[0], nil, 0)
	if g.full {
		return nil
	}
	return root
}

// readable refuses files that are too large or not text, with the place.
func (c *checker) readable(data []byte) bool {
	if len(data) > maxFile {
		c.add(Problem{Line: 1, Column: 1, Message: fmt.Sprintf("the file has %d bytes, at most %d are read", len(data), maxFile), Fix: "is it the right file?"})
		return false
	}
	if bytes.HasPrefix(data, []byte{0xFF, 0xFE}) || bytes.HasPrefix(data, []byte{0xFE, 0xFF}) {
		c.add(Problem{Line: 1, Column: 1, Message: "the file is UTF-16", Fix: "save it as UTF-8"})
		return false
	}
	line, start := 1, 0
	for i := 0; i < len(data); {
		r, size := rune(data[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(data[i:])
		}
		switch {
		case r == '\n':
			line, start = line+1, i+1
		case r == utf8.RuneError && size == 1:
			c.add(Problem{Line: line, Column: i - start + 1, Message: fmt.Sprintf("byte 0x%02x is not UTF-8", data[i]), Fix: "save the file as UTF-8"})
			return false
		case r < ' ' && r != '\t' && r != '\r', r == 0x7f, r > 0x7f && r < 0xa0 && r != 0x85, r == 0xfffe, r == 0xffff:
			c.add(Problem{Line: line, Column: i - start + 1, Message: fmt.Sprintf("there is a control character, 0x%02x", r), Fix: "remove it"})
			return false
		}
		i += size
	}
	return true
}

// syntaxProblem is a YAML error in words that say what to do.
func syntaxProblem(data []byte, err error) Problem {
	message := err.Error()
	p := Problem{Line: 1, Column: 1}
	if m := linePattern.FindStringSubmatch(message); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			p.Line = n
		}
		message = message[len(m[0]):]
	}
	lines := strings.Split(string(data), "\n")
	p.Line = max(min(p.Line, len(lines)), 1)
	began := p.Line
	local := true
	switch {
	case strings.Contains(message, "mapping values are not allowed"):
		p.Fix = `give the line the indentation of its neighbours, and quote a value that has ": " in it`
	case strings.Contains(message, "did not find expected key"):
		p.Fix = "give the line the indentation of its neighbours, and check the quotes above it"
	case strings.Contains(message, "could not find expected ':'"):
		p.Fix = "write KEY: VALUE, with a space after the colon"
	case strings.Contains(message, "did not find expected '-' indicator"):
		p.Fix = `begin every element of the list with "- ", at the same indentation`
	case strings.Contains(message, "block sequence entries are not allowed"):
		p.Fix = `put the first "- " on a line of its own, under its key`
	case strings.Contains(message, "cannot start any token"):
		p.Fix = "quote values that begin with a character such as @, %, or `"
	case strings.Contains(message, "expected ',' or"):
		p.Fix = "close the bracket, and put a comma between elements"
	case strings.Contains(message, "unknown anchor"):
		name := strings.TrimSuffix(strings.TrimPrefix(message, "unknown anchor '"), "' referenced")
		p.Fix = "quote a value that begins with *, or define &" + name + " before it"
		local = false
		for i, l := range lines {
			if at := strings.Index(l, "*"+name); at >= 0 {
				p.Line, p.Column = i+1, at+1
				break
			}
		}
	case strings.Contains(message, "expected alphabetic or numeric character"):
		p.Fix = "quote a value that begins with * or &"
	default:
		p.Fix = "check quotes and brackets from here on"
		local = false
	}
	if local && len(data) <= maxSearch {
		p.Line = firstFailing(data, lines, err.Error())
	}
	for i := max(p.Line-2, 0); i < min(p.Line+1, len(lines)); i++ {
		if indent := lines[i][:len(lines[i])-len(strings.TrimLeft(lines[i], " \t"))]; strings.Contains(indent, "\t") {
			return Problem{Line: i + 1, Column: strings.Index(lines[i], "\t") + 1, Message: "a tab indents the line", Fix: "indent with spaces"}
		}
	}
	if p.Column == 1 {
		p.Column = len(lines[p.Line-1]) - len(strings.TrimLeft(lines[p.Line-1], " ")) + 1
	}
	p.Message = "not valid YAML: " + message
	if local && began < p.Line {
		p.Message += " (in the block that begins in line " + strconv.Itoa(began) + ")"
	}
	return p
}

// firstFailing is the first line with which the file has the error: the parser names the line in which
// the surrounding block begins, which may be far above.
func firstFailing(data []byte, lines []string, message string) int {
	ends := make([]int, len(lines))
	at := 0
	for i, l := range lines {
		at += len(l) + 1
		ends[i] = min(at, len(data))
	}
	low, high := 1, len(lines)
	for low < high {
		middle := (low + high) / 2
		var n yaml.Node
		if err := yaml.Unmarshal(data[:ends[middle-1]], &n); err != nil && err.Error() == message {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}
