package vm

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	v1 "multinicd/api/v1"
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
		b.DHCP(segment, testhost.DHCP{Network: netip.MustParsePrefix(network)})
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
for f in 4 6; do ip -$f route show table all | sed 's/ expires [0-9]*sec//' | sort; ip -$f rule; done
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
