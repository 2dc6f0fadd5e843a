package fault

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
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
		[]string{"guard", "rename", "mtu", "conf6", "up", "addresses", "routes", "verify", "probe", "validate", "persist"}},
	{"change", object(nodeName, entry(2, mac2, bystander), entry(7, mac1, "192.168.101.10/24", "mtu: 1300", "routes: [{to: 10.21.0.0/16, via: 192.168.101.1}]")),
		"multinic2 Configured Configured, multinic7 Configured Configured",
		[]string{"guard", "rename", "mtu", "addresses", "routes", "retire", "verify", "probe", "validate", "persist", "persist#2", "runtime", "runtime#2", "runtime#3", "runtime#4"}},
	{"remove", object(nodeName, entry(2, mac2, bystander)), "multinic2 Configured Configured",
		[]string{"guard", "routes", "addresses", "down", "conf6", "rename", "mtu", "verify", "probe", "validate", "persist", "runtime", "runtime#2", "runtime#3", "runtime#4"}},
}

// order is that of the rows: as the steps come in any operation.
var order = []string{"journal", "guard", "routes", "addresses", "down", "rename", "mtu", "conf6", "up", "retire", "verify", "probe", "validate", "persist", "persist#2", "runtime", "runtime#2", "runtime#3", "runtime#4", "record", "done"}

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
	step, again, _ := strings.Cut(point, "#")
	return map[string]string{"2": "the second ", "3": "the third ", "4": "the fourth "}[again] + "`" + step + "`"
}

// rowIn is rowOf for a change of these steps: what comes once NetworkManager holds the link no more is counted anew.
func rowIn(steps []string, point string) string {
	release := slices.Index(steps, "release")
	at := slices.Index(steps, point)
	if release < 0 || at <= release {
		return rowOf(point)
	}
	step, _, _ := strings.Cut(point, "#")
	count := 0
	for _, s := range steps[release+1 : at+1] {
		if s, _, _ = strings.Cut(s, "#"); s == step {
			count++
		}
	}
	return rowOf(step+"#"+strconv.Itoa(count)) + " after `release`"
}

// stand is a kind of host that faults are tried on.
type stand struct {
	name    string // of its columns
	suffix  string // of its tables in docs/reliability.md
	options testhost.Options
	toml    string   // more of multinicd.toml's [backend]
	folders []string // that it writes to
}

var (
	onNetplan = stand{name: "netplan", folders: []string{"/etc/netplan", "/run/systemd/network", "/var/lib/multinicd"}}
	// On hosts of NetworkManager steps are taken from what the log says of them.
	managerStands = []stand{
		{name: "keyfile", suffix: "-keyfile", options: testhost.Options{Flavour: testhost.NetworkManager},
			folders: []string{"/etc/NetworkManager/system-connections", "/etc/systemd/network", "/var/lib/multinicd"}},
		{name: "ifcfg", suffix: "-ifcfg", options: testhost.Options{Flavour: testhost.Ifcfg, Suite: "bookworm"}, toml: "name = \"ifcfg\"\n",
			folders: []string{"/etc/sysconfig/network-scripts", "/etc/systemd/network", "/var/lib/multinicd"}},
		{name: "netplan for NetworkManager", suffix: "-netplan-manager", options: testhost.Options{Flavour: testhost.NetplanNetworkManager},
			folders: []string{"/etc/netplan", "/run/NetworkManager/system-connections", "/var/lib/multinicd"}},
	}
)

// managers are the kinds of host that have NetworkManager: all in the long run, in every other the one of that name.
func managers(short string) (stands []stand, long bool) {
	if all := longManagers(); len(all) > 0 {
		return all, true
	}
	i := slices.IndexFunc(managerStands, func(s stand) bool { return s.name == short })
	return managerStands[i : i+1], false
}

// longManagers are those of the long run, and where the tables are written anew.
func longManagers() []stand {
	if *update {
		return managerStands
	}
	return prerequisite.Long(managerStands...)
}

// eachStand runs a test on a host of netplan, and, in the long run, on one of each kind of NetworkManager.
func eachStand(t *testing.T, test func(t *testing.T, s stand)) {
	t.Helper()
	onStands(t, append([]stand{onNetplan}, longManagers()...), test)
}

