package e2e

import (
	"errors"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"multinicd/test/bed"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/monitor"
	"multinicd/test/bed/testhost"
)

// What tests without a control plane share: the object lies in a file, which `multinicd apply -f` or the service reads.
const (
	objectFile = installed.ObjectFile
	mac3       = "02:00:00:00:01:03"
	fromFile   = "[source]\nmode = \"file\"\nfile = \"" + objectFile + "\"\ninterval = \"5s\""
)

// Exit codes of `multinicd apply`, as its help and the documentation have them.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitWaiting = 5
	exitRefused = 6
)

// nodeObject is the node's object with these interfaces.
func nodeObject(interfaces ...string) string {
	if len(interfaces) == 0 {
		return strings.ReplaceAll(object("worker-node-01", "x"), "\n  - x", " []")
	}
	return object("worker-node-01", interfaces...)
}

// fileNode is a node that reads its object from a file; files are on its disk before the first boot. The daemon is not started, and not enabled:
// what comes up at a boot is the host's own doing, unless the test starts the daemon.
func fileNode(t *testing.T, b *bed.Bed, o testhost.Options, files map[string]string) *node {
	t.Helper()
	if o.NICs == nil {
		o.NICs = bed.NICs(mac1, mac2)
	}
	n := &node{Node: installed.On(t, b.NewHost(o)), t: t, bed: b}
	for name, text := range files {
		n.file(name, text)
	}
	if err := n.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.Install(settings("worker-node-01", fromFile))
	n.must("systemctl", "--quiet", "disable", "multinicd")
	return n
}

// exit runs a command that may fail, and gives its exit code and all that it says.
func (n *node) exit(argv ...string) (int, string) {
	n.t.Helper()
	out, err := n.Command(n.t.Context(), argv...).CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		n.t.Fatalf("%s: %v", strings.Join(argv, " "), err)
	}
	if failed != nil {
		return failed.ExitCode(), string(out)
	}
	return 0, string(out)
}

// apply makes the object's wish true without a daemon, and gives what is said about it.
func (n *node) apply(want int, text string) string {
	n.t.Helper()
	n.file(objectFile, text)
	code, out := n.exit("multinicd", "apply", "-f", objectFile)
	if code != want {
		n.t.Fatalf("apply ended with %d, want %d:\n%s\n%s", code, want, out, text)
	}
	return out
}

// start writes the object and starts the service.
func (n *node) start(text string) {
	n.t.Helper()
	n.file(objectFile, text)
	if err := n.StartDaemon(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

// reboot boots the host anew: from then on networkd has our NICs.
func (n *node) reboot() {
	n.t.Helper()
	if err := n.Reboot(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

// wantNICs waits until the daemon says of its NICs what is wanted: at its socket, and then by the command too.
func (n *node) wantNICs(want string) {
	n.t.Helper()
	n.eventually("status", want, func() string {
		if said := n.NICs(); said != want {
			return said
		}
		return n.nics()
	})
}

// wantStays waits until a text has been as wanted for a second and a half without a break: whoever else writes links has had his say by then.
func (n *node) wantStays(what, want string, get func() string) {
	n.t.Helper()
	n.still(what, get, func(got, _ string) bool { return got == want }, want)
}

// settles gives a text that has been the same for as long.
func (n *node) settles(what string, get func() string) string {
	n.t.Helper()
	return n.still(what, get, func(got, before string) bool { return got == before }, "the same")
}

func (n *node) still(what string, get func() string, right func(got, before string) bool, want string) string {
	n.t.Helper()
	const still = 1500 * time.Millisecond
	deadline := time.Now().Add(bed.Patience)
	since, before := time.Time{}, ""
	for {
		looked := time.Now()
		got, now := get(), time.Now()
		switch {
		case !right(got, before) && now.After(deadline):
			n.t.Fatalf("%s: %s: got %q, want %q to stay", n.Name, what, got, want)
		case !right(got, before):
			since = time.Time{}
		case since.IsZero():
			since = now
		case now.Sub(since) >= still:
			return got
		}
		before = got
		select {
		case <-n.t.Context().Done():
			n.t.Fatal(n.t.Context().Err())
		case <-time.After(bed.Rest(50*time.Millisecond, looked)):
		}
	}
}

// wantLinkStays is wantStays of a link.
func (n *node) wantLinkStays(mac, want string) {
	n.t.Helper()
	n.wantLinksStay(map[string]string{mac: want})
}

// wantLinksStay is wantStays of several links, by MAC.
func (n *node) wantLinksStay(want map[string]string) {
	n.t.Helper()
	text := func(get func(mac string) string) string {
		var out []string
		for _, mac := range slices.Sorted(maps.Keys(want)) {
			out = append(out, mac+": "+get(mac))
		}
		return strings.Join(out, "; ")
	}
	n.wantStays("links", text(func(mac string) string { return want[mac] }), func() string { return text(n.link) })
}

// quiet waits until IPv6 has done with checking its addresses, which makes events of the kernel long after a link went up.
func (n *node) quiet() {
	n.t.Helper()
	n.wantStays("addresses that are being checked", "", n.tentative)
}

func (n *node) tentative() string {
	n.t.Helper()
	return n.must("ip", "-6", "-oneline", "address", "show", "tentative")
}

// ours lists the files of ours that count at the next boot, and those that networkd reads.
func (n *node) ours() string {
	n.t.Helper()
	return n.must("sh", "-c", "ls /etc/netplan /run/systemd/network 2>/dev/null | grep multinic || true")
}

// others is what the kernel has of everything but the data NICs: addresses, routes of all tables, rules.
func (n *node) others() string {
	n.t.Helper()
	return n.must("sh", "-c", `
		ip -oneline address | sed 's/valid_lft.*//' | grep -v -E '^[0-9]+: (multinic|eth[1-9]|ens[4-9])'
		for family in -4 -6; do
			ip $family -oneline route show table all | grep -v -E ' dev (multinic|eth[1-9]|ens[4-9])' | sort
			ip $family rule
		done`)
}

// foreign keeps the events that are not about the data NICs.
func foreign(events []monitor.Event) []monitor.Event {
	var out []monitor.Event
	for _, e := range events {
		data := strings.HasPrefix(e.Link, "eth") && e.Link != "eth0" || strings.HasPrefix(e.Link, "ens") && e.Link != "ens3"
		if !strings.HasPrefix(e.Link, "multinic") && !data {
			out = append(out, e)
		}
	}
	return out
}
