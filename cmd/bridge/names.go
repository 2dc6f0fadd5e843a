package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"multinicd/cmd/line"
)

// withNames is an action that takes names of nodes as arguments. Options may stand behind a name, as
// with kubectl. The parser of the command line ends at the first argument, so they are read here.
func withNames(action func(c *cli.Context, names []string) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		var names []string
		for rest := c.Args().Slice(); len(rest) > 0; rest = rest[1:] {
			word := rest[0]
			if !strings.HasPrefix(word, "-") {
				names = append(names, word)
				continue
			}
			name, value, given := strings.Cut(strings.TrimLeft(word, "-"), "=")
			if name == "help" || name == "h" {
				return line.Command(c)
			}
			i := slices.IndexFunc(c.Command.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
			if i < 0 {
				return fmt.Errorf("%w: there is no option %q; see %s --help", errUsage, word, c.Command.HelpName)
			}
			if takes, ok := c.Command.Flags[i].(cli.DocGenerationFlag); !given && ok && takes.TakesValue() {
				if rest = rest[1:]; len(rest) == 0 {
					return fmt.Errorf("%w: %s needs an argument; see %s --help", errUsage, word, c.Command.HelpName)
				}
				value = rest[0]
			} else if !given {
				value = "true"
			}
			if err := c.Set(c.Command.Flags[i].Names()[0], value); err != nil {
				return fmt.Errorf("%w: reading %s: %w; see %s --help", errUsage, word, err, c.Command.HelpName)
			}
		}
		for _, name := range names {
			if err := checkNode(name); err != nil {
				return err
			}
		}
		return action(c, names)
	}
}
