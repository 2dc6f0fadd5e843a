package packages

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"multinicd/test/bed"
)

// step is a block of commands on a page of docs/, and what the page says they print: lines in which "..." stands for
// anything. They may print more.
type step struct{ script, want string }

// steps gives those under a heading of a page: its blocks of sh, each with the block of text that follows.
func steps(t *testing.T, page, heading string) []step {
	t.Helper()
	text, err := os.ReadFile(bed.Path(t, page))
	if err != nil {
		t.Fatal(err)
	}
	_, text2, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no section %q", page, heading)
	}
	text2, _, _ = strings.Cut(text2, "\n## ")
	var all []step
	for _, m := range regexp.MustCompile("(?s)```(sh|text)\n(.*?)```\n").FindAllStringSubmatch(text2, -1) {
		if m[1] == "sh" {
			all = append(all, step{script: m[2]})
		} else {
			all[len(all)-1].want = m[2]
		}
	}
	return all
}

// server stands for the web server of the pages; the repositories are in that folder of the host, and made for it.
const server = "https://packages.example.org/multinicd"
const folder = "file:///srv/multinicd"

// follow runs a step on the host, as it stands on the page but for the server. edit changes what only a test has to.
func (n *node) follow(s step, edit ...string) string {
	n.Helper()
	script := strings.NewReplacer(append(edit, server, folder)...).Replace(s.script)
	out := n.sh("curl() { cp \"${3#file://}\" \"$2\"; }\n" + script)
	n.match(s, out)
	return out
}

func (n *node) match(s step, out string) {
	n.Helper()
	for line := range strings.Lines(s.want) {
		line = regexp.QuoteMeta(strings.Join(strings.Fields(line), " "))
		line = strings.ReplaceAll(line, regexp.QuoteMeta("..."), ".*")
		if !regexp.MustCompile(`(?m)^\s*` + strings.ReplaceAll(line, " ", `\s+`) + `\s*$`).MatchString(out) {
			n.Errorf("the page says that\n%s prints a line\n%s\nit prints\n%s", s.script, line, out)
		}
	}
}
