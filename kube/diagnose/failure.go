package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// crash is a container that ended badly.
type crash struct {
	pod       *corev1.Pod
	rank      int
	container string
	spec      *corev1.Container
	end       corev1.ContainerStateTerminated
	// restarting says that it was started again since, or will be.
	restarting bool
}

// crashes are the containers that failed, those first that are most likely the cause: what failed by itself before what
// was stopped, then by time and rank.
func (e *Evidence) crashes() []crash {
	var out []crash
	for _, p := range e.Pods {
		for _, s := range statuses(p) {
			end, again := s.State.Terminated, false
			if end == nil || end.ExitCode == 0 {
				end, again = s.LastTerminationState.Terminated, true
			}
			if end == nil || end.ExitCode == 0 || again && s.State.Terminated != nil {
				continue
			}
			out = append(out, crash{pod: p, rank: e.rankOf(p), container: s.Name, spec: containerOf(p, s.Name), end: *end, restarting: again})
		}
	}
	slices.SortStableFunc(out, func(a, b crash) int {
		return cmp.Or(
			cmp.Compare(btoi(a.stopped()), btoi(b.stopped())),
			a.end.FinishedAt.Compare(b.end.FinishedAt.Time),
			cmp.Compare(a.rank, b.rank), cmp.Compare(a.pod.Name, b.pod.Name),
		)
	})
	return out
}

// rankOf is the pod's rank as lists show it: kinds beside Job have labels of their own for it.
func (e *Evidence) rankOf(p *corev1.Pod) int {
	i := slices.IndexFunc(e.Work.Pods, func(f *fleet.Pod) bool { return f.UID == string(p.UID) })
	if i < 0 {
		return job.PodRank(p)
	}
	return e.Work.Pods[i].Rank
}

func containerOf(p *corev1.Pod, name string) *corev1.Container {
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return &corev1.Container{Name: name}
}

// stopped says that it was told to end (SIGTERM): seldom the cause of anything.
func (c crash) stopped() bool { return c.signal() == 15 }

func (c crash) signal() int32 {
	if c.end.Signal != 0 {
		return c.end.Signal
	}
	return job.SignalOf(c.end.ExitCode)
}

// who names the container in a sentence.
func (c crash) who() string {
	text := "container " + c.container + " of pod " + c.pod.Name
	if c.rank >= 0 {
		text = fmt.Sprintf("rank %d (pod %s, container %s)", c.rank, c.pod.Name, c.container)
	}
	return text
}

// line is the end as evidence.
func (e *Evidence) line(c crash) string {
	text := c.who() + ": " + job.ExplainExit(c.end.ExitCode, c.end.Reason)
	if c.end.Message != "" && (c.end.Reason == "StartError" || c.end.Reason == "ContainerCannotRun" || c.end.Reason == "ContainerStatusUnknown") {
		text += ": " + c.end.Message
	}
	if !c.end.FinishedAt.IsZero() {
		text += ", " + age(e.Now.Sub(c.end.FinishedAt.Time)) + " ago"
	}
	if ran := c.end.FinishedAt.Sub(c.end.StartedAt.Time); !c.end.StartedAt.IsZero() && ran > 0 {
		text += " after " + age(ran)
	}
	return text
}

// firstLine says which rank went first, and how long before the others: they often only follow.
func (e *Evidence) firstLine(list []crash) string {
	if len(list) < 2 || list[0].rank < 0 || list[0].end.FinishedAt.IsZero() {
		return ""
	}
	first := list[0]
	var next *crash
	others := map[string]bool{}
	several := false // a JobSet has ranks of the same number in each of its Jobs
	for i := range list {
		c := &list[i]
		if c.member() == first.member() {
			continue
		}
		several = several || ownerName(c.pod) != ownerName(first.pod)
		others[c.member()] = true
		if next == nil || c.end.FinishedAt.Before(&next.end.FinishedAt) {
			next = c
		}
	}
	if next == nil {
		return ""
	}
	who, n := fmt.Sprintf("rank %d", first.rank), int64(len(others))
	if several {
		who += " of " + ownerName(first.pod)
	}
	ahead := next.end.FinishedAt.Sub(first.end.FinishedAt.Time)
	switch {
	case ahead < 0:
		return fmt.Sprintf("%s failed by itself; %s stopped (SIGTERM)", who, count(n, "other was", "others were"))
	case ahead < time.Second:
		return fmt.Sprintf("%s failed first, and %s in the same second", who, count(n, "other", "others"))
	}
	return fmt.Sprintf("%s failed first, %s before the next of %s", who, age(ahead), count(n, "other", "others"))
}

