package job

import (
	"context"
	"regexp"
	"time"

	"k8s.io/client-go/kubernetes"
)

// LogOptions say which lines of the selected pods are read.
type LogOptions struct {
	// Follow keeps reading until the work has ended.
	Follow bool
	// Previous reads the container's instance before the last restart; Follow is then ignored.
	Previous bool
	// Timestamps fills LogLine.Time.
	Timestamps bool
	// Since and SinceTime leave out older lines; both zero take all. SinceTime wins.
	Since     time.Duration
	SinceTime time.Time
	// Tail is how many lines to begin with, of each container that has started already; -1 is all of them, 0 none.
	// Containers that start later are read from their first line.
	Tail int64
	// Container names the container; empty is the annotation kubectl.kubernetes.io/default-container, else the first.
	Container string
	// AllContainers reads every container, init containers included, and ignores Container.
	AllContainers bool
	// Grep drops the lines that it does not match; nil keeps all.
	Grep *regexp.Regexp
	// MaxLine is the bytes after which a line is cut and marked; 0 is DefaultMaxLine.
	MaxLine int
	// Partial also emits the state of a line that has not ended, as it grows by 16 KiB: a progress bar that a
	// process overwrites for hours without ever ending the line.
	Partial bool
	// States also emits, as partial lines, each state of a line that was overwritten with carriage returns: all that a
	// progress bar has shown, rather than only where it ended.
	States bool
	// Status, when set, is told why a pod gives no lines (yet). Calls are serial with emit.
	Status func(LogStatus)
}

// DefaultMaxLine is the longest line that is passed on whole, in bytes.
const DefaultMaxLine = 64 << 10

// AllRanks in PodSelector.Rank selects the pods of every completion index.
const AllRanks = -1

// PodSelector selects pods of one namespace; a pod must satisfy all that is set.
type PodSelector struct {
	LabelSelector string
	// Names are pod names; none selects by label alone.
	Names []string
	// Rank is a completion index, or AllRanks. The zero value is the pod of rank 0.
	Rank int
}

// LogStatus is a remark on a pod's stream.
type LogStatus struct {
	// Pod and Container are empty when the remark is on the whole.
	Pod, Container string
	// Text is one sanitized line, such as "waiting for pod x: ImagePullBackOff: ...".
	Text string
}

// LogLine is one line that a container wrote.
type LogLine struct {
	Pod, Container string
	// Rank is the pod's completion index, -1 without one.
	Rank int
	// Stage and Child are the pod's labels of these names; Child is the index in a sweep.
	Stage, Child string
	// Time is when the container runtime took the line; zero unless asked for.
	Time time.Time
	// Text is sanitized: no control characters, of overwritten progress bars the last state. A line that was
	// cut ends in a mark that says how much is missing.
	Text string
	// Partial says that the line has not ended; what comes next for this container takes its place.
	Partial bool
}

// LogReport is what Logs did.
type LogReport struct {
	// Pods are the names of the pods seen, in the order of first sight.
	Pods []string
	// Lines counts the lines emitted, partial ones apart.
	Lines int64
	// Dropped counts the bytes cut from lines longer than MaxLine.
	Dropped int64
	// Errors are the streams that could not be read, such as a pod whose log is forbidden.
	Errors []error
}

// MaxStreams bounds the containers that are followed at once; further ones wait until a stream ends.
const MaxStreams = 500

// ahead is how many logs are opened ahead of the one being read, without Follow.
const ahead = 20

// Logs streams the lines of the selected pods of a namespace to emit, which is called by one goroutine at a time; while it
// blocks, the streams wait.
//
// Without Follow it reads what there is now, pod after pod: by rank, then by age. With Follow it waits for pods that are
// pending, takes in pods that join, follows containers over restarts, resumes broken connections without loss or
// repetition, and returns when done says that the work has ended and what it wrote is drained, or when ctx ends, with
// the error of ctx. A nil done means: when every pod that was seen has ended.
//
// A log that cannot be read does not stop the others: it is in LogReport.Errors. The error is for what stops all.
func Logs(ctx context.Context, cs kubernetes.Interface, namespace string, sel PodSelector, o LogOptions,
	done func(context.Context) (bool, error), emit func(LogLine),
) (LogReport, error) {
	r := newLogReader(cs, namespace, sel, o, emit)
	if !o.Follow || o.Previous {
		err := r.readNow(ctx)
		return r.report, err
	}
	err := r.follow(ctx, done)
	return r.report, err
}
