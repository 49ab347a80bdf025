package job

import "fmt"

// ExplainExit says in a few words what a container's exit code means; reason is what the kubelet recorded
// with it (OOMKilled, Error, ...), empty if unknown. Code 0 is "succeeded".
func ExplainExit(code int32, reason string) string {
	if reason == reasonOOM {
		return fmt.Sprintf("exit code %d: out of memory: the container used more than its memory limit", code)
	}
	text := exitMeaning(code)
	if code == 0 {
		return text
	}
	return fmt.Sprintf("exit code %d: %s", code, text)
}

// exitMeaning follows the shell's conventions: from 128 up a signal ended the process.
func exitMeaning(code int32) string {
	switch code {
	case 0:
		return "succeeded"
	case 1:
		return "general error, see its log"
	case 2:
		return "wrong usage, or an error of the program"
	case 125:
		return "the container could not be started"
	case 126:
		return "the command is not executable"
	case 127:
		return "command not found"
	case 128:
		return "the container could not be started, or an invalid exit code"
	case 255:
		return "the program ended with -1, or its node was lost"
	}
	switch signal := SignalOf(code); signal {
	case 0:
		return "error of the program, see its log"
	case 9:
		return "SIGKILL, killed at once (out of memory, evicted, or past its grace period)"
	case 15:
		return "SIGTERM, asked to stop (deleted, evicted or preempted)"
	default:
		if name, ok := signalNames[signal]; ok {
			return name
		}
		return fmt.Sprintf("signal %d", signal)
	}
}

// SignalOf is the Linux signal that an exit code stands for, 0 for none.
func SignalOf(code int32) int32 {
	if code > 128 && code <= 128+64 {
		return code - 128
	}
	return 0
}

var signalNames = map[int32]string{
	1:  "SIGHUP, its terminal or parent went away",
	2:  "SIGINT, interrupted",
	3:  "SIGQUIT, asked to quit with a core dump",
	4:  "SIGILL, illegal instruction (is it built for this processor?)",
	6:  "SIGABRT, aborted by itself (failed assertion, or an error in native code such as CUDA or NCCL)",
	7:  "SIGBUS, bus error (often /dev/shm is too small)",
	8:  "SIGFPE, arithmetic error in native code",
	11: "SIGSEGV, segmentation fault in native code",
	13: "SIGPIPE, wrote to a closed pipe",
	24: "SIGXCPU, processor time limit",
	25: "SIGXFSZ, file size limit",
	31: "SIGSYS, system call refused by the seccomp profile",
}