// member tells the ranks of a piece of work apart.
func (c crash) member() string { return fmt.Sprint(ownerName(c.pod), " ", c.rank) }

// oomRule: the kernel killed a container at its memory limit.
func oomRule(e *Evidence) []Cause {
	list := e.crashes()
	for _, c := range list {
		if c.end.Reason != "OOMKilled" {
			continue
		}
		limit, has := c.spec.Resources.Limits[corev1.ResourceMemory]
		title := c.who() + " used more memory than its limit"
		what := "raise limits.memory and requests.memory"
		if has {
			title += " of " + limit.String()
			what += " above " + limit.String()
		} else {
			title = c.who() + " was killed for want of memory: it has no limit of its own, so the node or the pod ran out"
			what = "set requests.memory to what it needs, so that the node keeps it free"
		}
		what += ", or use less: smaller batches, fewer DataLoader workers"
		k := cause(Certain, "OOMKilled", title).because(e.line(c), e.firstLine(list), e.injected(corev1.ResourceMemory))
		return []Cause{k.cures(e.change(what))}
	}
	return e.nodeOOM(list)
}

// nodeOOM: a container was killed when its node ran out of memory, which the node tells and the container's state does not.
func (e *Evidence) nodeOOM(list []crash) []Cause {
	for _, c := range list {
		if c.signal() != 9 {
			continue
		}
		for _, ev := range e.about("node/"+c.pod.Spec.NodeName, "SystemOOM", "OOMKilling") {
			if apart := ev.Last.Sub(c.end.FinishedAt.Time); apart < -nodeOOMWithin || apart > nodeOOMWithin {
				continue
			}
			k := cause(Likely, "NodeOutOfMemory", "node "+c.pod.Spec.NodeName+" ran out of memory when "+c.who()+" was killed").because(e.eventLine(ev), e.line(c), e.firstLine(list))
			return []Cause{k.cures(e.change("set requests.memory to what it needs, so that the node keeps it free"))}
		}
	}
	return nil
}

// nodeOOMWithin is how near to the end of a container a report of its node must be to speak of it.
const nodeOOMWithin = 2 * time.Minute

// exitCause is what an exit code means by itself.
type exitCause struct {
	code, title string
	likelihood  Likelihood
	what        string
}

// exits are exit codes and signals (from 128 up) that tell something; all others are the program's own.
var exits = map[int32]exitCause{
	126: {"NotExecutable", "%s: the command is there and cannot be executed", Certain, "make the command executable in the image (chmod +x), or call it by its interpreter"},
	127: {"CommandNotFound", "%s: the command is not in the image", Certain, "correct the command, or add the program to the image"},
	128: {"StartFailed", "%s could not be started", Certain, "correct the command or the working directory"},
	134: {"Aborted", "%s aborted by itself (SIGABRT): a failed assertion in native code, often of CUDA or NCCL", Likely, "look at the last lines of its log; set NCCL_DEBUG=INFO or CUDA_LAUNCH_BLOCKING=1 to learn more"},
	135: {"BusError", "%s died of a bus error (SIGBUS): most often /dev/shm is too small for the data loaders", Likely, "mount an emptyDir with medium: Memory at /dev/shm, or set num_workers=0"},
	136: {"ArithmeticError", "%s died of an arithmetic error in native code (SIGFPE)", Certain, "look for a division by zero in native code"},
	132: {"IllegalInstruction", "%s used an instruction that the processor does not have (SIGILL)", Certain, "use an image that is built for the node's processors"},
	137: {"Killed", "%s was killed (SIGKILL)", Likely, "watch its memory: raise limits.memory if it is close to the limit"},
	139: {"SegmentationFault", "%s died of a segmentation fault in native code (SIGSEGV)", Certain, "run with faulthandler (PYTHONFAULTHANDLER=1) to learn where; look for libraries that do not fit each other"},
	143: {"Terminated", "%s was asked to stop (SIGTERM)", Likely, ""},
}

