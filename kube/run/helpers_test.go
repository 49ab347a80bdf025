package run

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// began is when the runs of the tables were made.
var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// situation is a run with what the cluster has of it, at a time.
type situation struct {
	rec  *Record
	live Live
	now  time.Time
}

func makeRun(name string) *situation {
	return &situation{
		rec: &Record{
			Name: name, Namespace: "ns", UID: "uid-of-" + name, Created: began,
			Plan: pipeline.Plan{Pipeline: "p"}, Stages: map[string]StageRecord{},
		},
		live: emptyLive(),
		now:  began.Add(time.Minute),
	}
}

type stageOption func(*pipeline.PlannedStage)

// stage adds a stage with one child.
func (s *situation) stage(name string, options ...stageOption) *situation {
	p := pipeline.PlannedStage{Selected: true, Children: []pipeline.Child{{}}}
	p.Name, p.Image = name, "image:1"
	for _, o := range options {
		o(&p)
	}
	s.rec.Plan.Stages = append(s.rec.Plan.Stages, p)
	return s
}

func needs(names ...string) stageOption {
	return func(p *pipeline.PlannedStage) { p.Needs = names }
}

func leftOut() stageOption {
	return func(p *pipeline.PlannedStage) { p.Selected = false }
}

// sweep gives a stage children, of which the one with the greatest acc wins.
func sweep(children, parallel int) stageOption {
	return func(p *pipeline.PlannedStage) {
		p.Children = make([]pipeline.Child, children)
		p.Parallel, p.Best = parallel, &pipeline.Best{Max: "acc"}
	}
}

// minAcc is a gate on the metric acc.
func minAcc(least float64) stageOption {
	return func(p *pipeline.PlannedStage) {
		p.Gates = append(p.Gates, pipeline.Gate{Metric: "acc", Min: &least})
	}
}

func approval(text string) stageOption {
	return func(p *pipeline.PlannedStage) { p.Gates = append(p.Gates, pipeline.Gate{Approval: text}) }
}

func ttl(d time.Duration) stageOption {
	return func(p *pipeline.PlannedStage) { p.TTL = &metav1.Duration{Duration: d} }
}

// rollsOut makes the stage a Deployment of that name.
func rollsOut(name string) stageOption {
	return func(p *pipeline.PlannedStage) {
		p.Deploy = &pipeline.Deploy{Manifest: "deployment.yaml"}
		p.Object = json.RawMessage(fmt.Sprintf(`{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": %q}, "spec": {"replicas": 2}}`, name))
	}
}

// job puts a Job into the cluster; name is STAGE or STAGE/CHILD. Its UID is uid-JOB.
func (s *situation) job(name, state string, options ...func(*job.JobFact)) *situation {
	stage, child := execution(name)
	f := job.JobFact{Name: s.rec.jobName(stage, child), State: state}
	f.UID = "uid-" + f.Name
	if f.Final() {
		f.Finished = new(began.Add(30 * time.Second))
	}
	for _, o := range options {
		o(&f)
	}
	s.live.Jobs[f.Name] = f
	return s
}

func execution(name string) (stage string, child int) {
	stage, index, _ := strings.Cut(name, "/")
	_, _ = fmt.Sscan(index, &child)
	return stage, child
}

// leaves is what the pod of a Job wrote to /dev/termination-log.
func leaves(text string) func(*job.JobFact) {
	return func(f *job.JobFact) {
		f.Pods = append(f.Pods, job.PodFact{Name: f.Name + "-x", State: job.Succeeded, Result: text, Rank: -1})
	}
}

func because(reason, message string) func(*job.JobFact) {
	return func(f *job.JobFact) { f.Reason, f.Message = reason, message }
}

func finished(t time.Time) func(*job.JobFact) {
	return func(f *job.JobFact) { f.Finished = &t }
}

func (s *situation) expiring(name string) *situation {
	s.live.TTL[s.rec.jobName(execution(name))] = true
	return s
}

// noted says that the Job stands in the record, whether or not the cluster still has it.
func (s *situation) noted(names ...string) *situation {
	for _, name := range names {
		stage, child := execution(name)
		none := step{stages: map[string]StageRecord{stage: s.rec.Stages[stage]}}
		none.note(s.rec, start{stage, child}, "uid-"+s.rec.jobName(stage, child), "")
		s.rec.Stages[stage] = none.stages[stage]
	}
	return s
}

// recorded gives a stage an outcome.
func (s *situation) recorded(name string, state State, metrics map[string]float64) *situation {
	sr := s.rec.Stages[name]
	c := Child{State: state, Job: s.rec.jobName(name, 0), UID: "uid-" + s.rec.jobName(name, 0)}
	if metrics != nil {
		c.Result = &pipeline.Result{Metrics: metrics}
	}
	sr.Attempt, sr.Outcome = s.rec.attempt(name), &Outcome{State: state, Children: []Child{c}}
	s.rec.Stages[name] = sr
	return s
}

func (s *situation) with(f func(*Record)) *situation { f(s.rec); return s }

func (s *situation) cancelled() *situation {
	s.rec.Cancel = &Mark{By: "ann", At: began}
	return s
}

func (s *situation) ended(state State) *situation {
	s.rec.End = &End{State: state, At: began.Add(time.Minute)}
	return s
}

// timeout bounds the run; it began a minute ago.
func (s *situation) timeout(d time.Duration) *situation {
	deadline := began.Add(d)
	s.rec.Timeout, s.rec.Deadline = &metav1.Duration{Duration: d}, &deadline
	return s
}

func (s *situation) approved(stage string) *situation {
	sr := s.rec.Stages[stage]
	sr.Approval = &Mark{By: "ann", At: began}
	s.rec.Stages[stage] = sr
	return s
}

// describe says in lines how a run stands and what it needs.
func (s *situation) describe() []string {
	r := Derive(s.rec, s.live, s.now)
	lines := []string{text("run", string(r.State), "", r.Message)}
	for _, st := range r.Now {
		lines = append(lines, text(st.Name, string(st.State), st.Reason, st.Message))
	}
	n := next(r, s.live, s.now)
	for _, st := range n.starts {
		lines = append(lines, "start "+s.rec.jobName(st.stage, st.child))
	}
	for _, name := range n.chooses {
		lines = append(lines, "choose for "+name)
	}
	for _, name := range n.registers {
		lines = append(lines, "register "+name)
	}
	for _, name := range n.aborts {
		lines = append(lines, "abort "+name)
	}
	for _, name := range n.deletes {
		lines = append(lines, "delete "+name)
	}
	for _, name := range slices.Sorted(maps.Keys(n.stages)) {
		sr := n.stages[name]
		if sr.Outcome == nil {
			lines = append(lines, fmt.Sprintf("note %s %q", name, sr.Jobs))
			continue
		}
		lines = append(lines, text("record "+name, string(sr.Outcome.State), sr.Outcome.Reason, sr.Outcome.Message))
	}
	for _, name := range slices.Sorted(maps.Keys(n.expire)) {
		lines = append(lines, fmt.Sprintf("expire %s in %s", name, n.expire[name]))
	}
	if n.end != nil {
		lines = append(lines, "end "+string(n.end.State))
	}
	return lines
}

func text(name, state, reason, message string) string {
	line := name + " " + state
	if reason != "" {
		line += " (" + reason + ")"
	}
	if message != "" {
		line += ": " + message
	}
	return line
}
