package pipeline

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	validator6 "github.com/santhosh-tekuri/jsonschema/v6"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write schema.json and the golden files")

// generateSchema makes the schema from the Go types; comments and Kubernetes' own documentation become descriptions.
func generateSchema(t *testing.T) []byte {
	t.Helper()
	r := &jsonschema.Reflector{
		Anonymous:      true,
		ExpandedStruct: true,
		Mapper:         mapType,
		Namer:          func(t reflect.Type) string { return t.Name() },
		LookupComment:  kubernetesComment,
	}
	if err := r.AddGoComments("github.com/kubectl-ml/kubectl-ml/kube/pipeline", "./"); err != nil {
		t.Fatal(err)
	}
	// AddGoComments names this folder after the import path and "."; the reflector looks for the path alone.
	for name, comment := range r.CommentMap {
		r.CommentMap[strings.Replace(name, "/pipeline/.", "/pipeline.", 1)] = comment
	}
	s := r.Reflect(&Pipeline{})
	s.ID = "https://kubectl-ml.dev/schema/v1alpha1/pipeline.json"
	s.Title = "kubectl ml pipeline"
	constant(s, "apiVersion", APIVersion)
	constant(s, "kind", Kind)
	for _, name := range []string{"Stage", "Metadata"} {
		setName(s.Definitions[name])
	}
	choices(s.Definitions["Stage"], "framework", slices.Sorted(maps.Keys(launches)))
	choices(s.Definitions["Stage"], "engine", []Engine{EngineJob, EngineJobSet})
	choices(s.Definitions["Deploy"], "strategy", []Strategy{Rolling, BlueGreen, Canary})
	out, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

func constant(s *jsonschema.Schema, field, value string) {
	p, _ := s.Properties.Get(field)
	p.Const = value
}

// choices are the values that editors offer for a field.
func choices[T any](s *jsonschema.Schema, field string, values []T) {
	p, _ := s.Properties.Get(field)
	for _, v := range values {
		p.Enum = append(p.Enum, v)
	}
}

func setName(s *jsonschema.Schema) {
	p, _ := s.Properties.Get("name")
	p.Pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
	p.MaxLength = new(uint64(maxName))
}

// mapType gives the schemas of types that read themselves from JSON.
func mapType(t reflect.Type) *jsonschema.Schema {
	list := func(items *jsonschema.Schema) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "array", Items: items, MinItems: new(uint64(1))}
	}
	values := &jsonschema.Schema{Type: "object", AdditionalProperties: &jsonschema.Schema{}}
	switch t {
	case reflect.TypeFor[metav1.Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`, Examples: []any{"90s", "30m", "12h"}}
	case reflect.TypeFor[Pause]():
		return &jsonschema.Schema{Type: "string", Pattern: `^(approval|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`, Examples: []any{"10m", "approval"}}
	case reflect.TypeFor[resource.Quantity]():
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string"}, {Type: "number"}}}
	case reflect.TypeFor[intstr.IntOrString]():
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string"}, {Type: "integer"}}}
	case reflect.TypeFor[json.RawMessage](), reflect.TypeFor[Params]():
		return values
	case reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime]():
		return &jsonschema.Schema{Type: "string", Format: "date-time"}
	case reflect.TypeFor[GPUs]():
		type plain GPUs
		r := &jsonschema.Reflector{Anonymous: true, DoNotReference: true, ExpandedStruct: true}
		object := r.Reflect(plain{})
		object.Version = ""
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "integer", Minimum: "0"}, object}}
	case reflect.TypeFor[Sweep]():
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
			{Type: "object", AdditionalProperties: list(&jsonschema.Schema{Type: "", OneOf: scalars()})},
			list(&jsonschema.Schema{Type: "object", AdditionalProperties: &jsonschema.Schema{OneOf: scalars()}}),
		}}
	}
	return nil
}

func scalars() []*jsonschema.Schema {
	return []*jsonschema.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}}
}

var spaces = regexp.MustCompile(`\s+`)

// kubernetesComment is the documentation that Kubernetes' types carry.
func kubernetesComment(t reflect.Type, field string) string {
	documented, ok := reflect.New(t).Interface().(interface{ SwaggerDoc() map[string]string })
	if !ok {
		return ""
	}
	name := ""
	if f, found := t.FieldByName(field); found {
		name, _, _ = strings.Cut(f.Tag.Get("json"), ",")
	}
	return spaces.ReplaceAllString(documented.SwaggerDoc()[name], " ")
}

func TestSchemaIsGenerated(t *testing.T) {
	want := generateSchema(t)
	if *update {
		if err := os.WriteFile("schema.json", want, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("schema.json is not what the types say: go test ./kube/pipeline -run TestSchemaIsGenerated -update")
	}
}

func compiledSchema(t *testing.T) *validator6.Schema {
	t.Helper()
	raw, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := validator6.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := validator6.NewCompiler()
	if err := c.AddResource("pipeline.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("pipeline.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func againstSchema(t *testing.T, schema *validator6.Schema, data []byte) error {
	t.Helper()
	raw, err := yaml.YAMLToJSON(data)
	if err != nil {
		t.Fatal(err)
	}
	value, err := validator6.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(value)
}

func TestSchemaTakesGoodFiles(t *testing.T) {
	schema := compiledSchema(t)
	files, err := filepath.Glob("testdata/pipeline*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no pipelines in testdata", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := againstSchema(t, schema, data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := againstSchema(t, schema, stagesFile(3)); err != nil {
		t.Error(err)
	}
}

func TestSchemaRefusesBadFiles(t *testing.T) {
	schema := compiledSchema(t)
	for i, stage := range []string{
		"{name: a, comand: [x]}", "{name: a, gpus: 0.5}", "{name: a, gpus: {cout: 1}}", "{name: A}", "{image: x}",
		"{name: a, sweep: {lr: 0.1}}", "{name: a, timeout: 1d}", "{name: a, env: {A: b}}", "{name: a, retries: many}", "{name: a, volumes: [{nme: v}]}",
		"{name: a, replicas: two}", "{name: a, replicas: 2, framework: pytorch}", "{name: a, replicas: 2, engine: pod}", "{name: a, replicas: 2, topology: spread}",
	} {
		text := fmt.Sprintf("%s  stages: [%s]\n", head, stage)
		if err := againstSchema(t, schema, []byte(text)); err == nil {
			t.Errorf("case %d: the schema takes %s", i, stage)
		}
	}
}
