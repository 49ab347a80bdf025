package plugin

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

func addYes(c *cobra.Command, yes *bool) {
	c.Flags().BoolVarP(yes, "yes", "y", false, "do not ask")
}

// changed prints a run after a change.
func (f *Factory) changed(o output, r run.Run, what string, d dryRun) error {
	if !o.table() {
		return f.one(o, runItem(r))
	}
	f.print("run/%s %s%s\n", r.Name, what, d.suffix())
	return nil
}

// confirm asks a person before something is lost. Scripts say --yes.
func (f *Factory) confirm(question string, yes bool) error {
	if yes {
		return nil
	}
	if !f.Interactive() {
		return fmt.Errorf("there is no terminal to ask on: %s\n  do it without being asked with: --yes", question)
	}
	_, _ = fmt.Fprintf(f.ErrOut, "%s [y/N] ", clean(question))
	var answer string
	_, _ = fmt.Fscanln(f.In, &answer)
	if a := strings.ToLower(answer); a != "y" && a != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}
