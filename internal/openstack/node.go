package openstack

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "multinicd/api/v1"
)

// node is one machine with its object and its ports, and what was found out about them.
type node struct {
	machine  Machine
	instance string
	object   *v1.MultiNicNodeConfig // nil: none
	ours     bool                   // the object is ours, or handed over to us
	all      []Port                 // of the instance

	frozen  Reason // "": not frozen
	message string
	primary []string // port ids
	managed []Port   // in the order in which they get ids
	entries []entry  // of the object; none if it is not ours
	remarks []Remark // of ports that are left out
}

// entry is a NIC of the object.
type entry struct {
	nic    v1.Interface
	normal v1.Normal
	// port is the index of its port in managed; -1: none.
	port int
	// absent says that the NIC shall go, if that is proved.
	absent absence
}

// absence is why a NIC has no port any more.
type absence int

const (
	present absence = iota // or not to be judged
	gone                   // the port is not among those of the instance
	optOut                 // the port is there, and not given to us any more
)

// Remark says why a port is left out, or a NIC kept.
type Remark struct {
	PortID  string // "" for a NIC that has none
	Name    string // of the NIC, if it has one
	Reason  Reason
	Message string
}

// look finds out about all machines, in the order of their names.
func (w World) look(r Rules) []*node {
	objects := map[string]*v1.MultiNicNodeConfig{}
	for _, o := range w.Objects {
		objects[o.Name] = o
	}
	byInstance, names := map[string][]Port{}, map[string][]string{}
	for _, p := range w.Seen.Ports {
		instance := strings.ToLower(p.DeviceID)
		byInstance[instance] = append(byInstance[instance], p)
	}
	var out []*node
	for _, m := range w.Machines {
		n := &node{machine: m, instance: m.instance(w.Seen.Regions), object: objects[m.Name]}
		names[n.instance] = append(names[n.instance], m.Name)
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b *node) int { return cmp.Compare(a.machine.Name, b.machine.Name) })
	for _, n := range out {
		n.all = byInstance[n.instance]
		n.ours = n.object != nil && ours(n.object)
		twins := names[n.instance]
		switch {
		case n.instance == "":
			n.freeze(NotOfCloud, "the Node has no instance id of a cloud that is asked")
		case len(twins) > 1:
			slices.Sort(twins)
			n.freeze(InstanceTwice, fmt.Sprintf("the Nodes %s have the same instance id %s", strings.Join(twins, " and "), n.instance))
		default:
			n.findPrimary()
			if n.frozen == NoPrimary && !w.Seen.Whole {
				n.message += "; not every cloud could be asked"
			}
		}
		if n.frozen == "" {
			n.classify(w.Seen, r)
			n.match()
		}
	}
	return out
}

// ours says whether internal/publish would let us change the object.
func ours(o *v1.MultiNicNodeConfig) bool {
	to := o.Annotations[v1.HandOverAnnotation]
	return to == v1.PublisherOpenStack || o.Labels[v1.PublisherLabel] == v1.PublisherOpenStack && to == ""
}

func (n *node) freeze(reason Reason, message string) { n.frozen, n.message = reason, message }

// findPrimary finds the ports by which the node has its own addresses. Those that were found once
// stay the primary ones as long as one of them is there.
func (n *node) findPrimary() {
	if n.ours {
		n.entries = entriesOf(n.object)
		for id := range strings.SplitSeq(n.object.Annotations[v1.PrimaryPortAnnotation], ",") {
			if slices.ContainsFunc(n.all, func(p Port) bool { return p.ID == id }) {
				n.primary = append(n.primary, id)
			}
		}
	}
	own := n.machine.own()
	if len(n.primary) == 0 {
		for _, p := range n.all {
			if slices.ContainsFunc(p.FixedIPs, func(f FixedIP) bool { return slices.Contains(own, f.Address) }) {
				n.primary = append(n.primary, p.ID)
			}
		}
		slices.Sort(n.primary)
	}
	if len(n.primary) == 0 {
		n.freeze(NoPrimary, fmt.Sprintf("none of the instance's %d ports has the node's own address %v", len(n.all), own))
		return
	}
	for _, e := range n.entries {
		for _, p := range n.all {
			if slices.Contains(n.primary, p.ID) && (e.nic.PortID == p.ID || e.normal.MACAddress == p.MACAddress) {
				n.freeze(PrimaryInObject, fmt.Sprintf("%s is port %s, by which the node has its own address: take it out of the object", e.normal.Name, p.ID))
			}
		}
	}
}

