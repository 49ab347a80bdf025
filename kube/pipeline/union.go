package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// DefaultGPU is the resource that a bare count of gpus asks for.
const DefaultGPU corev1.ResourceName = "nvidia.com/gpu"

// UnmarshalJSON takes a count or a mapping.
func (g *GPUs) UnmarshalJSON(data []byte) error {
	*g = GPUs{}
	if len(bytes.TrimSpace(data)) > 0 && bytes.TrimSpace(data)[0] != '{' {
		if err := json.Unmarshal(data, &g.Count); err != nil {
			return errors.New("gpus must be a count such as 1, or a mapping such as {count: 1, product: NVIDIA-L4}")
		}
		return nil
	}
	type plain GPUs
	return json.Unmarshal(data, (*plain)(g))
}

// MarshalJSON writes a bare count when there is nothing else to say.
func (g GPUs) MarshalJSON() ([]byte, error) {
	if g.Resource == "" && g.Product == "" {
		return json.Marshal(g.Count)
	}
	type plain GPUs
	return json.Marshal(plain(g))
}

// ResourceOrDefault is the extended resource that is asked for.
func (g GPUs) ResourceOrDefault() corev1.ResourceName {
	if g.Resource == "" {
		return DefaultGPU
	}
	return g.Resource
}

// UnmarshalJSON takes a mapping of lists (a grid) or a list of mappings.
func (s *Sweep) UnmarshalJSON(data []byte) error {
	*s = Sweep{}
	v, err := decodeValue(data)
	if err != nil {
		return err
	}
	shape := errors.New("sweep must be a mapping of lists such as {lr: [0.1, 0.01]}, or a list of mappings such as [{lr: 0.1}]")
	switch t := v.(type) {
	case nil:
	case map[string]any:
		s.Grid = make(map[string][]any, len(t))
		for name, values := range t {
			list, ok := values.([]any)
			if !ok {
				return shape
			}
			s.Grid[name] = list
		}
		s.Names, err = keyOrder(data)
		return err
	case []any:
		s.List = make([]map[string]any, len(t))
		for i, e := range t {
			m, ok := e.(map[string]any)
			if !ok {
				return shape
			}
			s.List[i] = m
		}
	default:
		return shape
	}
	return nil
}

// keyOrder is the order of the keys of a JSON object, which a Go map forgets.
func keyOrder(object []byte) ([]string, error) {
	d := json.NewDecoder(bytes.NewReader(object))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	var names []string
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("key %v is not a string", key)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		var skip json.RawMessage
		if err := d.Decode(&skip); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// MarshalJSON writes the form that was read; a grid keeps the order of its names.
func (s Sweep) MarshalJSON() ([]byte, error) {
	if s.Grid == nil {
		if s.List == nil {
			return []byte("[]"), nil
		}
		return json.Marshal(s.List)
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for i, name := range s.names() {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		values, err := json.Marshal(s.Grid[name])
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(values)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// names are the grid's names: in the file's order where that is known, else sorted.
func (s Sweep) names() []string {
	names := make([]string, 0, len(s.Grid))
	for _, n := range s.Names {
		if _, ok := s.Grid[n]; ok && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(s.Grid)) {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// Size is the number of children that the sweep makes; huge grids saturate instead of overflowing.
func (s Sweep) Size() int {
	if s.Grid == nil {
		return len(s.List)
	}
	if len(s.Grid) == 0 {
		return 0
	}
	n := 1
	for _, values := range s.Grid {
		if n *= len(values); n > 1<<20 {
			return 1 << 20
		}
	}
	return n
}

// points are the parameter sets of the sweep, the first name of a grid varying slowest.
func (s Sweep) points() []map[string]any {
	if s.Grid == nil {
		return s.List
	}
	if len(s.Grid) == 0 {
		return nil
	}
	points := []map[string]any{{}}
	for _, name := range s.names() {
		next := make([]map[string]any, 0, len(points)*len(s.Grid[name]))
		for _, p := range points {
			for _, v := range s.Grid[name] {
				q := maps.Clone(p)
				q[name] = v
				next = append(next, q)
			}
		}
		points = next
	}
	return points
}
