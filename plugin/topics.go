package plugin

import "github.com/spf13/cobra"

// topics are pages of help that belong to no verb.
func topics() []*cobra.Command {
	return []*cobra.Command{
		{
			Use:   "exit-codes",
			Short: "What the exit code tells",
			Long: `Verbs that follow a run (run, wait, retry, resume, status -w) or a rollout (deploy, rollout resume, promote, undo, status -w)
exit with how it ended, and progress -f with 0 or 3:

  0    the run succeeded, or the command did what it was asked
  1    an error: nothing can be said of the run; for diff: there are differences; for model
       check: there are problems
  2    for diff and model check: an error
  3    the run failed; a rollout failed, and was taken back unless it was rolling
  4    a time limit passed: the run's own (run --timeout), or that of waiting (wait --timeout)
  5    the run waits for an approval: kubectl ml resume RUN --approve STAGE;
       the rollout does: kubectl ml rollout promote NAME
  6    the run was cancelled, the rollout aborted by a person
  7    a gate was breached; for drift --exit-code: something alerts
  8    for drift --exit-code: nothing alerts, but something could not be judged
  130  interrupted: the run was left and goes on

Where a shell between turns every failure into 1, as kubectl does on Windows, read .state of -o json instead.`,
		},
		{
			Use:   "environment",
			Short: "The variables that kubectl ml reads, and those it gives to stages",
			Long: `Read:

  KUBECONFIG                the kubeconfig, as for kubectl
  KUBECTL_ML_DRIVER_IMAGE   the image of the driver for --detach and schedules
  KUBECTL_ML_PROMETHEUS     the Prometheus to ask: a URL, NAMESPACE/SERVICE[:PORT][/PATH], or none
  KUBECTL_ML_PROMETHEUS_*   who asks it directly: TOKEN, TOKEN_FILE, USER, PASSWORD, TENANT (X-Scope-OrgID), and files
                            in PEM: CA, CERT, KEY; or SECRET, a Secret [NAMESPACE/]NAME that holds them
  XDG_STATE_HOME            where the Prometheus that was found is kept, by context
  KUBECTL_EXTERNAL_DIFF     the program that compares for diff
  NO_COLOR                  no colours
  CLICOLOR_FORCE            colours even where the output is no terminal
  MLFLOW_TRACKING_URI       the server of model import mlflow://..., with MLFLOW_TRACKING_TOKEN, or
                            MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD
  CI                        never ask and never draw a live tree

Given to stages:

  ML_PIPELINE ML_RUN ML_STAGE   the names
  ML_PARAM_NAME                 each parameter, its name in capitals; lists and maps as JSON
  /ml/params.json               all parameters with their types
  /ml/src                       the packaged source folder, read-only

Taken from stages: at most 4 KiB of JSON in /dev/termination-log,
{"metrics": {...}, "model": {"uri", "digest", "size", "format"}, "data": {...}, "outputs": {...}}, and while they run
progress lines such as ::ml:: {"step": 10, "total": 100, "loss": 0.4}`,
		},
	}
}
