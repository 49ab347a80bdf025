package plugin

import "github.com/spf13/cobra"

// newModelCmd groups what is done with one model or version.
func newModelCmd(f *Factory) *cobra.Command {
	c := &cobra.Command{
		Use:     "model VERB",
		Short:   "Show, compare, judge and move the versions of a model",
		GroupID: groupModel,
		Long: `A model is a name with numbered versions. A version is kept for good: its artifact with digest and size, metrics,
parameters, data, code, image, and the run that made it. Aliases such as production point at one version each.

Verbs take a version as MODEL:N, MODEL@ALIAS or MODEL@latest; MODEL alone is its latest. "kubectl ml models" lists.`,
		Example: `  kubectl ml model show house-prices@production
  kubectl ml model diff house-prices:7 house-prices@production
  kubectl ml model history house-prices`,
		Args:                       onlyVerbs,
		SuggestionsMinimumDistance: 2,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(modelVerbs(f)...)
	return c
}

// modelVerbs are the verbs of one model: those that read, then those that change.
func modelVerbs(f *Factory) []*cobra.Command {
	return []*cobra.Command{
		newModelShowCmd(f, runModelShow),
		newModelDiffCmd(f, runModelDiff),
		newModelHistoryCmd(f, runModelHistory),
		newModelLineageCmd(f, runModelLineage),
		newModelPullCmd(f, runModelPull),
		newModelPushCmd(f, runModelPush),
		newModelVerifyCmd(f, runModelVerify),
		newModelAliasCmd(f, runModelAlias),
		newModelPromoteCmd(f, runModelPromote),
		newModelRollbackCmd(f, runModelRollback),
		newModelApproveCmd(f, runModelApprove),
		newModelRejectCmd(f, runModelReject),
		newModelAnnotateCmd(f, runModelAnnotate),
		newModelArchiveCmd(f, runModelArchive),
		newModelDeleteCmd(f, runModelDelete),
		newModelExportCmd(f, runModelExport),
		newModelImportCmd(f, runModelImport),
		newModelCheckCmd(f, runModelCheck),
	}
}
