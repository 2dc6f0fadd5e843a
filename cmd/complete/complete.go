// Package complete says how a command line may go on: the shells' completions ask it.
//
// In go an app of urfave/cli and the words of a command line, the last of which is not complete. Out
// come lines for the scripts in packaging/completion, a candidate each, with what it is for behind a
// tab. A line ":files" says that a name of a file belongs there.
//
// It runs none of the commands. Values of options come from who knows them (Values).
//
// Start reading at Command.
package complete

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"multinicd/internal/terminal"
)

// Values gives what may stand behind an option of a command, or as an argument of it, where option
// is "". path are the names of the commands, without the program's.
type Values func(ctx context.Context, path []string, option string) []string

// Files is a value that says: the name of a file.
const Files = ":files"

// Command is the hidden command that the scripts call.
func Command(values Values) *cli.Command {
	return &cli.Command{Name: "__complete", Hidden: true, HideHelp: true, SkipFlagParsing: true, Action: func(c *cli.Context) error {
		for _, line := range Lines(c.Context, c.App, c.Args().Slice(), values) {
			if _, err := fmt.Fprintln(c.App.Writer, line); err != nil {
				return err
			}
		}
		return nil
	}}
}

// Lines are the candidates for the last of the words, sorted.
func Lines(ctx context.Context, app *cli.App, words []string, values Values) []string {
	if len(words) == 0 {
		words = []string{""}
	}
	at := place{flags: app.Flags, commands: app.Commands}
	last := words[len(words)-1]
	for _, word := range words[:len(words)-1] {
		at.pass(word)
	}
	switch {
	case at.option != "":
		return chosen(values(ctx, at.path, at.option), last)
	case strings.HasPrefix(last, "-"):
		return chosen(at.options(), last)
	case len(at.commands) > 0 && !at.arguments:
		return chosen(at.names(), last)
	}
	return chosen(values(ctx, at.path, ""), last)
}

// place is where a command line has come to.
type place struct {
	path      []string
	flags     []cli.Flag
	commands  []*cli.Command
	option    string // that waits for its value; "": none does
	arguments bool   // there was a word that is neither an option nor a command
}

func (p *place) pass(word string) {
	switch {
	case p.option != "":
		p.option = ""
	case strings.HasPrefix(word, "-"):
		if f := find(p.flags, strings.TrimLeft(word, "-")); f != nil {
			p.option = f.Names()[0]
		}
	default:
		if word == "help" && !p.arguments {
			return // it names what to help with
		}
		i := slices.IndexFunc(p.commands, func(c *cli.Command) bool { return c.HasName(word) })
		switch {
		case i >= 0:
			p.path, p.flags, p.commands = append(p.path, p.commands[i].Name), p.commands[i].Flags, p.commands[i].Subcommands
		default:
			p.arguments = true
		}
	}
}

// find gives an option that takes a value.
func find(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		takes, ok := f.(cli.DocGenerationFlag)
		if ok && takes.TakesValue() && slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func (p *place) options() []string {
	out := []string{"--help\tshow help"}
	for _, f := range p.flags {
		if v, ok := f.(cli.VisibleFlag); ok && !v.IsVisible() {
			continue
		}
		usage := ""
		if d, ok := f.(cli.DocGenerationFlag); ok {
			usage = d.GetUsage()
		}
		out = append(out, described("--"+f.Names()[0], usage))
	}
	return out
}

func (p *place) names() []string {
	var out []string
	for _, c := range p.commands {
		if !c.Hidden && c.Name != "help" { // which cli adds, once it runs
			out = append(out, described(c.Name, c.Usage))
		}
	}
	return append(out, "help\tshow help")
}

// described is a candidate with the beginning of what it is for.
func described(name, usage string) string {
	usage, _, _ = strings.Cut(strings.ReplaceAll(usage, "`", ""), ";")
	return name + "\t" + terminal.Line(usage, 70)
}

// chosen are those that begin as the word does, sorted. Files counts alone.
func chosen(all []string, word string) []string {
	if slices.Contains(all, Files) {
		return []string{Files}
	}
	out := slices.DeleteFunc(slices.Clone(all), func(c string) bool { return !strings.HasPrefix(c, word) })
	slices.SortFunc(out, func(a, b string) int { return cmp.Compare(a, b) })
	return slices.Compact(out)
}
