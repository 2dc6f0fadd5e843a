// Package fault breaks things on real hosts while multinicd works there, and holds it to its promise: afterwards the host is as before or as
// wanted, never between, after one start at most, and the status tells the truth.
//
// In go the binary, also one that ends itself at a named point of a change (build tag failpoint), the unit, hosts and a control plane; out come
// the tables of docs/reliability.md. They are compared with what happened, or written anew with -update.
//
// It must not prove what works when nothing breaks: test/suite/e2e does.
//
// Start reading at TestKilledAtEveryStep; matrix_test.go has the tables.
package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/testhost"
)

func TestMain(m *testing.M) { os.Exit(bed.Main(m, installed.Close)) }

const (
	mac1       = installed.MAC1
	mac2       = installed.MAC2
	nodeName   = "worker-node-01"
	objectFile = installed.ObjectFile
	fromFile   = "[source]\nmode = \"file\"\nfile = \"" + objectFile + "\"\ninterval = \"5s\"\n"
)

func settings(node, source, dad string) string { return installed.Settings(node, source, dad) }

// node is a host with the multinicd that has failpoints, installed and neither started nor enabled.
type node struct {
	*installed.Node
	t   *testing.T
	bed *bed.Bed
}

// failpoint is the build tag; a package that MULTINICD_TEST_DEB names is made with it too (TAGS=failpoint).
const failpoint = "failpoint"

func newNode(t *testing.T, b *bed.Bed, o testhost.Options, config string) *node {
	t.Helper()
	n := &node{Node: installed.New(t, b, o, config, failpoint), t: t, bed: b}
	n.Sh("systemctl disable multinicd")
	return n
}

func (n *node) wish(text string) {
	n.t.Helper()
	if err := n.WriteFile(objectFile, []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

func object(name string, interfaces ...string) string { return installed.Object(name, interfaces...) }

func entry(id int, mac, cidr string, more ...string) string {
	return installed.Entry(id, mac, cidr, more...)
}

// start starts the service and waits for it to be ready.
func (n *node) start() {
	n.t.Helper()
	if err := n.StartDaemon(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) stop() {
	n.t.Helper()
	if err := n.StopDaemon(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

// startAndDie starts the service with a failpoint, waits until that has ended it, and keeps systemd from starting it again.
func (n *node) startAndDie(point string) {
	n.t.Helper()
	n.Sh(`
		systemctl set-environment "MULTINICD_FAILPOINT=kill ` + point + `"
		systemctl start --no-block multinicd`)
	n.eventually("the daemon that ends at "+point, "auto-restart", n.subState)
	n.Sh(`
		systemctl stop multinicd
		systemctl unset-environment MULTINICD_FAILPOINT`)
}

// subState is what systemd says of the service. While there is a process systemd is not asked: it would say that this runs.
func (n *node) subState() string {
	if len(n.DaemonProcesses()) > 0 {
		return "it runs"
	}
	return n.Sh("systemctl show --property=SubState --value multinicd")
}

// pause starts the service with a failpoint, and waits until that has stopped it in its tracks; resume lets it go on.
func (n *node) pause(point string) {
	n.t.Helper()
	n.Sh(`
		systemctl set-environment "MULTINICD_FAILPOINT=stop ` + point + `"
		systemctl start --no-block multinicd`)
	n.eventually("multinicd before "+point, "T", n.DaemonState)
	n.Sh("systemctl unset-environment MULTINICD_FAILPOINT")
}

func (n *node) resume() {
	n.t.Helper()
	n.Sh("systemctl kill --kill-whom=main --signal=SIGCONT multinicd")
}

type route struct {
	Dev      string `json:"dev"`
	To       string `json:"dst"`
	Via      string `json:"gateway"`
	Protocol string `json:"protocol"`
	Metric   int    `json:"metric"`
	Table    any    `json:"table"`
}

// text is the part of the host that multinicd may change, as text: the links with the MACs, without what the kernel adds by itself, their routes, and
// files by their names and bytes, also those that a write cut short. NetworkManager's notes of what it has found on a link are no files of anybody's. A
// file that goes while it is read, as the temporary one of a write under way does, is none that is there.
func (n *node) text() string {
	n.t.Helper()
	out := n.Sh(`
		ip -json address; echo @@
		ip -json route show table all; echo @@
		find /etc/netplan /run/systemd/network /etc/systemd/network /etc/NetworkManager/system-connections /run/NetworkManager/system-connections /etc/sysconfig/network-scripts \
			-type f -name '*multinic*' 2>/dev/null | LC_ALL=C sort | while read -r f; do grep -qs '^nm-generated=true' "$f" && continue; all=$(stat -c '%n %a' "$f" && cat "$f") || continue; printf '%s\n' "$all"; done`)
	parts := strings.SplitN(out, "@@", 3)
	var links []installed.Link
	var routes []route
	if err := errors.Join(json.Unmarshal([]byte(parts[0]), &links), json.Unmarshal([]byte(parts[1]), &routes)); err != nil {
		n.t.Fatal(err)
	}
	var lines []string
	for _, l := range links {
		if l.MAC != mac1 && l.MAC != mac2 {
			continue
		}
		line := l.MAC + " " + l.String()
		for _, r := range routes {
			if r.Dev == l.Name && r.Protocol != "kernel" { // who made it differs: multinicd, or networkd at a boot
				line += fmt.Sprintf(" route %s via %s metric %d table %v", r.To, r.Via, r.Metric, r.Table)
			}
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n" + strings.TrimSpace(parts[2])
}

// nics is the status in short, where there is one.
func (n *node) nics() string {
	s, err := n.Status()
	if err != nil {
		return "no status"
	}
	return n.Said(s)
}

func (n *node) eventually(what, want string, get func() string) {
	n.t.Helper()
	bed.Eventually(n.t, n.Name+": "+what, want, get)
}

// exit runs a command that may fail, and gives its exit code and all that it says.
func (n *node) exit(argv ...string) (int, string) {
	n.t.Helper()
	out, err := n.Command(n.t.Context(), argv...).CombinedOutput()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return failed.ExitCode(), string(out)
	}
	if err != nil {
		n.t.Fatalf("%s: %v", strings.Join(argv, " "), err)
	}
	return 0, string(out)
}

// switchMAC is the MAC by which the switch answers on a segment.
func switchMAC(t *testing.T, b *bed.Bed, segment string) string {
	t.Helper()
	var mac string
	if err := b.World.Inside(func() error {
		link, err := net.InterfaceByName(segment)
		if err == nil {
			mac = link.HardwareAddr.String()
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return mac
}
