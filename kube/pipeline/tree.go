package pipeline

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// maxNodes bounds a file after its aliases are spread out; a thousand stages are about 40,000 nodes.
	maxNodes = 500_000
	// maxDepth bounds nesting; a patch of a Job goes about 15 deep.
	maxDepth = 100
)

// shape is what a node holds.
type shape int

const (
	mapping shape = iota
	sequence
	str
	integer
	float
	boolean
	null
)

func (s shape) String() string {
	return [...]string{"a mapping", "a list", "a string", "an int", "a float", "a bool", "nothing"}[s]
}

// node is one value of a file with its position; aliases and merge keys are already replaced by what they stand for.
type node struct {
	shape        shape
	line, column int
	// text is a scalar as written, without quotes.
	text string
	// plain scalars have no quotes.
	plain  bool
	fields []field
	items  []*node
	// size counts the node and all below it.
	size int
	// bad values were reported and are left out when the rest is decoded.
	bad bool
}

type field struct {
	key          string
	line, column int
	value        *node
}

func (n *node) get(key string) *node {
	if n == nil || n.shape != mapping {
		return nil
	}
	for i := range n.fields {
		if n.fields[i].key == key {
			return n.fields[i].value
		}
	}
	return nil
}

// grower makes nodes of YAML nodes.
type grower struct {
	c *checker
	// made are the values of anchors; a nil value is one that is still growing.
	made map[*yaml.Node]*node
	// full is set once the file was refused for its size, so that this is said once.
	full bool
}

func (g *grower) grow(y *yaml.Node, at *path, depth int) *node {
	n := &node{line: y.Line, column: y.Column, size: 1}
	if depth > maxDepth {
		g.refuse(y, "the file is nested more than "+strconv.Itoa(maxDepth)+" deep", "flatten it")
	}
	if g.full {
		n.shape, n.bad = null, true
		return n
	}
	switch y.Kind {
	case yaml.AliasNode:
		return g.alias(y, at, depth)
	case yaml.MappingNode:
		if y.Anchor != "" {
			g.made[y] = nil
		}
		n.shape = mapping
		g.mapping(n, y, at, depth)
	case yaml.SequenceNode:
		if y.Anchor != "" {
			g.made[y] = nil
		}
		n.shape = sequence
		for i, item := range y.Content {
			child := g.grow(item, at.at(i), depth+1)
			n.items = append(n.items, child)
			n.size += child.size
		}
	default:
		g.scalar(n, y, at)
	}
	if n.size > maxNodes {
		g.refuse(y, "the file has more than "+strconv.Itoa(maxNodes)+" values once its aliases are spread out", "use fewer aliases, or split the pipeline")
	}
	if y.Anchor != "" {
		g.made[y] = n
	}
	return n
}

func (g *grower) refuse(y *yaml.Node, message, fix string) {
	if !g.full {
		g.full = true
		g.c.add(Problem{Line: y.Line, Column: y.Column, Message: message, Fix: fix})
	}
}

func (g *grower) alias(y *yaml.Node, at *path, depth int) *node {
	target, known := g.made[y.Alias]
	if known && target == nil {
		g.c.add(Problem{Line: y.Line, Column: y.Column, Field: at.String(), Message: "*" + y.Value + " stands within &" + y.Value + " itself", Fix: "write the value out"})
		return &node{shape: null, bad: true, line: y.Line, column: y.Column, size: 1}
	}
	if !known {
		return g.grow(y.Alias, at, depth)
	}
	return target
}

func (g *grower) mapping(n *node, y *yaml.Node, at *path, depth int) {
	var seen map[string]int
	if len(y.Content) > 16 {
		seen = make(map[string]int, len(y.Content)/2)
	}
	find := func(key string) int {
		if seen != nil {
			if i, ok := seen[key]; ok {
				return i
			}
			return -1
		}
		for i := range n.fields {
			if n.fields[i].key == key {
				return i
			}
		}
		return -1
	}
	add := func(f field) {
		if seen != nil {
			seen[f.key] = len(n.fields)
		}
		n.fields = append(n.fields, f)
		n.size += f.value.size + 1
	}
	var merges []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.Kind == yaml.ScalarNode && k.Tag == "!!merge" {
			merges = append(merges, v)
			continue
		}
		key, ok := g.key(k)
		if !ok {
			continue
		}
		here := at.field(key)
		child := g.grow(v, here, depth+1)
		if first := find(key); first >= 0 {
			g.c.add(Problem{
				Line: k.Line, Column: k.Column, Field: here.String(),
				Message: "the key " + strconv.Quote(key) + " stands here a second time, first in line " + strconv.Itoa(n.fields[first].line),
				Fix:     "keep one of the two",
			})
			continue
		}
		add(field{key: key, line: k.Line, column: k.Column, value: child})
	}
	for _, m := range merges {
		for _, source := range g.merged(m, at, depth) {
			for _, f := range source.fields {
				// What stands in the mapping itself wins, then the first source.
				if find(f.key) < 0 {
					add(f)
				}
			}
			if g.full {
				return
			}
		}
	}
}

