package pipeline

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// checker gathers the problems of one file.
type checker struct {
	file     string
	root     *node
	problems Problems
	// seen are the problems already there: an alias brings the same one twice.
	seen map[Problem]bool
	// silent are the paths that already have a problem; what follows from it is not reported.
	silent map[string]bool
	// touched are the paths above the silent ones: what they lack may be what was left out below.
	touched map[string]bool
	types   typeCache
}

func newChecker(file string) *checker {
	return &checker{file: file, silent: map[string]bool{}, touched: map[string]bool{}, seen: map[Problem]bool{}, types: typeCache{}}
}

func (c *checker) add(p Problem) {
	p.File = c.file
	p.Line, p.Column = max(p.Line, 1), max(p.Column, 1)
	if !c.seen[p] && !c.full() {
		c.seen[p] = true
		c.problems = append(c.problems, p)
	}
}

// maxProblems is more than anybody fixes at once; beyond it the work of finding more is saved.
const maxProblems = 500

func (c *checker) full() bool { return len(c.problems) >= maxProblems }

// split returns the errors and the warnings, each in the order of the file.
func (c *checker) split() (errs, warnings Problems) {
	slices.SortStableFunc(c.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	for _, p := range c.problems {
		if p.Warning {
			warnings = append(warnings, p)
		} else {
			errs = append(errs, p)
		}
	}
	return errs, warnings
}

// path is the place of a value; nil is the root of the file.
type path struct {
	parent *path
	key    string
	// index is that of a list's element, -1 for a field.
	index int
}

func (p *path) field(key string) *path { return &path{parent: p, key: key, index: -1} }

func (p *path) fields(keys ...string) *path {
	for _, k := range keys {
		p = p.field(k)
	}
	return p
}

func (p *path) at(index int) *path { return &path{parent: p, index: index} }

func (p *path) String() string {
	if p == nil {
		return ""
	}
	parent := p.parent.String()
	switch {
	case p.index >= 0:
		return parent + "[" + strconv.Itoa(p.index) + "]"
	case strings.ContainsAny(p.key, ".[]\"") || p.key == "":
		return parent + "[" + strconv.Quote(p.key) + "]"
	case parent == "":
		return p.key
	}
	return parent + "." + p.key
}

// find is the node at a path, or the nearest there is above it, with its position.
func (c *checker) find(p *path) (n *node, line, column int, exact bool) {
	if p == nil {
		if c.root == nil {
			return nil, 1, 1, false
		}
		return c.root, c.root.line, c.root.column, true
	}
	parent, line, column, exact := c.find(p.parent)
	if !exact {
		return parent, line, column, false
	}
	if p.index >= 0 {
		if parent.shape == sequence && p.index < len(parent.items) {
			n := parent.items[p.index]
			return n, n.line, n.column, true
		}
		return parent, line, column, false
	}
	if parent.shape == mapping {
		for _, f := range parent.fields {
			if f.key != p.key {
				continue
			}
			if f.value.shape == mapping || f.value.shape == sequence || f.value.line < f.line {
				return f.value, f.line, f.column, true
			}
			return f.value, f.value.line, f.value.column, true
		}
	}
	return parent, line, column, false
}

// has says whether the file has a value at the path.
func (c *checker) has(p *path) bool {
	_, _, _, exact := c.find(p)
	return exact
}

// err reports a problem at a path, unless that path or one above it has one already.
func (c *checker) err(at *path, message, fix string) {
	c.report(at, Problem{Message: message, Fix: fix})
}

func (c *checker) warn(at *path, message, fix string) {
	c.report(at, Problem{Message: message, Fix: fix, Warning: true})
}

func (c *checker) report(at *path, p Problem) {
	if c.full() {
		return
	}
	if len(c.silent) > 0 && c.touched[at.String()] && at != nil {
		return
	}
	for q := at; q != nil && len(c.silent) > 0; q = q.parent {
		if c.silent[q.String()] {
			return
		}
	}
	_, p.Line, p.Column, _ = c.find(at)
	p.Field = at.String()
	c.add(p)
}

// reject reports a value that cannot be decoded and leaves it out.
func (c *checker) reject(n *node, at *path, message, fix string) {
	n.bad = true
	c.silence(at)
	c.add(Problem{Line: n.line, Column: n.column, Field: at.String(), Message: message, Fix: fix})
}

// silence keeps later findings about a path, and about what it leaves missing above it, from being reported.
func (c *checker) silence(at *path) {
	c.silent[at.String()] = true
	for p := at; p != nil; p = p.parent {
		c.touched[p.parent.String()] = true
	}
}

// dnsLabel says what is wrong with a name that must be a DNS label of at most limit characters; empty when nothing is.
func dnsLabel(name string, limit int) string {
	switch {
	case name == "":
		return "is missing"
	case len(name) > limit:
		return strconv.Quote(name) + " has " + strconv.Itoa(len(name)) + " characters, at most " + strconv.Itoa(limit) + " fit"
	case len(validation.IsDNS1123Label(name)) > 0:
		return strconv.Quote(name) + " is not a DNS label"
	}
	return ""
}

// asLabel is a name turned into a DNS label as far as that is clear.
func asLabel(name string) string {
	out := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, name), "-")
	return strings.Trim(out[:min(len(out), maxName)], "-")
}