// exitRule explains exit codes. It speaks where nothing else did.
func exitRule(e *Evidence) []Cause {
	list := e.crashes()
	if len(list) == 0 {
		return nil
	}
	c := list[0]
	x, known := exits[c.end.ExitCode]
	switch {
	case c.end.Reason == "StartError" || c.end.Reason == "ContainerCannotRun":
		x = exits[128]
		if strings.Contains(c.end.Message, "executable file not found") || strings.Contains(c.end.Message, "no such file or directory") {
			x = exits[127]
		} else if strings.Contains(c.end.Message, "permission denied") {
			x = exits[126]
		}
	case c.end.Reason == "ContainerStatusUnknown":
		x = exitCause{"StatusLost", "how %s ended is not known: its node was lost or restarted", Certain, ""}
	case !known:
		x = exitCause{"ProgramFailed", "%s ended with an error of the program, " + fmt.Sprintf("exit code %d", c.end.ExitCode), Certain, ""}
	}
	k := cause(x.likelihood, x.code, fmt.Sprintf(x.title, c.who())).because(e.line(c), e.firstLine(list))
	switch c.end.ExitCode {
	case 137:
		k = k.because("the kubelet did not say OOMKilled: it may have been the node's memory, a process in the container, or the end of a grace period")
		k = k.because(e.killedBy(c)...)
	case 143:
		k = k.because(e.killedBy(c)...)
		if len(k.Evidence) < 3 {
			k = k.because("nothing in the cluster says who asked: a deletion, a drain or the program that started it")
		}
	}
	k = k.because(e.tail(c)...)
	if x.what != "" {
		k = k.cures(e.change(x.what))
	}
	if _, ok := e.logOf(c); ok {
		k = k.cure("read more of its log", e.logsCommand(c))
	}
	if c.stopped() {
		return []Cause{k.cures(e.again("start it again"))}
	}
	return []Cause{k.cures(e.again("when it is mended, start it again"))}
}

// killedBy are events that tell who ended a pod's container.
func (e *Evidence) killedBy(c crash) []string {
	var out []string
	for _, ev := range e.about("pod/"+c.pod.Name, "Killing", "Preempted", "TaintManagerEviction", "Evicted", "NodeNotReady", "ExceededGracePeriod", "Unhealthy", "SystemOOM", "OOMKilling") {
		out = append(out, e.eventLine(ev))
	}
	return out[max(len(out)-3, 0):]
}

func (e *Evidence) logsCommand(c crash) string {
	text := "kubectl ml logs " + c.pod.Name + " -c " + c.container
	if c.restarting {
		text += " --previous"
	}
	return text
}

func (e *Evidence) logOf(c crash) (Log, bool) {
	i := slices.IndexFunc(e.Logs, func(l Log) bool { return l.Pod == c.pod.Name && l.Container == c.container })
	if i < 0 {
		return Log{}, false
	}
	return e.Logs[i], true
}

// lastLines is how much of a log is shown where no pattern picks a line.
const lastLines = 5

// tail are the last lines of the log of a crash that say something.
func (e *Evidence) tail(c crash) []string {
	l, ok := e.logOf(c)
	if !ok {
		return nil
	}
	var out []string
	for _, line := range slices.Backward(l.Lines) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		out = append(out, "log: "+cut(line))
		if len(out) == lastLines {
			break
		}
	}
	slices.Reverse(out)
	return out
}
