// Package line runs the command lines of our programs: what an app of urfave/cli declares, without
// the part of that library that prints help by templates.
//
// In go an app with its commands and options, and the words of a command line. Out comes what the
// command's action returns, or the library's own help, word for word.
//
// The package must not call App.Run, nor anything else that leads to text/template. A template finds
// methods by their names, therefore the linker keeps every exported method of every type: 3 MB of
// multinicd, and 9 MB of the bridge (Go 1.26, 2026-12). A test compares each command with App.Run.
//
// Start reading at Run.
package line

import (
	"context"
	"errors"
	"flag"
	"io"
	"slices"

	"github.com/urfave/cli/v2"
)

// Run does what App.RunContext does for an app that uses no more of the library than ours do:
// commands, options with aliases and environment variables, Before, Action, OnUsageError. args[0] is
// the program's name. app must have its Writer and ErrWriter. Run completes app, which must not run a
// second time.
func Run(ctx context.Context, app *cli.App, args []string) error {
	app.HelpName = app.Name
	app.Commands = append(app.Commands, helpCommand(app.OnUsageError))
	for _, command := range app.Commands {
		command.HelpName = app.Name + " " + command.Name
	}
	app.Flags = append(app.Flags, cli.HelpFlag, cli.VersionFlag)
	root := &cli.Command{Name: app.Name, HelpName: app.Name, Flags: app.Flags, Subcommands: app.Commands, Before: app.Before, Action: app.Action, OnUsageError: app.OnUsageError}
	return run(app, root, &cli.Context{Context: ctx}, args[1:])
}

// run runs a command, or that one below it which the words name. The root's parent has no app.
func run(app *cli.App, command *cli.Command, parent *cli.Context, words []string) error {
	isRoot := parent.App == nil
	if !isRoot {
		complete(command)
	}
	set, err := parse(command, words)
	c := cli.NewContext(app, set, parent)
	c.Command = command
	if err != nil && command.OnUsageError != nil {
		err = command.OnUsageError(c, err, !isRoot)
	}
	if err != nil {
		return handled(c, err)
	}
	switch {
	case c.Bool("help"):
		return handled(c, help(c))
	case isRoot && c.Bool("version"):
		cli.ShowVersion(c)
		return nil
	case command.Before != nil:
		if err := command.Before(c); err != nil {
			return handled(c, err)
		}
	}
	if c.Args().Present() {
		if next := command.Command(c.Args().First()); next != nil {
			return run(app, next, c, c.Args().Tail())
		}
	}
	if command.Action == nil {
		return handled(c, help(c))
	}
	return handled(c, command.Action(c))
}

// complete gives a command what each has: the option --help, and help as a command.
func complete(command *cli.Command) {
	if command.HideHelp {
		return
	}
	if command.Command("help") == nil {
		command.Subcommands = append(command.Subcommands, helpCommand(command.OnUsageError))
	}
	withHelpFlag(command)
	for _, below := range command.Subcommands {
		if below.HelpName == "" {
			below.HelpName = command.HelpName + " " + below.Name
		}
	}
}

func withHelpFlag(command *cli.Command) {
	if !slices.Contains(command.Flags, cli.HelpFlag) {
		command.Flags = append(slices.Clone(command.Flags), cli.HelpFlag)
	}
}

// handled lets the app treat an error as it wishes to, and returns the error.
func handled(c *cli.Context, err error) error {
	if c.App.ExitErrHandler != nil {
		c.App.ExitErrHandler(c, err)
	}
	return err
}

// parse reads the options that stand before the first argument.
func parse(command *cli.Command, words []string) (*flag.FlagSet, error) {
	set := flag.NewFlagSet(command.Name, flag.ContinueOnError)
	for _, f := range command.Flags {
		if err := f.Apply(set); err != nil {
			return nil, err
		}
	}
	set.SetOutput(io.Discard)
	if command.SkipFlagParsing {
		words = append([]string{"--"}, words...)
	}
	if err := set.Parse(words); err != nil {
		return nil, err
	}
	return set, alias(command.Flags, set)
}

// alias gives an option that was given by one of its names the same value under the others.
func alias(flags []cli.Flag, set *flag.FlagSet) error {
	given := map[string]bool{}
	set.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for _, f := range flags {
		var by *flag.Flag
		for _, name := range f.Names() {
			if !given[name] {
				continue
			}
			if by != nil {
				return errors.New("Cannot use two forms of the same flag: " + name + " " + by.Name) // the library's words
			}
			by = set.Lookup(name)
		}
		if by == nil {
			continue
		}
		value := by.Value.String()
		if list, ok := by.Value.(cli.Serializer); ok {
			value = list.Serialize()
		}
		for _, name := range f.Names() {
			if !given[name] {
				if err := set.Set(name, value); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
