package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
)

// Limits of what a record holds, in bytes unless they say otherwise.
const (
	MaxMetrics    = 64 // numbers in Facts.Metrics
	MaxMetricName = 128
	// MaxDocument bounds each of params, data, signature and baseline, as JSON.
	MaxDocument = 64 << 10
	MaxParents  = 64 // lines in Facts.Parents
	// MaxInline bounds an artifact that is kept in the record itself.
	MaxInline = 900 << 10
	// maxRecord is what the API server takes in data and binaryData of one ConfigMap.
	maxRecord = 1 << 20
	// maxText bounds one line of text: a URI, a commit, a comment, a note.
	maxText = 4 << 10
)

var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// check refuses facts that no record can hold, all faults at once.
func (f *Facts) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := CheckModel(f.Model); err != nil {
		errs = append(errs, err)
	}
	if f.Version < 0 || f.Version > maxVersion {
		bad("version %d is out of range: versions count from 1", f.Version)
	}
	a := f.Artifact
	switch {
	case a.URI == "":
		bad("the artifact's URI is missing: say where it is, such as s3://bucket/key or pvc://claim/path")
	case strings.ContainsFunc(a.URI, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		bad("the artifact's URI %.100q has blanks or control characters: write them as %%20 and the like", a.URI)
	}
	if a.Digest != "" && !digestPattern.MatchString(a.Digest) {
		bad("the artifact's digest %.100q must be sha256: and 64 lower-case hex digits", a.Digest)
	}
	if a.Size < 0 {
		bad("the artifact's size %d must not be negative", a.Size)
	}
	errs = append(errs, checkMetrics(f.Metrics)...)
	for name, d := range f.Better {
		if d != Higher && d != Lower {
			bad("better: of metric %.100q either higher or lower is better, not %.100q", name, d)
		}
	}
	if len(f.Better) > MaxMetrics {
		bad("better names %d metrics, %d at most", len(f.Better), MaxMetrics)
	}
	if len(f.Parents) > MaxParents {
		bad("%d parents are too many: %d at most", len(f.Parents), MaxParents)
	}
	for what, text := range f.texts() {
		if len(text) > maxText {
			bad("%s has %d bytes, %d at most", what, len(text), maxText)
		}
		if strings.ContainsAny(text, "\n\r") {
			bad("%s must be one line: %.100q", what, text)
		}
	}
	for what, doc := range map[string]json.RawMessage{"signature": f.Signature, "baseline": f.Baseline} {
		if len(doc) > 0 && !json.Valid(doc) {
			bad("%s is not JSON", what)
		}
	}
	return errors.Join(errs...)
}

// texts are the lines of text in facts, by what they are.
func (f *Facts) texts() map[string]string {
	m := map[string]string{
		"the artifact's URI": f.Artifact.URI, "the artifact's format": f.Artifact.Format, "the image": f.Image,
		"code.repo": f.Code.Repo, "code.commit": f.Code.Commit, "code.source": f.Code.Source, "createdBy": f.CreatedBy,
	}
	for i, p := range f.Parents {
		m[fmt.Sprintf("parent %d", i+1)] = p
	}
	if f.Run != nil {
		m["the run"] = f.Run.Kind + f.Run.Namespace + f.Run.Name + f.Run.UID + f.Run.Pipeline + f.Run.Stage + f.Run.Job + f.Run.JobUID
	}
	return m
}

func checkMetrics(metrics map[string]float64) []error {
	var errs []error
	if len(metrics) > MaxMetrics {
		errs = append(errs, fmt.Errorf("%d metrics are too many: %d at most; put others into a file beside the artifact", len(metrics), MaxMetrics))
	}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		v := metrics[name]
		switch {
		case name == "" || len(name) > MaxMetricName || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
			errs = append(errs, fmt.Errorf("metric name %.140q must have 1 to %d characters and no control characters", name, MaxMetricName))
		case math.IsNaN(v) || math.IsInf(v, 0):
			errs = append(errs, fmt.Errorf("metric %s is %v: it must be a finite number", name, v))
		}
	}
	return errs
}

// checkSize says before the server does that a record is too large, and of what it is made.
func checkSize(object string, data map[string]string, binary map[string][]byte) error {
	total, largest, most := 0, "", 0
	count := func(key string, n int) {
		total += n
		if n > most {
			largest, most = key, n
		}
	}
	for k, v := range data {
		count(k, len(v))
	}
	for k, v := range binary {
		count(k, len(v))
	}
	if total <= maxRecord {
		return nil
	}
	return refuse("ConfigMap %s would have %d bytes, and a cluster takes %d: %s alone has %d", object, total, maxRecord, largest, most)
}

// RefusedError is a change that the registry's rules do not allow.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

func refuse(format string, args ...any) error {
	return &RefusedError{Reason: fmt.Sprintf(format, args...)}
}
