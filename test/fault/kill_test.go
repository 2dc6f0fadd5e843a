package fault

import (
	"slices"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/testhost"
)

// operation is a change of the NIC mac1, beside mac2 which stays as it is.
type operation struct {
	name   string
	object string
	nics   string   // what status says once it is done
	steps  []string // that it consists of, where networkd knows the NIC
}

const bystander = "192.168.200.10/24"

var operations = []operation{
	{"add", object(nodeName, entry(1, mac1, "192.168.100.10/24", "mtu: 1400", "routes: [{to: 10.20.0.0/16, via: 192.168.100.1}]"), entry(2, mac2, bystander)),
		"multinic1 Configured Configured, multinic2 Configured Configured",
		[]string{"guard", "rename", "mtu", "up", "addresses", "routes", "verify", "probe", "validate", "persist"}},
	{"change", object(nodeName, entry(2, mac2, bystander), entry(7, mac1, "192.168.101.10/24", "mtu: 1300", "routes: [{to: 10.21.0.0/16, via: 192.168.101.1}]")),
		"multinic2 Configured Configured, multinic7 Configured Configured",
		[]string{"guard", "rename", "mtu", "addresses", "routes", "retire", "verify", "probe", "validate", "persist", "persist#2", "runtime", "runtime#2"}},
	{"remove", object(nodeName, entry(2, mac2, bystander)), "multinic2 Configured Configured",
		[]string{"guard", "routes", "addresses", "down", "rename", "mtu", "verify", "probe", "validate", "persist", "runtime", "runtime#2"}},
}

// points are where a change is cut off: after one step is before the next.
func (o operation) points() []string {
	return slices.Concat([]string{"journal"}, o.steps, []string{"record", "done"})
}

// order is that of the rows: as the steps come in any operation.
var order = []string{"journal", "guard", "routes", "addresses", "down", "rename", "mtu", "up", "retire", "verify", "probe", "validate", "persist", "persist#2", "runtime", "runtime#2", "record", "done"}

// rowOf names a point for the reader.
func rowOf(point string) string {
	switch point {
	case "journal":
		return "the journal is written"
	case "record":
		return "the change is recorded as done"
	case "done":
		return "the journal is removed"
	}
	step, second, _ := strings.Cut(point, "#")
	if second != "" {
		return "the second `" + step + "`"
	}
	return "`" + step + "`"
}

// prepare gives a host on which the first operation can begin.
func prepare(t *testing.T) *node {
	t.Helper()
	n := newNode(t, bed.New(t), testhost.Options{}, settings(nodeName, fromFile, "off"))
	last := operations[len(operations)-1]
	n.wish(last.object)
	n.converge(last, "")
	return n
}

// converge starts the daemon and holds it to what is wanted, and its status to the truth.
func (n *node) converge(o operation, wanted string) {
	n.t.Helper()
	n.start()
	n.eventually("status after "+o.name, o.nics, n.nics)
	if got := n.text(); wanted != "" && got != wanted {
		n.t.Errorf("%s: the status says all is configured, and the host is\n%s\nwant\n%s", o.name, got, wanted)
	}
	n.stop()
	// What any package does when it is installed: netplan's generator makes its files, so that networkd would know the NIC too.
	n.sh("systemctl daemon-reload")
}

// outcome names the host's text.
func (n *node) outcome(what, before, wanted string) string {
	n.t.Helper()
	switch got := n.text(); got {
	case before:
		return asBefore
	case wanted:
		return asWanted
	default:
		n.t.Errorf("%s: the host is\n%s\nbefore it was\n%s\nwanted is\n%s", what, got, before, wanted)
		return "between"
	}
}

// wantedTexts walks through the operations once, undisturbed: the host's text after each, as it is when multinicd has just done it.
func (n *node) wantedTexts() map[string]string {
	n.t.Helper()
	out := map[string]string{}
	for _, o := range operations {
		n.wish(o.object)
		n.start()
		n.eventually("status after "+o.name, o.nics, n.nics)
		out[o.name] = n.text()
		n.eventually("steps of "+o.name, strings.ReplaceAll(strings.Join(o.steps, " "), "#2", ""), n.lastSteps)
		n.stop()
		n.sh("systemctl daemon-reload")
	}
	return out
}

// lastSteps is what the log says of the last change.
func (n *node) lastSteps() string {
	n.t.Helper()
	return n.sh(`journalctl --unit=multinicd --output=cat --no-pager --quiet | grep '^changed a NIC' | tail -n 1 | sed 's/.* steps="\([^"]*\)".*/\1/'`)
}

func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	n := prepare(t)
	wanted := n.wantedTexts()
	table := newMatrix("killed", "killed right before", "netplan: add", "netplan: change", "netplan: remove")
	for _, p := range order {
		table.row(rowOf(p))
	}
	most := 0
	for _, o := range operations {
		most = max(most, len(o.points()))
	}
	for i := range most {
		for _, o := range operations {
			before := n.text()
			if i < len(o.points()) {
				point := o.points()[i]
				n.wish(o.object)
				n.startAndDie(point)
				n.startAndDie("recovered") // the one start
				table.set(rowOf(point), "netplan: "+o.name, n.outcome(o.name+" killed before "+point, before, wanted[o.name]))
				if t.Failed() {
					return
				}
			}
			n.wish(o.object)
			n.converge(o, wanted[o.name])
		}
	}
	if left := n.sh("find /etc/netplan /run/systemd/network /var/lib/multinicd | grep -E 'tmp-|journal|damaged' || true"); left != "" {
		t.Errorf("left behind: %s", left)
	}
	table.publish(t)
}
