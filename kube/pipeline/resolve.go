package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Selection says which stages a run runs; the zero value is all of them.
type Selection struct {
	// Only are just those stages; it excludes From and To.
	Only []string
	// From is a stage with everything downstream of it, To one with everything upstream; both: what lies between.
	From, To string
}

// Options are what a user may change about one run.
type Options struct {
	// Set and SetFile are NAME=VALUE and NAME=PATH, or STAGE.NAME=...; of the same name the last wins, files over values.
	Set, SetFile []string
	Selection
	// ReadFile reads a file by its path relative to the pipeline file's folder: manifests, and those of SetFile.
	ReadFile func(path string) ([]byte, error)
}

// Revision is the first 12 hex digits of the SHA-256 of a pipeline file.
func Revision(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:6])
}

// Resolve makes the plan of one run: parameters overridden, defaults merged, manifests read, sweeps spread out,
// stages ordered and selected. The source is packaged apart (see Package) and put into the plan by the caller.
func Resolve(p *Pipeline, revision string, o Options) (*Plan, error) {
	over, err := parseOverrides(p, o)
	if err != nil {
		return nil, err
	}
	order, err := topological(p.Spec.Stages)
	if err != nil {
		return nil, err
	}
	selected, err := selectStages(p.Spec.Stages, o.Selection)
	if err != nil {
		return nil, err
	}
	plan := &Plan{
		Pipeline: p.Metadata.Name, Labels: p.Metadata.Labels, Annotations: p.Metadata.Annotations,
		Revision: revision, Params: mergedParams(p.Spec.Params, over.global),
		Workspace: p.Spec.Workspace, TimeZone: p.Spec.TimeZone,
	}
	var errs []error
	for _, i := range order {
		s, err := planStage(p, &p.Spec.Stages[i], plan.Params, over, o.ReadFile)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.Selected = selected[i]
		plan.Stages = append(plan.Stages, s)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return plan, nil
}

func planStage(p *Pipeline, s *Stage, global Params, over overrides, read func(string) ([]byte, error)) (PlannedStage, error) {
	out := PlannedStage{Stage: *s}
	if file := s.ManifestFile(); file != "" {
		// The object's pod is the manifest's own; of the defaults only what is ours to do applies.
		out.TTL = first(s.TTL, p.Spec.Defaults.TTL)
		out.Children = []Child{{Params: global}}
		if read == nil {
			return out, fmt.Errorf("stage %s: cannot read manifest %s: files cannot be read here", s.Name, file)
		}
		data, err := read(file)
		if err != nil {
			return out, fmt.Errorf("stage %s: manifest: %w", s.Name, err)
		}
		object, err := readManifest(file, data)
		if err != nil {
			return out, err
		}
		out.Object = object
		if s.Deploy != nil {
			out.Deploy = s.Deploy.over(p.Spec.Defaults.Pod)
		}
		return out, checkManifestStage(&out)
	}
	if s.Deploy != nil {
		out.TTL = first(s.TTL, p.Spec.Defaults.TTL)
		out.Children = []Child{{Params: global}}
		out.Deploy = s.Deploy.over(p.Spec.Defaults.Pod)
		return out, nil
	}
	out.Template = mergeTemplate(p.Spec.Defaults, s.Template)
	base := mergedParams(global, s.Params, over.byStage[s.Name])
	// Stage parameters win over the pipeline's; an override for all of the pipeline does not reach past them.
	if s.Sweep == nil || s.Sweep.Size() == 0 {
		out.Children = []Child{{Params: base}}
		return out, nil
	}
	for _, point := range s.Sweep.points() {
		out.Children = append(out.Children, Child{Params: mergedParams(base, point), Swept: mergedParams(point)})
	}
	return out, nil
}

// topological orders the stages so that each stands after those it needs; the file's order breaks ties.
func topological(stages []Stage) ([]int, error) {
	index := make(map[string]int, len(stages))
	for i := range stages {
		if _, twice := index[stages[i].Name]; twice {
			return nil, fmt.Errorf("two stages are named %q", stages[i].Name)
		}
		index[stages[i].Name] = i
	}
	waits := make([]int, len(stages))
	then := make([][]int, len(stages))
	for i := range stages {
		for _, need := range stages[i].Needs {
			j, ok := index[need]
			if !ok {
				return nil, fmt.Errorf("stage %s needs %q, which does not exist", stages[i].Name, need)
			}
			waits[i]++
			then[j] = append(then[j], i)
		}
	}
	var ready []int
	for i, n := range waits {
		if n == 0 {
			ready = append(ready, i)
		}
	}
	order := make([]int, 0, len(stages))
	for len(ready) > 0 {
		i := ready[0]
		ready = ready[1:]
		order = append(order, i)
		for _, j := range then[i] {
			if waits[j]--; waits[j] == 0 {
				at, _ := slices.BinarySearch(ready, j)
				ready = slices.Insert(ready, at, j)
			}
		}
	}
	if len(order) < len(stages) {
		return nil, fmt.Errorf("stages need each other in a circle: %s", strings.Join(cycle(stages, index), " -> "))
	}
	return order, nil
}

// cycle names the stages of one circle of needs, the first again at the end; nil when there is none.
func cycle(stages []Stage, index map[string]int) []string {
	const (
		unseen = iota
		open
		done
	)
	state := make([]int, len(stages))
	var path []string
	var visit func(i int) []string
	visit = func(i int) []string {
		state[i] = open
		path = append(path, stages[i].Name)
		for _, need := range stages[i].Needs {
			j, ok := index[need]
			if !ok || state[j] == done {
				continue
			}
			if state[j] == open {
				return append(path[slices.Index(path, need):], need)
			}
			if found := visit(j); found != nil {
				return found
			}
		}
		path = path[:len(path)-1]
		state[i] = done
		return nil
	}
	for i := range stages {
		if state[i] == unseen {
			if found := visit(i); found != nil {
				return found
			}
		}
	}
	return nil
}

// selectStages marks the stages that the run runs, by their index in the file.
func selectStages(stages []Stage, sel Selection) ([]bool, error) {
	names := make([]string, len(stages))
	index := make(map[string]int, len(stages))
	for i := range stages {
		names[i] = stages[i].Name
		index[stages[i].Name] = i
	}
	find := func(name string) (int, error) {
		i, ok := index[name]
		if !ok {
			return 0, fmt.Errorf("there is no stage %q%s", name, orOneOf("the stages", name, names))
		}
		return i, nil
	}
	selected := make([]bool, len(stages))
	if len(sel.Only) > 0 {
		if sel.From != "" || sel.To != "" {
			return nil, errors.New("name stages, or a range by from and to, not both")
		}
		for _, name := range sel.Only {
			i, err := find(name)
			if err != nil {
				return nil, err
			}
			selected[i] = true
		}
		return selected, nil
	}
	for i := range selected {
		selected[i] = true
	}
	needs := make([][]int, len(stages))
	then := make([][]int, len(stages))
	for i := range stages {
		for _, need := range stages[i].Needs {
			if j, ok := index[need]; ok {
				needs[i] = append(needs[i], j)
				then[j] = append(then[j], i)
			}
		}
	}
	for _, end := range []struct {
		name  string
		edges [][]int
	}{{sel.From, then}, {sel.To, needs}} {
		if end.name == "" {
			continue
		}
		i, err := find(end.name)
		if err != nil {
			return nil, err
		}
		reach := reachable(i, end.edges)
		for j := range selected {
			selected[j] = selected[j] && reach[j]
		}
	}
	if !slices.Contains(selected, true) {
		return nil, fmt.Errorf("no stage lies between %s and %s: %s does not need %s", sel.From, sel.To, sel.To, sel.From)
	}
	return selected, nil
}

func reachable(start int, edges [][]int) []bool {
	seen := make([]bool, len(edges))
	todo := []int{start}
	seen[start] = true
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, j := range edges[i] {
			if !seen[j] {
				seen[j] = true
				todo = append(todo, j)
			}
		}
	}
	return seen
}
