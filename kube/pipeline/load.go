package pipeline

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// Load reads a pipeline file strictly: unknown fields, wrong types, duplicate keys and contradictions are errors.
// All of them come at once, as Problems, each with its place and what to write instead.
// Warnings come whether or not there are errors; the pipeline only without errors.
// Load reads no other file: manifests are checked by Resolve.
func Load(file string, data []byte) (p *Pipeline, warnings Problems, err error) {
	c := newChecker(file)
	p = c.load(data)
	errs, warnings := c.split()
	if len(errs) > 0 {
		return nil, warnings, errs
	}
	return p, warnings, nil
}

func (c *checker) load(data []byte) *Pipeline {
	root := c.parse(data, "pipeline")
	if root == nil {
		return nil
	}
	c.root = root
	if !c.checkHead(root) {
		return nil
	}
	c.check(root, reflect.TypeFor[Pipeline](), nil, rules{})
	p := &Pipeline{}
	if err := json.Unmarshal(root.appendJSON(make([]byte, 0, len(data)*2)), p); err != nil {
		// What the check let through and the decoder does not is a gap in the check; the decoder has the last word.
		c.err(nil, "cannot be decoded: "+err.Error(), "")
		return nil
	}
	v := validator{checker: c, p: p}
	v.pipeline()
	return p
}

// checkHead makes sure that the file is a pipeline at all; other findings would make no sense on another kind of file.
func (c *checker) checkHead(root *node) bool {
	if root.bad {
		return false
	}
	const head = "begin the file with apiVersion: " + APIVersion + " and kind: " + Kind
	if root.shape != mapping {
		c.err(nil, "the file holds "+root.shape.String()+", not a pipeline", head)
		return false
	}
	var at *path
	kind, version := root.get("kind"), root.get("apiVersion")
	switch {
	case kind == nil && version == nil && root.get("spec") == nil:
		c.err(nil, "the file is not a pipeline: apiVersion and kind are missing", head)
		return false
	case kind == nil:
		c.err(at.field("kind"), "is missing", "write kind: "+Kind)
	case kind.shape == str && isManifestKind(kind.text):
		c.err(at.field("kind"), "the file is a Kubernetes "+kind.text+", not a pipeline",
			"name it in a stage of a pipeline: manifest: "+strconv.Quote(c.file))
		return false
	case kind.shape != str || kind.text != Kind:
		c.err(at.field("kind"), quoted(kind)+" is not the kind of a pipeline", "write kind: "+Kind)
		if !strings.EqualFold(kind.text, Kind) {
			return false
		}
	}
	switch {
	case version == nil:
		c.err(at.field("apiVersion"), "is missing", "write apiVersion: "+APIVersion)
	case version.shape != str || version.text != APIVersion:
		c.err(at.field("apiVersion"), quoted(version)+" is not a version that this kubectl ml knows", "write apiVersion: "+APIVersion)
	}
	return true
}

// quoted is a value for a message.
func quoted(n *node) string {
	if n.shape == str || n.shape == integer || n.shape == float || n.shape == boolean {
		return strconv.Quote(n.text)
	}
	return n.shape.String()
}
