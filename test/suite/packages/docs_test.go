package packages

import (
	"strings"

	"multinicd/test/bed/page"
)

// server stands for the web server of the pages; the repositories are in that folder of the host, and made for it.
const server = "https://packages.example.org/multinicd"
const folder = "file:///srv/multinicd"

// follow runs a step on the host, as it stands on the page but for the server. edit changes what only a test has to.
func (n *node) follow(s page.Step, edit ...string) string {
	n.Helper()
	script := strings.NewReplacer(append(edit, server, folder)...).Replace(s.Script)
	out := n.sh("curl() { cp \"${3#file://}\" \"$2\"; }\n" + script)
	n.match(s, out)
	return out
}

func (n *node) match(s page.Step, out string) {
	n.Helper()
	for _, line := range s.Lacking(out) {
		n.Errorf("the page says that\n%s prints a line\n%s\nit prints\n%s", s.Script, line, out)
	}
}
