package openstack

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	v1 "multinicd/api/v1"
)

// life is a cloud with some instances, what really is in it, and the objects that were made of it.
type life struct {
	t       *rapid.T
	now     time.Time
	nodes   []Machine
	ports   map[string]Port // the truth
	objects map[string]*v1.MultiNicNodeConfig
	memory  Memory
	made    int
}

func instanceOf(i int) string { return fmt.Sprintf("instance-%d", i) }

func newLife(t *rapid.T) *life {
	l := &life{t: t, now: begin, ports: map[string]Port{}, objects: map[string]*v1.MultiNicNodeConfig{}}
	for i := range rapid.IntRange(1, 3).Draw(t, "nodes") {
		m := machine(fmt.Sprintf("n%d", i), instanceOf(i))
		m.Addresses = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)})}
		l.nodes = append(l.nodes, m)
		p := primary()
		p.ID, p.DeviceID, p.FixedIPs[0].Address = "primary-"+m.Name, instanceOf(i), m.Addresses[0]
		p.MACAddress = fmt.Sprintf("fa:16:3e:ff:00:%02x", i)
		l.ports[p.ID] = p
	}
	return l
}

// change does something to the cloud that Neutron means.
func (l *life) change() {
	var ids []string
	for id := range l.ports {
		if !strings.HasPrefix(id, "primary") {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	what := rapid.SampledFrom([]string{"attach", "attach", "detach", "delete", "opt out", "address", "MAC", "owner", "replace"}).Draw(l.t, "change")
	if what == "attach" || len(ids) == 0 {
		l.attach(nil)
		return
	}
	p := l.ports[rapid.SampledFrom(ids).Draw(l.t, "port")]
	switch what {
	case "detach":
		p.DeviceID, p.DeviceOwner = "", ""
	case "delete":
		delete(l.ports, p.ID)
		return
	case "replace": // by one with the same address
		delete(l.ports, p.ID)
		l.attach(p.FixedIPs)
		return
	case "opt out":
		p.NetworkID = map[string]string{"data": "other", "other": "data"}[p.NetworkID]
	case "address":
		l.made++
		p.FixedIPs = []FixedIP{{"data-4", netip.AddrFrom4([4]byte{10, 0, 2, byte(l.made)})}}
	case "MAC":
		l.made++
		p.MACAddress = fmt.Sprintf("fa:16:3e:00:01:%02x", l.made)
	case "owner":
		p.DeviceID, p.DeviceOwner = instanceOf(rapid.IntRange(0, 2).Draw(l.t, "instance")), "compute:nova"
	}
	l.ports[p.ID] = p
}

func (l *life) attach(ips []FixedIP) {
	l.made++
	p := port(fmt.Sprintf("port-%03d", l.made), l.made)
	p.DeviceID = instanceOf(rapid.IntRange(0, len(l.nodes)-1).Draw(l.t, "instance"))
	if ips != nil {
		p.FixedIPs = ips
	}
	l.ports[p.ID] = p
}

// walk is one walk with what follows from it. With faults, Neutron lies, and the publisher is killed
// between two writes.
func (l *life) walk(faults bool) {
	l.now = l.now.Add(time.Minute)
	fault := ""
	if faults {
		fault = rapid.SampledFrom([]string{"", "", "", "cut", "empty", "hidden", "primary hidden", "no subnets", "restart", "killed", "deaf"}).Draw(l.t, "fault")
	}
	w := World{Now: l.now, Machines: l.nodes, Seen: seen()}
	for _, id := range slices.Sorted(maps.Keys(l.ports)) {
		hide := fault == "empty" || fault == "cut" && rapid.Bool().Draw(l.t, "hide") ||
			fault == "hidden" && !strings.HasPrefix(id, "primary") && rapid.Bool().Draw(l.t, "hide") ||
			fault == "primary hidden" && strings.HasPrefix(id, "primary")
		if p := l.ports[id]; p.DeviceID != "" && !hide {
			w.Seen.Ports = append(w.Seen.Ports, p)
		}
	}
	w.Seen.Whole = fault != "cut"
	if fault == "no subnets" {
		w.Seen.Subnets, w.Seen.Networks = nil, nil
	}
	if fault == "restart" {
		l.memory = Memory{}
	}
	for _, o := range l.objects {
		w.Objects = append(w.Objects, o)
	}
	proofs := map[string]Proof{}
	for _, d := range Doubts(w, l.memory, rules) {
		p, known := l.ports[d.PortID]
		switch {
		case fault == "deaf": // the role is gone meanwhile: nothing is found by its id either
			proofs[d.PortID] = Proof{}
		case known:
			proofs[d.PortID] = Proof{Port: &p}
		default:
			proofs[d.PortID] = Proof{Primary: true}
		}
	}
	v := Judge(w, l.memory, proofs, rules)
	l.memory = v.Memory
	for _, n := range v.Nodes {
		if n.Wish == nil || fault == "killed" && rapid.Bool().Draw(l.t, "killed before") {
			continue
		}
		have := l.objects[n.Node]
		next := stored(l.t, have, *n.Wish)
		l.meant(n, have, next)
		l.objects[n.Node] = next
	}
	if fault == "killed" {
		l.memory = Memory{}
	}
}

// meant fails if a NIC is gone from an object, and the port is still there and given to us.
func (l *life) meant(n NodeVerdict, have, next *v1.MultiNicNodeConfig) {
	if have == nil {
		return
	}
	for i, nic := range entriesOf(have) {
		there := slices.ContainsFunc(entriesOf(next), func(e entry) bool {
			return e.nic.PortID == nic.nic.PortID || e.normal.MACAddress == nic.normal.MACAddress
		})
		p, known := l.ports[have.Spec.Interfaces[i].PortID]
		if !there && known && p.DeviceID == n.Instance && rules.allow(p) {
			l.t.Fatalf("%s goes from %s, and its port %+v is there", nic.normal.Name, n.Node, p)
		}
	}
	for _, e := range entriesOf(next) { // an id is that of one port for ever, or of its MAC
		for _, was := range entriesOf(have) {
			if was.nic.PortID == e.nic.PortID && was.normal.ID != e.normal.ID {
				l.t.Fatalf("port %s had id %d, and has %d", e.nic.PortID, was.normal.ID, e.normal.ID)
			}
		}
	}
}

func TestNothingGoesThatNeutronDidNotMean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(t)
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "something changes") {
				l.change()
			}
			l.walk(true)
		}
		for range 6 {
			l.walk(false)
			for _, o := range l.objects { // a person looks at what is held
				if o.Annotations == nil {
					o.Annotations = map[string]string{}
				}
				o.Annotations[v1.ConfirmRemovalsAnnotation] = l.word()
			}
		}
		for i, m := range l.nodes {
			var want, got []string
			for _, id := range slices.Sorted(maps.Keys(l.ports)) {
				if p := l.ports[id]; p.DeviceID == instanceOf(i) && rules.allow(p) && strings.HasPrefix(p.DeviceOwner, "compute:") {
					want = append(want, p.ID+" "+p.FixedIPs[0].Address.String())
				}
			}
			if o := l.objects[m.Name]; o != nil {
				for _, nic := range o.Spec.Interfaces {
					got = append(got, nic.PortID+" "+nic.Address)
				}
			}
			slices.Sort(got)
			if !slices.Equal(want, got) {
				t.Fatalf("at the end %s has %v, and Neutron has %v", m.Name, got, want)
			}
		}
	})
}

// word is that of what would go in the next walk.
func (l *life) word() string {
	w := World{Now: l.now.Add(time.Minute), Machines: l.nodes, Seen: seen()}
	for _, id := range slices.Sorted(maps.Keys(l.ports)) {
		if p := l.ports[id]; p.DeviceID != "" {
			w.Seen.Ports = append(w.Seen.Ports, p)
		}
	}
	for _, o := range l.objects {
		w.Objects = append(w.Objects, o)
	}
	may := map[key]bool{}
	for _, d := range Doubts(w, l.memory, rules) {
		may[key{d.Node, d.PortID}] = true
	}
	return wordOf(may)
}
