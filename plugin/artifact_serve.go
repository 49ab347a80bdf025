package plugin

import (
	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/artifact"
)

// newArtifactServeCmd is what runs in the pods that read and write pvc:// URIs.
func newArtifactServeCmd(f *Factory) *cobra.Command {
	return &cobra.Command{
		Use:     artifact.ServeVerb + " REQUEST",
		Short:   "Serve a volume from inside of a pod",
		Long:    "Serve the volume of this pod to the client that started it. Not for people.",
		Example: "  kubectl-ml " + artifact.ServeVerb + ` '{"verb":"wait"}'`,
		Hidden:  true,
		Args:    exactlyOne("request"),
		RunE: func(c *cobra.Command, args []string) error {
			if code := artifact.Serve(c.Context(), args[0], f.In, f.Out, f.ErrOut); code != ExitOK {
				return &CodeError{Code: code}
			}
			return nil
		},
	}
}
