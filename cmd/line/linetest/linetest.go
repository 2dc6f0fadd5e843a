// Package linetest holds package line to what urfave/cli's own Run does with the same app.
//
// In go a function that makes the app, and command lines. A difference fails the test.
//
// It is for tests only, and must not be linked into a program: it calls App.Run, whose templates
// make programs a fifth larger.
//
// Start reading at Same.
package linetest

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"multinicd/cmd/line"
)

// Same runs every way to ask for help about each command of the app, and lines, in both ways. app
// makes the app anew. The actions of lines run, too.
func Same(t *testing.T, app func() *cli.App, lines ...string) {
	t.Helper()
	first := app()
	plain(t, first)
	lines = append(lines, "", "help", "h", "--help", "-h", "--version", "-v", "help nope", "nope", "--nope")
	as := map[string]string{}
	for _, path := range paths(nil, first.Commands) {
		lines = append(lines, path+" --help", path+" -h", path+" help", path+" h", path+" --nope", path+" help nope")
		top, last, below := cutLast(path)
		switch {
		case below:
			lines = append(lines, top+" help "+last, top+" nope")
		case len(first.Command(path).Subcommands) > 0:
			// of a group the library prints half a page: its template ends at a nil (2.27.7)
			as["help "+path] = path + " --help"
		default:
			lines = append(lines, "help "+path)
		}
	}
	for _, words := range lines {
		as[words] = words
	}
	for words, like := range as {
		ours, theirs := app(), app()
		got := said(ours, func() error {
			return line.Run(t.Context(), ours, append([]string{ours.Name}, strings.Fields(words)...))
		})
		want := said(theirs, func() error {
			return theirs.RunContext(t.Context(), append([]string{theirs.Name}, strings.Fields(like)...))
		})
		if got != want {
			t.Errorf("%s %s: we print\n%s\nthe library prints for %s\n%s", ours.Name, words, got, like, want)
		}
	}
}

// paths are the words that lead to each command.
func paths(above []string, commands []*cli.Command) []string {
	var all []string
	for _, c := range commands {
		if c.SkipFlagParsing {
			continue // takes all words as they are
		}
		path := append(above[:len(above):len(above)], c.Name)
		all = append(append(all, strings.Join(path, " ")), paths(path, c.Subcommands)...)
	}
	return all
}

func cutLast(path string) (above, last string, ok bool) {
	i := strings.LastIndex(path, " ")
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

func said(app *cli.App, run func() error) string {
	var out, wrong strings.Builder
	app.Writer, app.ErrWriter = &out, &wrong
	if app.ExitErrHandler == nil {
		app.ExitErrHandler = func(*cli.Context, error) {} // the library's own ends the process
	}
	err := run()
	var code cli.ExitCoder
	return fmt.Sprintf("%s%serror %v, exit code %v\n", &out, &wrong, err, errors.As(err, &code) && code.ExitCode() != 0)
}

// plain fails the test where an app asks for something of the library that line does not do.
func plain(t *testing.T, app *cli.App) {
	t.Helper()
	only(t, app.Name, *app, "Name", "Usage", "Version", "Description", "Flags", "Commands", "Before", "Action", "OnUsageError", "ExitErrHandler", "Writer", "ErrWriter", "Reader")
	var walk func(commands []*cli.Command)
	walk = func(commands []*cli.Command) {
		for _, c := range commands {
			only(t, c.Name, *c, "Name", "Usage", "ArgsUsage", "Description", "Flags", "Subcommands", "Before", "Action", "OnUsageError", "Hidden", "HideHelp", "SkipFlagParsing")
			options(t, c.Name, c.Flags)
			walk(c.Subcommands)
		}
	}
	options(t, app.Name, app.Flags)
	walk(app.Commands)
}

func options(t *testing.T, command string, flags []cli.Flag) {
	t.Helper()
	for _, f := range flags {
		v := reflect.ValueOf(f).Elem()
		for _, field := range []string{"Required", "Category", "Action"} {
			if at := v.FieldByName(field); at.IsValid() && !at.IsZero() {
				t.Errorf("the option --%s of %s has a field %s, which package line does not know", f.Names()[0], command, field)
			}
		}
	}
}

func only(t *testing.T, name string, of any, fields ...string) {
	t.Helper()
	v := reflect.ValueOf(of)
	for i := range v.NumField() {
		if field := v.Type().Field(i); field.IsExported() && !v.Field(i).IsZero() && !slices.Contains(fields, field.Name) {
			t.Errorf("%s has a field %s, which package line does not know", cmp.Or(name, "the app"), field.Name)
		}
	}
}
