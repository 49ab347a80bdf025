package plugin

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// noArgs is cobra.NoArgs in words that fit a verb.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if c.Flags().Lookup("filename") != nil {
		return fmt.Errorf("%s takes no arguments: name a file with -f %s", c.Name(), args[0])
	}
	return fmt.Errorf("%s takes no arguments, but was given: %s", c.Name(), strings.Join(args, " "))
}

// atMostOne takes one argument, which is a what, or none.
func atMostOne(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > 1 {
			return fmt.Errorf("%s takes one %s, but was given %d: %s", c.Name(), what, len(args), strings.Join(args, " "))
		}
		return nil
	}
}

// exactlyOne takes one argument, which is a what.
func exactlyOne(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s needs a %s", c.Name(), what)
		}
		return atMostOne(what)(c, args)
	}
}

// atLeastOne takes any number of arguments but none.
func atLeastOne(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s needs at least one %s", c.Name(), what)
		}
		return nil
	}
}