func entriesOf(o *v1.MultiNicNodeConfig) []entry {
	normals, _ := o.Validate()
	out := make([]entry, len(normals))
	for i, n := range normals {
		out[i] = entry{nic: o.Spec.Interfaces[i], normal: n, port: -1}
	}
	return out
}

// classify says which ports are managed, and why the others are not.
func (n *node) classify(seen Seen, r Rules) {
	slices.SortFunc(n.all, func(a, b Port) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	for _, p := range n.all {
		reason, message := Reason(""), ""
		switch {
		case slices.Contains(n.primary, p.ID):
			reason, message = Primary, "the node has its own address by this port"
		case !seen.Projects[p.ProjectID]:
			reason, message = ForeignProject, fmt.Sprintf("the port is one of project %q", p.ProjectID)
		case p.DeviceOwner == "trunk:subport":
			reason, message = Subport, "a subport of a trunk is a VLAN on a NIC, and no NIC"
		case !strings.HasPrefix(p.DeviceOwner, "compute:"):
			reason, message = ForeignOwner, fmt.Sprintf("device_owner is %q", p.DeviceOwner)
		case !r.allow(p):
			reason, message = NotAllowed, "neither the allow list nor the tag "+v1.EnabledTag+" gives the port to us"
		}
		if reason == "" {
			n.managed = append(n.managed, p)
		} else {
			n.remark(p.ID, "", reason, message)
		}
	}
}

func (n *node) remark(port, name string, reason Reason, message string) {
	n.remarks = append(n.remarks, Remark{port, name, reason, message})
}

// match finds the port of each NIC: by its id, else by its MAC. Whoever has none is absent, if its
// port was known.
func (n *node) match() {
	used := make([]bool, len(n.managed))
	find := func(e *entry, same func(Port) bool) {
		for i, p := range n.managed {
			if e.port < 0 && !used[i] && same(p) {
				e.port, used[i] = i, true
			}
		}
	}
	for i := range n.entries {
		if e := &n.entries[i]; e.nic.PortID != "" {
			find(e, func(p Port) bool { return p.ID == e.nic.PortID })
		}
	}
	for i := range n.entries {
		e := &n.entries[i]
		live := slices.IndexFunc(n.all, func(p Port) bool { return p.ID == e.nic.PortID })
		if e.port < 0 && live < 0 {
			find(e, func(p Port) bool { return p.MACAddress == e.normal.MACAddress })
		}
		switch {
		case e.port >= 0:
		case e.nic.PortID == "":
			n.remark("", e.normal.Name, NoPort, "no port has its MAC: somebody wrote it by hand, and has to remove it by hand")
		case live < 0:
			e.absent = gone
		case slices.ContainsFunc(n.remarks, func(r Remark) bool { return r.PortID == e.nic.PortID && r.Reason == NotAllowed }):
			e.absent = optOut
		}
	}
}

// claims are the MACs, addresses and ids that NICs of the list have.
type claims struct {
	mac       map[string]string // each by whom
	addresses map[netip.Addr]string
	ids       map[int32]bool
}

// conflict says whose MAC or address a NIC has.
func (c claims) conflict(nic v1.Interface) (Reason, string) {
	if by, is := c.mac[strings.ToLower(nic.MACAddress)]; is {
		return SameMAC, by
	}
	for _, a := range normal(nic).Addresses {
		if by, is := c.addresses[a.Addr()]; is {
			return SameAddress, by
		}
	}
	return "", ""
}

func (c claims) claim(nic v1.Interface, by string) {
	c.mac[strings.ToLower(nic.MACAddress)] = by
	for _, a := range normal(nic).Addresses {
		c.addresses[a.Addr()] = by
	}
}

func normal(nic v1.Interface) v1.Normal {
	o := v1.MultiNicNodeConfig{Spec: v1.MultiNicNodeConfigSpec{Interfaces: []v1.Interface{nic}}}
	out, _ := o.Validate()
	return out[0]
}

// compose gives the NICs that the object shall have: those whose ports are managed, and those that
// are absent and not released, as they are.
func (n *node) compose(seen Seen, r Rules, released func(entry) bool) []v1.Interface {
	var out []v1.Interface
	taken := claims{map[string]string{}, map[netip.Addr]string{}, map[int32]bool{}}
	last := make([]*entry, len(n.managed))
	for i := range n.entries {
		e := &n.entries[i]
		switch {
		case e.port >= 0:
			last[e.port] = e
		case e.absent != present && released(*e):
			continue
		default:
			taken.claim(e.nic, e.normal.Name)
			out = append(out, e.nic)
		}
		if e.normal.Name != "" {
			taken.ids[e.normal.ID] = true
		}
	}
	for _, known := range []bool{true, false} { // who is there goes before who comes
		for i, p := range n.managed {
			e := last[i]
			if known != (e != nil) {
				continue
			}
			nic, ok := n.one(p, e, seen, r, taken)
			if !ok {
				continue
			}
			if len(out) == v1.MaxInterfaces {
				n.remark(p.ID, "", TooMany, fmt.Sprintf("the node has %d NICs already", len(out)))
				continue
			}
			n.number(&nic, p, e, taken)
			taken.claim(nic, cmp.Or(nic.Name, "port "+p.ID))
			out = append(out, nic)
		}
	}
	return out
}

// one is the NIC of a managed port; e is its entry, nil for a new one. If the port cannot be had as
// it is, a new one is left out, and one that is there stays as it is.
func (n *node) one(p Port, e *entry, seen Seen, r Rules, taken claims) (v1.Interface, bool) {
	var was *v1.Interface
	name := ""
	if e != nil {
		was, name = &e.nic, e.normal.Name
	}
	nic, no := r.nic(p, seen, was)
	if no == nil {
		if reason, by := taken.conflict(nic); reason != "" {
			no = &unusable{reason, fmt.Sprintf("%s has it; if that one's port is gone, this one is taken once that is certain", by)}
		}
	}
	if no == nil {
		check := v1.MultiNicNodeConfig{}
		check.Name, check.Spec.NodeName = "x", "x"
		check.Spec.Interfaces = []v1.Interface{nic}
		check.Spec.Interfaces[0].ID, check.Spec.Interfaces[0].Name = new(int32(0)), ""
		if _, errs := check.Validate(); len(errs) > 0 {
			no = &unusable{Malformed, errs.Error()}
		}
	}
	if no == nil {
		return nic, true
	}
	n.remark(p.ID, name, no.reason, no.message)
	if e == nil {
		return nic, false
	}
	return e.nic, true
}

// number gives the NIC the id that it has, or the one that its port proposes if that is free.
func (n *node) number(nic *v1.Interface, p Port, e *entry, taken claims) {
	wants := p.id()
	if e != nil && e.normal.Name != "" {
		nic.ID, nic.Name = new(e.normal.ID), ""
		if wants != nil && *wants != e.normal.ID {
			n.remark(p.ID, e.normal.Name, IDKept, fmt.Sprintf("the tag proposes id %d; ids are given once", *wants))
		}
		return
	}
	nic.ID, nic.Name = nil, ""
	switch {
	case wants == nil:
	case taken.ids[*wants]:
		n.remark(p.ID, "", IDKept, fmt.Sprintf("another NIC has id %d, which the tag proposes", *wants))
	default:
		taken.ids[*wants], nic.ID = true, wants
	}
}
