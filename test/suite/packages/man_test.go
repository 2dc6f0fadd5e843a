package packages

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/internal/config"
	"multinicd/test/bed"
)

//go:generate go test . -run TestTheManPagesAreUpToDate -update

var update = flag.Bool("update", false, "write the generated parts of the man pages anew")

func TestTheManPagesAreUpToDate(t *testing.T) {
	program := bed.Build(t, "./cmd/multinicd")
	commands, options := help(t, program)
	bridge := commandsOf(t, bed.Build(t, "./cmd/bridge"), "multinic-bridge")
	for _, c := range []struct{ page, mark, want string }{
		{"packaging/man/multinicd.8", "commands", commands},
		{"packaging/man/multinicd.8", "options", options},
		{"packaging/man/multinic-bridge.8", "commands", bridge},
		{"packaging/man/multinicd.toml.5", "keys", keys(string(config.Reference()))},
	} {
		path := bed.Path(t, c.page)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		begin, end := `.\" `+c.mark+": written by make generate\n", `.\" end of `+c.mark+"\n"
		head, rest, ok := strings.Cut(string(text), begin)
		_, tail, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has lost its marks %q and %q", c.page, begin, end)
		}
		want := head + begin + c.want + end + tail
		switch {
		case *update && want != string(text):
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		case !*update:
			if diff := cmp.Diff(want, string(text)); diff != "" {
				t.Errorf("%s is stale, run make generate (-want +got):\n%s", c.page, diff)
			}
		}
	}
}

// help turns what `multinicd help` and `multinicd help COMMAND` print into two lists for a man page.
func help(t *testing.T, program string) (commands, options string) {
	t.Helper()
	var c, o strings.Builder
	text := output(t, program, "help")
	for _, entry := range section(text, "COMMANDS") {
		name, usage := entry[0], entry[1]
		if name == "help, h" {
			continue
		}
		fmt.Fprintf(&c, ".SS multinicd %s\n%s\n", name, roff(sentence(usage)))
		c.WriteString(flags(section(output(t, program, "help", name), "OPTIONS")))
	}
	o.WriteString(flags(section(text, "GLOBAL OPTIONS")))
	return c.String(), o.String()
}

// commandsOf turns what the program says of the commands below some into a list for a man page: those
// that have commands below them are only the way there.
func commandsOf(t *testing.T, program, name string, below ...string) string {
	t.Helper()
	var b strings.Builder
	for _, entry := range section(output(t, program, append(slices.Clone(below), "--help")...), "COMMANDS") {
		if entry[0] == "help, h" {
			continue
		}
		path := append(slices.Clone(below), entry[0])
		text := output(t, program, append(slices.Clone(path), "--help")...)
		if more := section(text, "COMMANDS"); len(more) > 0 && !strings.Contains(text, "\nDESCRIPTION:") || len(more) > 1 {
			b.WriteString(commandsOf(t, program, name, path...))
			continue
		}
		_, takes, _ := strings.Cut(paragraph(text, "USAGE"), "[command options]")
		takes = strings.TrimSuffix(takes, " [arguments...]") // of a command that has none
		fmt.Fprintf(&b, ".SS %s\n%s\n", argument(name+" "+strings.Join(path, " ")+takes), roff(sentence(entry[1])))
		if about := paragraph(text, "DESCRIPTION"); about != "" {
			b.WriteString(".PP\n" + roff(about) + "\n")
		}
		b.WriteString(flags(section(text, "OPTIONS")))
	}
	return b.String()
}

// paragraph is the text under a heading of the program's help.
func paragraph(text, heading string) string {
	_, after, _ := strings.Cut(text, "\n"+heading+":\n")
	about, _, _ := strings.Cut(after, "\n\n")
	return strings.Join(strings.Fields(about), " ")
}

func flags(entries [][2]string) string {
	var b strings.Builder
	for _, e := range entries {
		if e[0] == "--help, -h" {
			continue
		}
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", argument(e[0]), roff(sentence(e[1])))
	}
	return b.String()
}

// section gives the entries under a heading of the program's help: what it is, and what it is for.
func section(text, heading string) [][2]string {
	var all [][2]string
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == heading+":":
			inside = true
		case line != "" && line[0] != ' ':
			inside = false
		case inside && strings.TrimSpace(line) != "":
			if parts := regexp.MustCompile(` {2,}`).Split(strings.TrimSpace(line), 2); len(parts) == 2 {
				all = append(all, [2]string{parts[0], parts[1]})
			}
		}
	}
	return all
}

// keys turns the commented reference of multinicd.toml into a list: its comments stand above the keys they are for.
func keys(reference string) string {
	var b strings.Builder
	var comment, names []string
	flush := func() {
		for i, name := range names {
			macro := ".TP"
			if i > 0 {
				macro = ".TQ"
			}
			fmt.Fprintf(&b, "%s\n.B %s\n", macro, argument(name))
		}
		if len(names) > 0 {
			b.WriteString(roff(strings.Join(comment, "\n")) + "\n")
		}
		comment, names = nil, nil
	}
	for line := range strings.Lines(reference) {
		line = strings.TrimRight(line, "\n")
		text, isComment := strings.CutPrefix(line, "#")
		switch {
		case line == "":
			if len(names) > 0 {
				flush()
			}
			comment = nil
		case strings.HasPrefix(line, "["):
			flush()
			fmt.Fprintf(&b, ".SS %s\n", line)
		case isComment && strings.HasPrefix(text, " "):
			if len(names) > 0 {
				flush()
			}
			comment = append(comment, text[1:])
		case isComment && strings.HasPrefix(text, ":"): // for editors
		case isComment:
			names = append(names, text)
		}
	}
	flush()
	return b.String()
}

func sentence(s string) string {
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// roff escapes text for a man page.
func roff(s string) string {
	return regexp.MustCompile(`(?m)^([.'])`).ReplaceAllString(strings.ReplaceAll(s, `\`, `\e`), `\&$1`)
}

// argument escapes what stands on the line of a macro, as something to be typed.
func argument(s string) string {
	return strings.NewReplacer(`\`, `\e`, `-`, `\-`, `"`, `\(dq`).Replace(s)
}

func TestTheManPagesHaveNoMistakes(t *testing.T) {
	tools(t)
	for _, page := range []string{"multinicd.8", "multinicd.toml.5", "multinic-bridge.8"} {
		cmd := exec.CommandContext(t.Context(), "groff", "-man", "-Tutf8", "-ww", "-z", bed.Path(t, "packaging/man/"+page))
		if out, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
			t.Errorf("groff says of %s: %v\n%s", page, err, out)
		}
	}
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).Output()
	if err != nil {
		t.Fatalf("running %s %s: %v", name, strings.Join(args, " "), err)
	}
	return string(out)
}
