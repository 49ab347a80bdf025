package plugin

import "github.com/spf13/cobra"

// verbs are all commands, each with the function that does its work.
func (f *Factory) verbs() []*cobra.Command {
	return []*cobra.Command{
		newInitCmd(f, runInit),
		newLintCmd(f, runLint),
		newDiffCmd(f, runDiff),
		newApplyCmd(f, runApply),
		newRunCmd(f, runRun),
		newResumeCmd(f, runResume),
		newRetryCmd(f, runRetry),
		newCancelCmd(f, runCancel),
		newScheduleCmd(f),
		newDeleteCmd(f, runDelete),
		newRunsCmd(f, runRuns),
		newStatusCmd(f, runStatus),
		newWaitCmd(f, runWait),
		newLogsCmd(f, runLogs),
		newProgressCmd(f, runProgress),
		newJobsCmd(f, runJobs),
		newWhyCmd(f, runWhy),
		newLatencyCmd(f, runLatency),
		newMonitorCmd(f, runMonitor, runSources),
		newJobCmd(f, runJob),
		newTopCmd(f, runTop),
		newNodesCmd(f, runNodes),
		newSuspendCmd(f, runSuspendWork),
		newScaleCmd(f, runScale),
		newRegisterCmd(f, runRegister),
		newModelsCmd(f, runModels),
		newModelCmd(f),
		newAuditCmd(f, runAudit),
		newArtifactServeCmd(f),
		newDeployCmd(f, runDeploy),
		newRolloutCmd(f),
		newRolloutsCmd(f, runRolloutList),
		newDriftCmd(f, runDrift),
		newVersionCmd(f, runVersion),
		newCompletionCmd(f),
		newOptionsCmd(f),
	}
}
