package plugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

type annotateOptions struct {
	Ref string
	// Pairs are KEY=VALUE to set and KEY- to remove.
	Pairs  []string
	Better []string
	// RequireApproval is true, false, or empty to leave it.
	RequireApproval string
	Change          changeOptions
}

func newModelAnnotateCmd(f *Factory, do func(context.Context, *Factory, annotateOptions) error) *cobra.Command {
	var o annotateOptions
	c := &cobra.Command{
		Use:   "annotate MODEL[:VERSION] [KEY=VALUE | KEY-]...",
		Short: "Set notes and settings of a model or a version",
		Long: `Set notes on a version or a model, as KEY=VALUE, or remove them, as KEY-. What is known of a version for good, such as
its metrics, cannot be changed.

Settings of a model: --better says of a metric whether higher or lower values are better, where its name does not tell;
--require-approval lets only approved versions be promoted to production.`,
		Example: `  kubectl ml model annotate house-prices:7 dataset-card=https://example.com/houses ticket-
  kubectl ml model annotate house-prices --better days_on_market=lower --require-approval`,
		Args: atLeastOne("MODEL"),
		RunE: func(c *cobra.Command, args []string) error {
			o.Ref, o.Pairs = args[0], args[1:]
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeRefs,
	}
	c.Flags().StringSliceVar(&o.Better, "better", nil, "METRIC=higher or METRIC=lower, METRIC= to forget it, as `pairs`")
	c.Flags().StringVar(&o.RequireApproval, "require-approval", "", "`true` or false: whether production takes approved versions only")
	c.Flags().Lookup("require-approval").NoOptDefVal = "true"
	o.Change.add(c)
	return c
}

func runModelAnnotate(ctx context.Context, f *Factory, o annotateOptions) error {
	set, unset, err := o.changes()
	if err != nil {
		return err
	}
	c, ref, err := o.Change.begin(f, o.Ref)
	if err != nil {
		return err
	}
	if ref.Alias != "" {
		v, err := registry.Resolve(ctx, c, ref)
		if err != nil {
			return err
		}
		ref = registry.Ref{Model: v.Model, Version: v.Version}
	}
	if ref.Version > 0 && (len(o.Better) > 0 || o.RequireApproval != "") {
		return fmt.Errorf("--better and --require-approval are settings of the model: write %s", ref.Model)
	}
	mark := o.Change.mark(ctx, f, c)
	if err := registry.Annotate(ctx, c, ref, set, unset, mark, o.Change.DryRun.asked()); err != nil {
		return err
	}
	return o.Change.changed(f, c, ref.Model, registry.Event{At: mark.At, By: mark.By, Action: registry.Annotated, Version: ref.Version, Comment: mark.Comment})
}

// changes are what is set and what is removed.
func (o *annotateOptions) changes() (set map[string]string, unset []string, err error) {
	set = map[string]string{}
	var errs []error
	for _, p := range o.Pairs {
		key, value, isSet := strings.Cut(p, "=")
		switch {
		case isSet && key != "":
			set[key] = value
		case !isSet && len(p) > 1 && strings.HasSuffix(p, "-"):
			unset = append(unset, strings.TrimSuffix(p, "-"))
		default:
			errs = append(errs, fmt.Errorf("%q: write KEY=VALUE to set, KEY- to remove", p))
		}
	}
	better, err := parseBetter(o.Better)
	errs = append(errs, err)
	for _, metric := range slices.Sorted(maps.Keys(better)) {
		if d := better[metric]; d != "" {
			set[registry.SetBetter+metric] = string(d)
		} else {
			unset = append(unset, registry.SetBetter+metric)
		}
	}
	if o.RequireApproval != "" {
		yes, err := strconv.ParseBool(o.RequireApproval)
		if err != nil {
			errs = append(errs, fmt.Errorf("--require-approval=%s: write true or false", o.RequireApproval))
		}
		set[registry.SetRequireApproval] = strconv.FormatBool(yes)
	}
	if len(set)+len(unset) == 0 && errors.Join(errs...) == nil {
		errs = append(errs, errors.New("nothing to set: write KEY=VALUE, KEY-, --better or --require-approval"))
	}
	return set, unset, errors.Join(errs...)
}

// parseBetter reads METRIC=higher and METRIC=lower; METRIC= is an empty direction.
func parseBetter(pairs []string) (map[string]registry.Direction, error) {
	out := map[string]registry.Direction{}
	var errs []error
	for _, p := range pairs {
		metric, d, ok := strings.Cut(p, "=")
		if !ok || metric == "" || !slices.Contains([]string{"", string(registry.Higher), string(registry.Lower)}, d) {
			errs = append(errs, fmt.Errorf("--better %q: write METRIC=higher or METRIC=lower", p))
			continue
		}
		out[metric] = registry.Direction(d)
	}
	return out, errors.Join(errs...)
}
