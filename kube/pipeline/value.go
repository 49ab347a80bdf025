package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Params are parameters by name. Values are int64, float64, bool, string, []any or map[string]any;
// unlike a plain map, whole numbers keep all their digits through JSON.
type Params map[string]any

// UnmarshalJSON reads whole numbers as int64 and the others as float64.
func (p *Params) UnmarshalJSON(data []byte) error {
	v, err := decodeValue(data)
	if err != nil {
		return err
	}
	switch m := v.(type) {
	case nil:
		*p = nil
	case map[string]any:
		*p = m
	default:
		return fmt.Errorf("params must be a mapping, not %s", describe(v))
	}
	return nil
}

// MarshalJSON writes a whole float64 with a decimal point, so that it is read as a float again, by us and by Python.
func (p Params) MarshalJSON() ([]byte, error) {
	if p == nil {
		return []byte("null"), nil
	}
	return plainJSON(pointed(map[string]any(p)))
}

// pointed is v with whole floats as numbers that have a decimal point.
func pointed(v any) any {
	switch t := v.(type) {
	case float64:
		if t == math.Trunc(t) && math.Abs(t) < 1e15 {
			return json.Number(strconv.FormatFloat(t, 'f', 1, 64))
		}
	case []any:
		out := make([]any, len(t))
		for i := range t {
			out[i] = pointed(t[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(t))
		for k := range t {
			out[k] = pointed(t[k])
		}
		return out
	}
	return v
}

// decodeValue reads one JSON value, with whole numbers as int64.
func decodeValue(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, fmt.Errorf("more than one JSON value")
	}
	return plainNumbers(v)
}

func plainNumbers(v any) (any, error) {
	var err error
	switch t := v.(type) {
	case json.Number:
		if !strings.ContainsAny(t.String(), ".eE") {
			if n, err := t.Int64(); err == nil {
				return n, nil
			}
		}
		f, err := t.Float64()
		if err != nil {
			return nil, fmt.Errorf("%s does not fit a 64-bit number", t)
		}
		return f, nil
	case []any:
		for i := range t {
			if t[i], err = plainNumbers(t[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range t {
			if t[k], err = plainNumbers(t[k]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// text is a value as a container sees it: scalars plain, lists and maps as JSON.
func text(v any) string {
	switch t := v.(type) {
	case string:
		return t
	case bool:
		return strconv.FormatBool(t)
	case int:
		return strconv.Itoa(t)
	case int64:
		return strconv.FormatInt(t, 10)
	case float64:
		return formatFloat(t)
	}
	data, err := plainJSON(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}

// plainJSON is v as JSON that leaves <, > and & readable.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// formatFloat writes a number without exponent where people would, and in its shortest exact form.
func formatFloat(f float64) string {
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// describe names the type of a value in the words of the documentation.
func describe(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case bool:
		return "bool"
	case int, int64, uint64:
		return "int"
	case float64, json.Number:
		return "float"
	case []any:
		return "list"
	case map[string]any:
		return "map"
	}
	return fmt.Sprintf("%T", v)
}

func isScalar(v any) bool {
	switch v.(type) {
	case string, bool, int, int64, float64:
		return true
	}
	return false
}

// deepCopy copies lists and maps, so that plans never share them with the pipeline.
func deepCopy(v any) any {
	switch t := v.(type) {
	case []any:
		out := make([]any, len(t))
		for i := range t {
			out[i] = deepCopy(t[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(t))
		for k, e := range t {
			out[k] = deepCopy(e)
		}
		return out
	}
	return v
}