// merged are the mappings that a merge key names.
func (g *grower) merged(y *yaml.Node, at *path, depth int) []*node {
	n := g.grow(y, at, depth+1)
	sources := []*node{n}
	if n.shape == sequence {
		sources = n.items
	}
	for _, s := range sources {
		if s.shape != mapping && !s.bad {
			g.c.add(Problem{Line: y.Line, Column: y.Column, Field: at.String(), Message: "<< merges mappings, this is " + s.shape.String(), Fix: "name an anchor of a mapping, such as <<: *defaults"})
			return nil
		}
	}
	return sources
}

func (g *grower) key(k *yaml.Node) (string, bool) {
	for depth := 0; k.Kind == yaml.AliasNode && depth < maxDepth; depth++ {
		k = k.Alias
	}
	if k.Kind != yaml.ScalarNode || k.Tag == "!!null" {
		g.c.add(Problem{Line: k.Line, Column: k.Column, Message: "a key must be a word", Fix: "write KEY: VALUE; quote a value that holds { or ["})
		return "", false
	}
	return k.Value, true
}

func (g *grower) scalar(n *node, y *yaml.Node, at *path) {
	n.text = y.Value
	n.plain = y.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	switch y.Tag {
	case "!!str", "!!timestamp":
		n.shape = str
		if n.plain && numberOutOfRange(n.text) {
			g.bad(n, at, y.Value+" does not fit a 64-bit number", "write a smaller number, or quote it to have text")
		}
	case "!!int":
		n.shape = integer
		if t, ok := decimal(y.Value); ok {
			n.text = t
		} else {
			g.bad(n, at, y.Value+" is not an int of 64 bits", "write another number, or quote it to have text")
		}
	case "!!float":
		n.shape = float
		f, err := strconv.ParseFloat(strings.ReplaceAll(y.Value, "_", ""), 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			g.bad(n, at, y.Value+" is not a finite number", "write a finite number, or quote it to have text")
			return
		}
		n.text = jsonFloat(f)
	case "!!bool":
		n.shape = boolean
		n.text = strings.ToLower(y.Value)
	case "!!null":
		n.shape = null
	default:
		n.shape = null
		g.bad(n, at, "the tag "+y.Tag+" is not supported", "remove it")
	}
}

func (g *grower) bad(n *node, at *path, message, fix string) {
	n.bad = true
	g.c.add(Problem{Line: n.line, Column: n.column, Field: at.String(), Message: message, Fix: fix})
}

// numberOutOfRange finds numbers such as 1e400, which YAML takes for text.
func numberOutOfRange(s string) bool {
	if s == "" || strings.Trim(s, "0123456789+-.eE_") != "" {
		return false
	}
	f, err := strconv.ParseFloat(s, 64)
	return err != nil && math.IsInf(f, 0)
}

// decimal writes an int such as 0x1F, 0o17 or 1_000 in decimal digits.
func decimal(s string) (string, bool) {
	plain := strings.ReplaceAll(s, "_", "")
	if n, err := strconv.ParseInt(plain, 0, 64); err == nil {
		return strconv.FormatInt(n, 10), true
	}
	if n, err := strconv.ParseUint(plain, 0, 64); err == nil {
		return strconv.FormatUint(n, 10), n <= math.MaxInt64
	}
	return "", false
}

// jsonFloat is a float that stays a float when it is read back.
func jsonFloat(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

// appendJSON writes a node as JSON, without what was found bad.
func (n *node) appendJSON(b []byte) []byte {
	if n.bad {
		return append(b, "null"...)
	}
	switch n.shape {
	case mapping:
		b = append(b, '{')
		comma := false
		for i := range n.fields {
			if n.fields[i].value.bad {
				continue
			}
			if comma {
				b = append(b, ',')
			}
			comma = true
			b = appendString(b, n.fields[i].key)
			b = append(b, ':')
			b = n.fields[i].value.appendJSON(b)
		}
		return append(b, '}')
	case sequence:
		b = append(b, '[')
		for i, item := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.appendJSON(b)
		}
		return append(b, ']')
	case str:
		return appendString(b, n.text)
	case null:
		return append(b, "null"...)
	}
	return append(b, n.text...)
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil {
				quoted = []byte(`""`)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
