package pipeline

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// typeCache remembers the JSON fields of struct types for the time of one check.
type typeCache map[reflect.Type]map[string]reflect.Type

// fieldsOf are the JSON fields of a struct with those of its inlined structs.
func (tc typeCache) fieldsOf(t reflect.Type) map[string]reflect.Type {
	if known, ok := tc[t]; ok {
		return known
	}
	out := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || (!f.IsExported() && !f.Anonymous):
		case name == "" && f.Anonymous:
			for k, v := range tc.fieldsOf(deref(f.Type)) {
				out[k] = v
			}
		case name != "":
			out[name] = f.Type
		}
	}
	tc[t] = out
	return out
}

func deref(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// rules are how strictly values are held against a type.
type rules struct {
	// nulls allows fields without a value, as kubectl writes and a patch needs them.
	nulls bool
	// directives allows the $patch keys of a strategic merge.
	directives bool
}

// check holds a value against a Go type and reports all that does not fit.
func (c *checker) check(n *node, t reflect.Type, at *path, r rules) {
	if n.bad {
		c.silence(at)
		return
	}
	t = deref(t)
	if n.shape == null {
		if !r.nulls {
			c.reject(n, at, "has no value", "write "+wanted(t)+", or remove the line")
		}
		return
	}
	if c.checkSpecial(n, t, at, r) {
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		c.checkStruct(n, t, at, r)
	case reflect.Map:
		if n.shape != mapping {
			c.wrong(n, t, at)
			return
		}
		for i := range n.fields {
			c.check(n.fields[i].value, t.Elem(), at.field(n.fields[i].key), r)
		}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			if _, err := base64.StdEncoding.DecodeString(n.text); n.shape != str || err != nil {
				c.reject(n, at, "must be base64", "encode it with base64")
			}
			return
		}
		if n.shape != sequence {
			c.wrong(n, t, at)
			return
		}
		for i, item := range n.items {
			c.check(item, t.Elem(), at.at(i), r)
		}
	case reflect.Interface:
		c.checkAny(n, at)
	default:
		c.checkScalar(n, t, at)
	}
}

// checkAny looks for values that no type can hold.
func (c *checker) checkAny(n *node, at *path) {
	if n.bad {
		c.silence(at)
		return
	}
	for i := range n.fields {
		c.checkAny(n.fields[i].value, at.field(n.fields[i].key))
	}
	for i, item := range n.items {
		c.checkAny(item, at.at(i))
	}
}

