package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/status"
	"multinicd/test/bed"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/testhost"
	"multinicd/test/bed/vm"
)

// objectFile has the object of a machine without a cluster.
const objectFile = "/etc/multinicd/node.yaml"

// alone is a machine without a cluster, on which cloud-init has installed the package. It has the product's own idea of what a NIC is.
type alone struct {
	*machine
}

// newAlone boots one. Nobody gives leases on segments other than those of segments.
func newAlone(t *testing.T, o vm.Options, cloud cloudConfig) *alone {
	t.Helper()
	b := bed.New(t)
	for segment, network := range segments {
		// No lease is renewed while it is looked at how still the service is.
		b.DHCP(segment, testhost.DHCP{Network: netip.MustParsePrefix(network), Lease: time.Hour})
	}
	serve(t, b, repository(t))
	o.UserData = cloud.installs(t, repository(t), fmt.Sprintf("node = %q\n[source]\nmode = \"file\"\nfile = %q\n", o.Name, objectFile))
	a := &alone{machine: &machine{Machine: installed.OnVM(t, b.VM(o)), t: t}}
	a.boots(func() error { return a.Boot(t.Context()) })
	return a
}

// apply runs multinicd apply on an object of these entries, without the service, and gives what it says. It wants this exit code.
func (a *alone) apply(exit int, entries ...string) string {
	a.t.Helper()
	a.writeObject("/run/wish.yaml", entries...)
	out, err := a.Shell(a.t.Context(), "systemctl stop multinicd; multinicd apply --file /run/wish.yaml 2>&1")
	code := 0
	if failed := new(vm.ExitError); errors.As(err, &failed) {
		code = failed.Code
	} else if err != nil {
		a.t.Fatal(err)
	}
	if code != exit {
		a.t.Errorf("multinicd apply ends with %d, want %d:\n%s", code, exit, out)
	}
	return out
}

// refused wants an object of these entries to be refused with these words, and nothing to change.
func (a *alone) refused(when string, says []string, entries ...string) {
	a.t.Helper()
	before := a.footprint()
	out := a.apply(v1.ExitRefused, entries...)
	for _, want := range says {
		if !strings.Contains(out, want) {
			a.t.Errorf("%s: %q is not said:\n%s", when, want, out)
		}
	}
	if after := a.footprint(); after != before {
		a.t.Errorf("%s: refused, but there is\n%s\nwas\n%s", when, after, before)
	}
}

// footprint is what the kernel has of links, addresses, routes and rules, without what runs down, and what files there are, once the kernel has done what it
// does by itself when a link is set up.
func (a *alone) footprint() string {
	a.t.Helper()
	return a.Sh(`now() {
ip -oneline -details link | sed 's/ qdisc .*qlen [0-9]*//'
ip -oneline address | sed 's/ valid_lft.*//'
for f in 4 6; do ip -$f route show table all | sed 's/ expires [0-9]*sec//' | sort; ip -$f rule || true; done
find /etc/netplan /etc/NetworkManager/system-connections /run/systemd/network -type f 2>/dev/null | sort; }
while ip -6 address | grep -q tentative; do sleep 0.5; done
before= after=$(now)
until [ "$after" = "$before" ]; do sleep 1; before=$after after=$(now); done
echo "$after"`)
}

func (a *alone) writeObject(name string, entries ...string) {
	a.t.Helper()
	if err := a.WriteFile(a.t.Context(), name, []byte(installed.Object(a.Name, entries...)), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// plug puts in a NIC, and waits until there is a link, which the image's word sets up.
func (a *alone) plug(n testhost.NIC) {
	a.t.Helper()
	if err := a.Plug(a.t.Context(), n); err != nil {
		a.t.Fatal(err)
	}
	bed.Eventually(a.t, "the link of "+n.MAC, "up", func() string {
		words := strings.Fields(a.Link(n.MAC))
		return words[min(1, len(words)-1)]
	})
}

// serves has the service do what an object of these entries says, and waits until it says this of its NICs.
func (a *alone) serves(want string, entries ...string) {
	a.t.Helper()
	a.writeObject(objectFile, entries...)
	a.Sh("systemctl restart multinicd")
	a.says(want)
}

// says waits until the service says this of its NICs, by name, status and reason.
func (a *alone) says(want string) {
	a.t.Helper()
	bed.Eventually(a.t, "what the service says", want, func() string {
		s, err := a.status()
		if err != nil {
			return err.Error()
		}
		return installed.NICs(s)
	})
}

// status is the service's.
func (a *alone) status() (s status.Node, err error) {
	out, err := a.Run(a.t.Context(), "multinicd", "status", "-o", "json")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(out), &s)
}

// isStill wants the service to come to rest, and to stay there.
func (a *alone) isStill(when string) {
	a.t.Helper()
	look := func() (s status.Node) {
		a.t.Helper()
		s, err := a.status()
		if err != nil {
			a.t.Fatal(err)
		}
		return s
	}
	before := look()
	bed.Eventually(a.t, when+": passes in ten seconds", "0", func() string {
		a.Sh("sleep 10") // it is the silence that is looked at
		was := before
		before = look()
		return fmt.Sprint(before.Meters.Passes - was.Meters.Passes)
	})
	a.Sh("sleep 60")
	after := look()
	if got := after.Meters.Passes - before.Meters.Passes; got > 2 {
		a.t.Errorf("%s: %d passes in a minute, want two at most", when, got)
	}
	if len(after.Down) > 0 {
		a.t.Errorf("%s: parts are down: %v", when, after.Down)
	}
}

// has wants a link to have these addresses of IPv4.
func (a *alone) has(link, want string) {
	a.t.Helper()
	bed.Eventually(a.t, "the addresses of "+link, want, func() string {
		return strings.Join(strings.Fields(a.Sh("ip -4 -oneline address show dev "+link+" | grep -o 'inet [^ ]*' | cut -d ' ' -f 2")), " ")
	})
}
