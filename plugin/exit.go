package plugin

import (
	"errors"

	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

// The exit codes, as `kubectl ml help exit-codes` documents them.
const (
	ExitOK        = 0
	ExitError     = 1
	ExitDiffError = 2
	ExitFailed    = 3
	ExitTimeout   = 4
	ExitApproval  = 5
	ExitCancelled = 6
	ExitGate      = 7
	// ExitInconclusive says that too little is known to judge.
	ExitInconclusive = 8
	// ExitInterrupted is what shells give for SIGINT: the run was left, not ended.
	ExitInterrupted = 130
)

// CodeError is an error with an exit code of its own. Err may be nil when everything is said already.
type CodeError struct {
	Code int
	Err  error
}

func (e *CodeError) Error() string {
	if e.Err == nil {
		return "exit status"
	}
	return e.Err.Error()
}

func (e *CodeError) Unwrap() error { return e.Err }

// exitFor is the verdict of a run as an exit code; nil for success.
func exitFor(s run.State) error {
	codes := map[run.State]int{
		run.Failed: ExitFailed, run.TimedOut: ExitTimeout, run.AwaitingApproval: ExitApproval,
		run.Cancelled: ExitCancelled, run.GateFailed: ExitGate,
	}
	if code, ok := codes[s]; ok {
		return &CodeError{Code: code}
	}
	return nil
}

// waited gives an error of waiting its exit code.
func waited(err error) error {
	if errors.Is(err, run.ErrWaited) {
		return &CodeError{Code: ExitTimeout, Err: err}
	}
	return err
}
