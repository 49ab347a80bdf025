package plugin

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// The help texts are laid out here and not by cobra's templates, which would bring text/template along
// (docs/decisions/0007-no-go-template.md), and which show kubectl's twenty flags with every verb.

// widestHelp is where help is wrapped on a wide terminal.
const widestHelp = 120

// helper prints help.
type helper struct {
	f *Factory
	// verbs are in the order in which they are used.
	verbs []*cobra.Command
}

// columns is the width of the help, 0 for texts as they stand.
func (h helper) columns() int { return min(width(h.f.Out), widestHelp) }

func (h helper) help(c *cobra.Command, _ []string) {
	text := c.Long
	if text == "" {
		text = c.Short
	}
	h.f.print("%s\n", wrapText(text, h.columns()))
	if c.Runnable() || c.HasAvailableSubCommands() {
		h.f.print("\n")
		_ = h.usageTo(h.f.Out, c)
	}
}

func (h helper) usage(c *cobra.Command) error { return h.usageTo(c.OutOrStderr(), c) }

func (h helper) usageTo(w io.Writer, c *cobra.Command) error {
	var b strings.Builder
	if c.HasParent() {
		fmt.Fprintf(&b, "Usage:\n  %s\n", c.UseLine())
	} else {
		fmt.Fprintf(&b, "Usage:\n  %s VERB [flags]\n", c.CommandPath())
	}
	if len(c.Aliases) > 0 {
		fmt.Fprintf(&b, "\nAliases:\n  %s\n", c.NameAndAliases())
	}
	if c.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", c.Example)
	}
	if c.HasParent() {
		commands(&b, "Subcommands:", c.Commands())
	} else {
		h.groups(&b, c)
	}
	if flags := c.LocalNonPersistentFlags(); c.HasParent() && flags.HasAvailableFlags() {
		fmt.Fprintf(&b, "\nFlags:\n%s", flags.FlagUsagesWrapped(h.columns()))
	}
	root := c.Root().CommandPath()
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n\"%s VERB --help\" says more of a verb.", c.CommandPath())
	}
	fmt.Fprintf(&b, "\n\"%s options\" lists the flags of every verb, such as -n and --context.\n", root)
	_, err := io.WriteString(w, b.String())
	return err
}

// groups lists the verbs by what one does with them, then the pages of help.
func (h helper) groups(b *strings.Builder, root *cobra.Command) {
	for _, g := range root.Groups() {
		var in []*cobra.Command
		for _, c := range h.verbs {
			if c.GroupID == g.ID {
				in = append(in, c)
			}
		}
		commands(b, g.Title, in)
	}
	var other, pages []*cobra.Command
	for _, c := range h.verbs {
		if c.GroupID == "" {
			other = append(other, c)
		}
	}
	for _, c := range root.Commands() {
		if c.IsAdditionalHelpTopicCommand() {
			pages = append(pages, c)
		}
	}
	commands(b, "Other:", other)
	commands(b, "Read with \""+root.CommandPath()+" help PAGE\":", pages)
}

// commandPadding fits the longest verb.
const commandPadding = 12

func commands(b *strings.Builder, title string, list []*cobra.Command) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", title)
	for _, c := range list {
		if !c.Hidden {
			fmt.Fprintf(b, "  %-*s %s\n", commandPadding, c.Name(), c.Short)
		}
	}
}

// newHelpCmd is cobra's help verb, but an unknown verb is an error.
func newHelpCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "help [VERB | PAGE]",
		Short: "Say more of a verb, or show a page of help",
		Example: `  kubectl ml help run
  kubectl ml help exit-codes`,
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownVerb(c.Root(), args)
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			about, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, sub := range about.Commands() {
				if !sub.Hidden && strings.HasPrefix(sub.Name(), prefix) {
					names = append(names, sub.Name()+"\t"+sub.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// newOptionsCmd shows the flags that verbs share, as kubectl options does.
func newOptionsCmd(f *Factory) *cobra.Command {
	return &cobra.Command{
		Use:   "options",
		Short: "List the flags that every verb takes",
		Long: `The flags below are those of kubectl. Every verb takes them, after its name: kubectl itself reads no flags that
stand before the name of a plugin.`,
		Example: `  kubectl ml options
  kubectl ml runs -n team-a
  kubectl ml status --context staging`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.print("Every verb takes these flags of kubectl, after its name:\n\n%s", c.Root().PersistentFlags().FlagUsagesWrapped(min(width(f.Out), widestHelp)))
			return nil
		},
	}
}

// wrapText breaks paragraphs into lines of at most width cells, 0 for as they stand. Lines that begin with a blank
// stay as they are.
func wrapText(text string, width int) string {
	if width <= 0 {
		return text
	}
	var out []string
	line := ""
	flush := func() {
		if line != "" {
			out = append(out, line)
		}
		line = ""
	}
	for row := range strings.SplitSeq(text, "\n") {
		if row == "" || row[0] == ' ' {
			flush()
			out = append(out, row)
			continue
		}
		for word := range strings.FieldsSeq(row) {
			if line != "" && len(line)+1+len(word) > width {
				flush()
			}
			line = strings.TrimPrefix(line+" "+word, " ")
		}
		// A line that ends a sentence with a colon begins a list.
		if strings.HasSuffix(row, ":") {
			flush()
		}
	}
	flush()
	return strings.Join(out, "\n")
}
