package build

import (
	"strings"
	"testing"
)

func TestAModulesKeyFollowsItsVersions(t *testing.T) {
	key := func(mod string) string { return module{files: []file{{"go.mod", []byte(mod)}}}.key() }
	const mod = "module m\n\nrequire (\n\ta v1.0.0\n)\n\nrequire (\n\tb v1.0.0 // indirect\n)\n"
	for name, other := range map[string]string{
		"required by the sandbox itself": strings.Replace(mod, " // indirect", "", 1),
		"in another order":               "module m\n\nrequire (\n\tb v1.0.0\n\ta v1.0.0\n)\n",
	} {
		if key(mod) != key(other) {
			t.Errorf("%s: another key", name)
		}
	}
	if key(mod) == key(strings.Replace(mod, "b v1.0.0", "b v1.0.1", 1)) {
		t.Error("the same key for another version")
	}
}

func TestEveryProgramIsBuiltFromAModule(t *testing.T) {
	c := NewCache("/cache", Source{})
	keys := map[string]string{}
	for _, m := range c.modules {
		if names := keys[m.key()]; names != "" {
			t.Errorf("%v and %s share a key", m.programs, names)
		}
		keys[m.key()] = m.programs[0].name
		if m.install != "" && m.path == "" {
			t.Errorf("%v: what it installs is in no module", m.programs)
		}
	}
	for _, name := range append(ControlPlane(), RealNode()...) {
		if _, _, ok := c.find(name); !ok {
			t.Errorf("no module builds %s", name)
		}
	}
}