func (c *checker) checkScalar(n *node, t reflect.Type, at *path) {
	switch t.Kind() {
	case reflect.String:
		if n.shape == str {
			return
		}
	case reflect.Bool:
		if n.shape == boolean {
			return
		}
		if n.shape == str && n.plain && slices.Contains([]string{"yes", "no", "on", "off", "y", "n"}, strings.ToLower(n.text)) {
			c.reject(n, at, "must be a bool, "+n.text+" is text in YAML 1.2", "write true or false")
			return
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if n.shape == integer {
			if _, err := strconv.ParseInt(n.text, 10, t.Bits()); err != nil {
				c.reject(n, at, n.text+" does not fit "+strconv.Itoa(t.Bits())+" bits", "write a smaller number")
			}
			return
		}
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n.shape == integer {
			if _, err := strconv.ParseUint(n.text, 10, t.Bits()); err != nil {
				c.reject(n, at, n.text+" is out of range", "write a number from 0 up")
			}
			return
		}
	case reflect.Float32, reflect.Float64:
		if n.shape == integer || n.shape == float {
			return
		}
	}
	c.wrong(n, t, at)
}

// checkSpecial holds a value against a type that reads itself from JSON; false for all other types.
func (c *checker) checkSpecial(n *node, t reflect.Type, at *path, r rules) bool {
	scalar := n.shape != mapping && n.shape != sequence
	switch t {
	case reflect.TypeFor[json.RawMessage]():
		if n.shape != mapping {
			c.wrong(n, t, at)
			return true
		}
		c.checkAny(n, at)
	case reflect.TypeFor[metav1.FieldsV1]():
		c.checkAny(n, at)
	case reflect.TypeFor[metav1.Duration]():
		c.checkDuration(n, t, at)
	case reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime]():
		if _, err := time.Parse(time.RFC3339Nano, n.text); !scalar || err != nil {
			c.wrong(n, t, at)
		}
	case reflect.TypeFor[resource.Quantity]():
		if !scalar || n.shape == boolean {
			c.wrong(n, t, at)
		} else if _, err := resource.ParseQuantity(n.text); err != nil {
			c.reject(n, at, strconv.Quote(n.text)+" is not a quantity", "write "+wanted(t))
		}
	case reflect.TypeFor[intstr.IntOrString]():
		if n.shape == integer {
			c.checkScalar(n, reflect.TypeFor[int32](), at)
		} else if n.shape != str {
			c.wrong(n, t, at)
		}
	case reflect.TypeFor[GPUs]():
		switch n.shape {
		case mapping:
			c.checkStruct(n, t, at, r)
		case integer:
			c.checkScalar(n, reflect.TypeFor[int64](), at)
		default:
			c.wrong(n, t, at)
		}
	case reflect.TypeFor[Sweep]():
		c.checkSweep(n, t, at)
	case reflect.TypeFor[Pause]():
		if n.shape != str || n.text != pauseApproval {
			c.checkDuration(n, t, at)
		}
	default:
		return false
	}
	return true
}

func (c *checker) checkSweep(n *node, t reflect.Type, at *path) {
	switch n.shape {
	case mapping:
		for i := range n.fields {
			f := &n.fields[i]
			if f.value.shape != sequence && !f.value.bad {
				c.reject(f.value, at.field(f.key), "must be a list of values to try, not "+f.value.shape.String(), "write ["+f.value.text+"]")
			}
		}
	case sequence:
		for i, item := range n.items {
			if item.shape != mapping && !item.bad {
				c.reject(item, at.at(i), "must be a mapping of parameters, not "+item.shape.String(), "write {NAME: VALUE}")
			}
		}
		// A list with holes does not decode.
		if slices.ContainsFunc(n.items, func(i *node) bool { return i.bad }) {
			n.bad = true
		}
	default:
		c.wrong(n, t, at)
		return
	}
	c.checkAny(n, at)
}

func (c *checker) checkDuration(n *node, t reflect.Type, at *path) {
	if n.shape == integer {
		c.reject(n, at, "has no unit", "write "+n.text+"s for seconds, "+n.text+"m for minutes, "+n.text+"h for hours")
		return
	}
	if n.shape != str {
		c.wrong(n, t, at)
		return
	}
	if _, err := time.ParseDuration(n.text); err == nil {
		return
	}
	fix := "write " + wanted(t)
	for unit, hours := range map[string]int{"d": 24, "w": 7 * 24} {
		if days, err := strconv.Atoi(strings.TrimSuffix(n.text, unit)); err == nil && strings.HasSuffix(n.text, unit) && days > 0 && days < 10000 {
			fix = "the largest unit is the hour: write " + strconv.Itoa(days*hours) + "h"
		}
	}
	c.reject(n, at, strconv.Quote(n.text)+" is not a duration", fix)
}

func (c *checker) checkStruct(n *node, t reflect.Type, at *path, r rules) {
	if n.shape != mapping {
		c.wrong(n, t, at)
		return
	}
	known := c.types.fieldsOf(t)
	for i := range n.fields {
		f := &n.fields[i]
		if ft, ok := known[f.key]; ok {
			c.check(f.value, ft, at.field(f.key), r)
			continue
		}
		if r.directives && strings.HasPrefix(f.key, "$") {
			continue
		}
		c.unknown(f, t, known, at)
	}
}
