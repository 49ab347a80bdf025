package plugin

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

func TestNumbersAreJSON(t *testing.T) {
	text, err := json.Marshal(seriesFact{X: numbers{1, 2.5, 1e21, -0.001}, Y: numbers{math.NaN(), math.Inf(1), 0, 1e-9}, Seen: 4})
	if want := `{"x":[1,2.5,1e+21,-0.001],"y":[null,null,0,1e-9],"seen":4}`; err != nil || strings.ReplaceAll(string(text), "1e-09", "1e-9") != want {
		t.Errorf("%s (%v), want %s", text, err, want)
	}
	if text, _ := json.Marshal(seriesFact{}); string(text) != `{"x":[],"y":[],"seen":0}` {
		t.Errorf("of nothing: %s", text)
	}
}

func TestLearningFact(t *testing.T) {
	at := time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC)
	s := job.NewSeries(job.AllRanks, 0)
	for i, text := range []string{`::ml:: {"step":1,"total":4,"loss":0.5,"lr":1}`, `::ml:: {"step":2,"loss":NaN}`} {
		s.Add(job.LogLine{Text: text, Time: at.Add(time.Duration(10*i) * time.Second)})
	}
	tr := fleet.Training{Work: &fleet.Work{Ref: fleet.Ref{Kind: "Job", Name: "j"}, State: job.Running}, Training: s.Training(), Pods: []string{"p"}, Errors: []error{errors.New("no")}}
	text, err := json.Marshal(progressOptions{Axis: job.AxisTime, Metrics: []string{"loss"}}.learning(&tr))
	want := `{"work":{"kind":"Job","name":"j","state":"Running"},` +
		`"progress":{"source":"ml","step":2,"total":4,"percent":50,"metrics":{"loss":0.5,"lr":1},"notFinite":["loss"],"at":"2026-03-14T09:00:10Z"},` +
		`"rate":0.1,"rateOf":"step","leftSeconds":20,"first":"2026-03-14T09:00:00Z","last":"2026-03-14T09:00:10Z","axis":"time",` +
		`"series":{"loss":{"x":[0,10],"y":[0.5,null],"seen":2}},"log":{"pods":["p"],"lines":2,"understood":2,"bytes":75,"errors":["no"]}}`
	if err != nil || string(text) != want {
		t.Errorf("got  %s (%v)\nwant %s", text, err, want)
	}
	text, _ = json.Marshal(progressOptions{}.learning(&fleet.Training{Work: &fleet.Work{}}))
	if want := `"progress":{},"axis":"","series":{},`; !strings.Contains(string(text), want) {
		t.Errorf("of nothing: %s", text)
	}
}

func TestNothingRead(t *testing.T) {
	pod := []*fleet.Pod{{}}
	for _, tc := range []struct {
		t    fleet.Training
		want string
	}{
		{fleet.Training{Work: &fleet.Work{Pods: pod}, Training: job.Training{Progress: job.Progress{Source: job.SourceTqdm}}}, "but no metrics"},
		{fleet.Training{Work: &fleet.Work{Pods: pod}, Errors: []error{errors.New("x")}}, "could not be read"},
		{fleet.Training{Work: &fleet.Work{State: job.Succeeded}}, "pods are gone"},
		{fleet.Training{Work: &fleet.Work{}}, "no pods yet"},
		{fleet.Training{Work: &fleet.Work{Pods: pod}, Pods: []string{"p"}}, "log of pod p is empty"},
		{fleet.Training{Work: &fleet.Work{Pods: pod}, Pods: []string{"p"}, Training: job.Training{Lines: 1}}, "Of 1 line in the log of pod p, none tells"},
	} {
		if got := nothingRead(&tc.t); !strings.Contains(got, tc.want) {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}

func TestASCIIOnly(t *testing.T) {
	for environment, want := range map[string]bool{
		"": false, "LANG=en_US.UTF-8": false, "LANG=C": true, "LC_ALL=C.utf8 LANG=C": false, "LC_ALL=POSIX LANG=en_US.UTF-8": true, "LC_CTYPE=de_DE.ISO-8859-1": true, "TERM=linux": true,
		"TERM=linux LANG=C.UTF-8": false,
	} {
		f := testFactory()
		f.Getenv = func(name string) string {
			for pair := range strings.FieldsSeq(environment) {
				if value, ok := strings.CutPrefix(pair, name+"="); ok {
					return value
				}
			}
			return ""
		}
		if got := f.asciiOnly(); got != want {
			t.Errorf("%q: %t", environment, got)
		}
	}
}

func TestProgressOptionsCheck(t *testing.T) {
	for _, o := range []progressOptions{{Axis: "steps"}, {Smooth: -0.1}, {Smooth: 1}, {Smooth: math.NaN()}, {Width: -1}, {Height: -1}, {Output: output{Format: "xml"}}} {
		if o.check() == nil {
			t.Errorf("%+v passes", o)
		}
	}
	if err := (progressOptions{Axis: job.AxisEpoch, Smooth: 0.99, Width: 10}).check(); err != nil {
		t.Error(err)
	}
}
