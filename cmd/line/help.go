package line

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

func helpCommand(wrong cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{Name: "help", Aliases: []string{"h"}, Usage: "Shows a list of commands or help for one command", ArgsUsage: "[command]", Action: help, OnUsageError: wrong}
}

// help prints the help that a command line asks for: PROGRAM help, PROGRAM help COMMAND, PROGRAM
// COMMAND help, PROGRAM COMMAND --help.
func help(c *cli.Context) error {
	args := c.Args()
	if c.Command.Name == "help" {
		c = c.Lineage()[1]
	}
	switch {
	case args.First() != "":
		return ofCommand(c, args.First())
	case c.Lineage()[1].App == nil:
		return App(c)
	case len(c.Command.Subcommands) == 1:
		return printed(c, func(p *page) { p.command(c.Command, false) })
	}
	return Command(c)
}

// App prints the help of the program. It is an action.
func App(c *cli.Context) error {
	return printed(c, func(p *page) { p.app(c.App) })
}

// Command prints the help of the command that runs, with the commands below it.
func Command(c *cli.Context) error {
	return printed(c, func(p *page) { p.command(c.Command, true) })
}

// ofCommand prints the help of a command that has not run, by its name.
func ofCommand(c *cli.Context, name string) error {
	commands := c.App.Commands
	if c.Command.Subcommands != nil {
		commands = c.Command.Subcommands
	}
	for _, command := range commands {
		if !command.HasName(name) {
			continue
		}
		if len(command.Subcommands) != 0 && command.Command("help") == nil && name != "help" {
			command.Subcommands = append(command.Subcommands, helpCommand(command.OnUsageError))
		}
		withHelpFlag(command)
		return printed(c, func(p *page) { p.command(command, len(command.Subcommands) > 0) })
	}
	return cli.Exit(fmt.Sprintf("No help topic for '%v'", name), 3)
}

func printed(c *cli.Context, write func(*page)) error {
	table := tabwriter.NewWriter(c.App.Writer, 1, 8, 2, ' ', 0)
	write(&page{table})
	return table.Flush()
}

// page is written as the library's templates write.
type page struct{ w io.Writer }

func (p *page) say(words ...string) {
	for _, w := range words {
		_, _ = io.WriteString(p.w, w) // a writer that is closed takes no help
	}
}

func (p *page) app(app *cli.App) {
	p.name(app.HelpName, app.Usage)
	p.say("\n\nUSAGE:\n   ", app.HelpName, " [global options] command [command options]")
	p.say("\n\nVERSION:\n   ", app.Version)
	p.description(app.Description)
	p.commands(app.Commands)
	p.options("GLOBAL OPTIONS", app.Flags)
	p.say("\n")
}

func (p *page) command(command *cli.Command, below bool) {
	p.name(command.HelpName, command.Usage)
	p.say("\n\nUSAGE:\n   ", command.HelpName)
	if len(command.VisibleFlags()) > 0 {
		p.say(" [command options]")
	}
	if command.ArgsUsage != "" {
		p.say(" ", command.ArgsUsage)
	}
	p.description(command.Description)
	if below {
		p.commands(command.Subcommands)
	}
	p.options("OPTIONS", command.Flags)
	p.say("\n")
}

func (p *page) name(name, usage string) {
	p.say("NAME:\n   ", name)
	if usage != "" {
		p.say(" - ", hang(usage, len(name)+6))
	}
}

func (p *page) description(text string) {
	if text != "" {
		p.say("\n\nDESCRIPTION:\n   ", hang(text, 3))
	}
}

func (p *page) commands(all []*cli.Command) {
	var shown []*cli.Command
	column := 0
	for _, c := range all {
		if !c.Hidden {
			shown, column = append(shown, c), max(column, len(strings.Join(c.Names(), ", "))+5)
		}
	}
	if len(shown) == 0 {
		return
	}
	p.say("\n\nCOMMANDS:")
	for _, c := range shown {
		names := strings.Join(c.Names(), ", ")
		p.say("\n   ", names, strings.Repeat(" ", column-len(names)-3), hang(c.Usage, column))
	}
}

func (p *page) options(title string, all []cli.Flag) {
	var shown []cli.Flag
	for _, f := range all {
		if v, ok := f.(cli.VisibleFlag); ok && v.IsVisible() {
			shown = append(shown, f)
		}
	}
	if len(shown) == 0 {
		return
	}
	p.say("\n\n", title, ":")
	for _, f := range shown {
		p.say("\n   ", hang(f.String(), 6))
	}
}

// hang indents all lines except the first.
func hang(text string, column int) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines[1:] {
		if line != "" {
			lines[i+1] = strings.Repeat(" ", column) + line
		}
	}
	return strings.Join(lines, "\n")
}
