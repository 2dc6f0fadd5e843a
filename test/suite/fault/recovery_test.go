package fault

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// scripts are the commands of docs/recovery.md, by the heading above them.
func scripts(t *testing.T) (headings []string, commands map[string]string) {
	t.Helper()
	page, err := os.ReadFile(bed.Path(t, "docs/recovery.md"))
	if err != nil {
		t.Fatal(err)
	}
	commands = map[string]string{}
	for _, m := range regexp.MustCompile("(?s)\n## [0-9]+\\. ([^\n]+)\n(.*?)\n```sh\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		headings = append(headings, m[1])
		commands[m[1]] = m[3]
	}
	return headings, commands
}

// A person at the console does what docs/recovery.md says, from the first line to the last.
func TestTheRecoveryPage(t *testing.T) {
	t.Parallel()
	n := newNode(t, bed.New(t), testhost.Options{}, settings(nodeName, fromFile, "off"))
	first := func() string { line, _, _ := strings.Cut(n.text(), "\n"); return line }
	const old, now = "02:00:00:00:01:01 multinic1 up mtu 1500 192.168.100.10/24", "02:00:00:00:01:01 multinic1 up mtu 1500 192.168.100.11/24"
	const configured = "multinic1 Configured Configured"
	n.wish(object(nodeName, entry(1, mac1, "192.168.100.10/24")))
	n.start()
	n.eventually("the first status", configured, n.nics) // the kernel shows the address before the change is done, and stopping would undo it
	n.eventually("the first configuration", old, first)
	n.stop()
	n.wish(object(nodeName, entry(1, mac1, "192.168.100.11/24")))
	n.start()
	n.eventually("the second status", configured, n.nics)
	n.eventually("the second configuration", now, first)
	n.Sh("journalctl --sync") // which may not have read yet what was logged a moment ago

	headings, commands := scripts(t)
	if len(headings) != 7 {
		t.Fatalf("the page has the steps %q", headings)
	}
	for _, h := range headings {
		out, err := n.Shell(t.Context(), commands[h])
		if h == "A host that came up without any network" {
			if err != nil {
				t.Errorf("%s: sound files: %v", h, err)
			}
			if err := n.WriteFile("/etc/netplan/95-broken.yaml", []byte("network:\n  version: 2\n  ethernets:\n    eth5: {mtu: large}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			// netplan 0.106 ends with 1 here, 1.1.2 with 0.
			if _, said := n.exit("sh", "-c", commands[h]); !strings.Contains(said, "95-broken.yaml:4") {
				t.Errorf("%s: a broken file: %s; want its name and line", h, said)
			}
			err = n.Remove("/etc/netplan/95-broken.yaml")
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", h, err, out)
		}
		switch h {
		case "Look":
			for _, want := range []string{"multinic1", "192.168.100.11/24", "changed a NIC", "default via"} {
				if !strings.Contains(out, want) {
					t.Errorf("%s: %q is not to be seen:\n%s", h, want, out)
				}
			}
		case "Go back to the configuration before the last change":
			n.eventually(h, old, first)
		case "Take one NIC out of the way":
			if routes := n.Sh("ip route show table main dev multinic1"); routes != "" {
				t.Errorf("%s: there are routes left:\n%s", h, routes)
			}
		case "Take its configuration away":
			if got := n.text(); strings.TrimSpace(got) != "02:00:00:00:01:01 multinic1 down mtu 1500\n02:00:00:00:01:02 eth2 down mtu 1500" {
				t.Errorf("%s: there is left\n%s", h, got)
			}
		case "Forget what multinicd remembers":
			n.eventually(h, configured, n.nics)
			n.eventually(h, now, first)
		}
	}
}