// onStands runs a test on a host of each of these kinds, all at the same time.
func onStands(t *testing.T, stands []stand, test func(t *testing.T, s stand)) {
	t.Helper()
	t.Parallel()
	for _, s := range stands {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

// texts is wantedTexts, or what stands for it where the steps are not known beforehand.
func (s stand) texts(n *node) map[string]string {
	n.t.Helper()
	if s.name == onNetplan.name {
		return n.wantedTexts()
	}
	out, _ := n.walk()
	return out
}

func (s stand) prepare(t *testing.T) *node {
	t.Helper()
	n := newNode(t, bed.New(t), s.options, settings(nodeName, fromFile, "off")+s.toml)
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
	n.Sh("systemctl daemon-reload")
}

// outcome names the host's text.
func (n *node) outcome(what, got, before, wanted string) string {
	n.t.Helper()
	switch got {
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
	out, steps := n.walk()
	for _, o := range operations {
		if got, want := strings.Join(steps[o.name], " "), strings.Join(o.steps, " "); got != want {
			n.t.Fatalf("steps of %s: got %q, want %q", o.name, got, want)
		}
	}
	return out
}

// walk gives the steps of each operation too: "persist", and "persist#2" for the second.
func (n *node) walk() (texts map[string]string, steps map[string][]string) {
	n.t.Helper()
	texts, steps = map[string]string{}, map[string][]string{}
	for _, o := range operations {
		before := n.changes()
		n.wish(o.object)
		n.start()
		n.eventually("status after "+o.name, o.nics, n.nics)
		texts[o.name] = n.text()
		n.eventually("news of "+o.name, "true", func() string { return strconv.FormatBool(n.changes() > before) })
		seen := map[string]int{}
		for _, s := range strings.Fields(n.lastSteps()) {
			if seen[s]++; seen[s] > 1 {
				s += "#" + strconv.Itoa(seen[s])
			}
			steps[o.name] = append(steps[o.name], s)
		}
		n.stop()
		n.Sh("systemctl daemon-reload")
	}
	return texts, steps
}

// changes counts the changes of a NIC that the log tells of.
func (n *node) changes() int {
	n.t.Helper()
	count, err := strconv.Atoi(n.Sh(`journalctl --sync; journalctl --unit=multinicd --output=cat --no-pager --quiet | grep -c '^changed a NIC' || true`))
	if err != nil {
		n.t.Fatal(err)
	}
	return count
}

// lastSteps is what the log says of the last change.
func (n *node) lastSteps() string {
	n.t.Helper()
	return n.Sh(`journalctl --sync; journalctl --unit=multinicd --output=cat --no-pager --quiet | grep '^changed a NIC' | tail -n 1 | sed 's/.* steps="\([^"]*\)".*/\1/'`)
}

func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	n := onNetplan.prepare(t)
	wanted := n.wantedTexts()
	steps := map[string][]string{}
	for _, o := range operations {
		steps[o.name] = o.steps
	}
	var rows []string
	for _, p := range order {
		rows = append(rows, rowOf(p))
	}
	n.killEverywhere(onNetplan, wanted, steps, rows)
}

// The same on hosts of NetworkManager. In short only a few of the steps, of one kind of host.
func TestKilledAtEveryStepOfNetworkManagers(t *testing.T) {
	stands, whole := managers("keyfile")
	onStands(t, stands, func(t *testing.T, s stand) {
		n := s.prepare(t)
		wanted, steps := n.walk()
		if whole { // dozens of kills
			n.killEverywhere(s, wanted, steps, rowsOf(steps))
			return
		}
		n.killAt(s, wanted, steps, map[string][]string{"add": {"settle", "done"}, "change": {"activate", "release"}, "remove": {"persist", "verify"}}, nil).check(t)
	})
}

// rowsOf puts the steps of all operations in an order that is that of each.
func rowsOf(steps map[string][]string) []string {
	rows := []string{rowOf("journal")}
	for _, o := range operations {
		at := 0
		for _, step := range steps[o.name] {
			row := rowIn(steps[o.name], step)
			if i := slices.Index(rows, row); i >= 0 {
				at = i
				continue
			}
			at++
			rows = slices.Insert(rows, at, row)
		}
	}
	return append(rows, rowOf("record"), rowOf("done"))
}

// killEverywhere kills the daemon right before each step of each operation, and publishes the table.
func (n *node) killEverywhere(s stand, wanted map[string]string, steps map[string][]string, rows []string) {
	n.t.Helper()
	points := map[string][]string{}
	for _, o := range operations {
		points[o.name] = oneInThree(slices.Concat([]string{"journal"}, steps[o.name], []string{"record", "done"}))
	}
	n.killAt(s, wanted, steps, points, rows).end(n.t)
}

// killAt kills the daemon right before points of each operation.
func (n *node) killAt(s stand, wanted map[string]string, steps, points map[string][]string, rows []string) *matrix {
	n.t.Helper()
	table := newMatrix("killed"+s.suffix, "killed right before", s.name+": add", s.name+": change", s.name+": remove")
	for _, p := range rows {
		table.row(p)
	}
	most := 0
	for _, of := range points {
		most = max(most, len(of))
	}
	for i := range most {
		for _, o := range operations {
			before := n.text()
			if i < len(points[o.name]) {
				point := points[o.name][i]
				n.wish(o.object)
				n.startAndDie(point)
				n.startAndDie("recovered") // the one start
				table.set(rowIn(steps[o.name], point), s.name+": "+o.name, n.outcome(o.name+" killed before "+point, n.text(), before, wanted[o.name]))
				if n.t.Failed() {
					return table
				}
			}
			n.wish(o.object)
			n.converge(o, wanted[o.name])
		}
	}
	if left := n.Sh("find /etc /run/systemd/network /run/NetworkManager /var/lib/multinicd 2>/dev/null | grep -E 'tmp-|journal|damaged' | grep -vE '^/etc/systemd/(journal|system/systemd-update-utmp)' || true"); left != "" {
		n.t.Errorf("left behind: %s", left)
	}
	return table
}

// NetworkManager is killed and started anew while a change is held at a step of it: the change is made, or undone and made again.
func TestNetworkManagerIsKilledInMidChange(t *testing.T) {
	stands, _ := managers("netplan for NetworkManager")
	onStands(t, stands, func(t *testing.T, s stand) {
		n := s.prepare(t)
		wanted, _ := n.walk()
		others := n.others()
		for i, point := range []string{"kernel", "load", "activate", "settle", "verify", "release"} {
			o := operations[i%len(operations)]
			if o.name == "remove" && point == "activate" {
				continue
			}
			n.wish(o.object)
			n.pause(point)
			n.Sh("systemctl kill --kill-whom=main --signal=SIGKILL NetworkManager; systemctl reset-failed NetworkManager; systemctl start NetworkManager; nm-online -qs -t 90")
			n.resume()
			n.eventually("status after "+o.name+" with NetworkManager killed at "+point, o.nics, n.nics)
			n.eventually("the host after "+o.name+" with NetworkManager killed at "+point, wanted[o.name], n.text)
			n.stop()
			n.eventually("the rest of the host", others, n.others) // NetworkManager, just started, sets up the primary NIC's link-local address anew
		}
	})
}
