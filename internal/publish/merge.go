package publish

import (
	"cmp"
	"reflect"
	"slices"
	"strings"

	v1 "multinicd/api/v1"
)

// entry is a NIC of the object as it is.
type entry struct {
	v1.Interface
	normal v1.Normal
	named  bool // it has an id
	used   bool // the wish has the NIC, too
}

// merged is what the list of NICs becomes.
type merged struct {
	nics     []v1.Interface
	kept     []string // names of NICs that the wish has not got
	reserved []reserved
	full     bool // there is no id for a new NIC
}

// merge brings the NICs of a wish into the list of an object. The wish has passed Validate.
//
// A NIC is known by its port, else by its MAC. It keeps its place in the list and its id, and what
// means the same stays as it is spelled. New NICs come at the end. A new NIC gets the id that it
// had before it went, else the proposed one, else the lowest that is free.
func merge(w Wish, have *v1.MultiNicNodeConfig, removals Removals) merged {
	var out merged
	entries := entriesOf(have)
	held := map[int32]bool{}
	known := known(w.NICs, entries)
	gone := reservations(have)
	next := have.Generation + 1
	for i, k := range known {
		if k >= 0 && !entries[k].named { // an object from before the rules: the NIC is a new one
			known[i] = -1
		}
	}
	for i := range entries {
		e := &entries[i]
		switch {
		case e.used && !e.named:
			continue
		case e.used:
			nic := w.NICs[slices.Index(known, i)]
			out.nics = append(out.nics, renewed(nic, *e))
		case removals == RemovalsKeep:
			out.kept = append(out.kept, cmp.Or(e.normal.Name, e.MACAddress))
			out.nics = append(out.nics, e.Interface)
		case e.named:
			gone = append(gone, reserved{ID: e.normal.ID, MAC: e.normal.MACAddress, PortID: e.PortID, Since: next})
			continue
		default:
			continue
		}
		if e.named {
			held[e.normal.ID] = true
		}
	}
	out.reserved = slices.DeleteFunc(gone, func(r reserved) bool { return held[r.ID] })
	slices.SortFunc(out.reserved, byID)
	var fresh []v1.Interface
	for _, proposed := range []bool{true, false} { // nobody takes the id that another one proposes
		for i, nic := range w.NICs {
			if known[i] >= 0 || proposed != (normal(nic).Name != "") {
				continue
			}
			id, ok := out.newID(nic, held)
			if !ok {
				out.full = true
				return out
			}
			held[id] = true
			fresh = append(fresh, named(nic, id))
		}
	}
	slices.SortFunc(fresh, func(a, b v1.Interface) int { return cmp.Compare(*a.ID, *b.ID) })
	out.nics = append(out.nics, fresh...)
	return out
}

func entriesOf(o *v1.MultiNicNodeConfig) []entry {
	normals, _ := o.Validate()
	entries := make([]entry, len(normals))
	for i, n := range normals {
		entries[i] = entry{Interface: o.Spec.Interfaces[i], normal: n, named: n.Name != ""}
	}
	return entries
}

// known gives for each NIC of a wish the index of its entry, or -1. It marks the entries. Ports
// count before MACs, for all NICs: a port that has got another MAC keeps its id.
func known(nics []v1.Interface, entries []entry) []int {
	out := make([]int, len(nics))
	find := func(i int, same func(entry) bool) {
		for k := range entries {
			if out[i] < 0 && !entries[k].used && same(entries[k]) {
				entries[k].used, out[i] = true, k
			}
		}
	}
	for i, nic := range nics {
		out[i] = -1
		if nic.PortID != "" {
			find(i, func(e entry) bool { return e.PortID == nic.PortID })
		}
	}
	for i, nic := range nics {
		find(i, func(e entry) bool { return e.normal.MACAddress == strings.ToLower(nic.MACAddress) })
	}
	return out
}

// renewed is the entry as the wish wants it. If both mean the same it stays as it is spelled.
func renewed(nic v1.Interface, e entry) v1.Interface {
	next := named(nic, e.normal.ID)
	if e.PortID == nic.PortID && reflect.DeepEqual(normal(next), e.normal) {
		return e.Interface
	}
	return next
}

// named is the NIC with an id, and without a second spelling of the same.
func named(nic v1.Interface, id int32) v1.Interface {
	nic.ID, nic.Name, nic.MACAddress = &id, "", strings.ToLower(nic.MACAddress)
	return nic
}

// normal is an entry with every string parsed.
func normal(nic v1.Interface) v1.Normal {
	o := v1.MultiNicNodeConfig{Spec: v1.MultiNicNodeConfigSpec{Interfaces: []v1.Interface{nic}}}
	out, _ := o.Validate()
	return out[0]
}

// newID is the id for a NIC that the object has not got. held are the ids that are taken.
func (m *merged) newID(nic v1.Interface, held map[int32]bool) (int32, bool) {
	for i, r := range m.reserved {
		if !held[r.ID] && (nic.PortID != "" && nic.PortID == r.PortID || strings.EqualFold(nic.MACAddress, r.MAC)) {
			m.reserved = slices.Delete(m.reserved, i, i+1)
			return r.ID, true
		}
	}
	taken := func(id int32) bool {
		return held[id] || slices.ContainsFunc(m.reserved, func(r reserved) bool { return r.ID == id })
	}
	if n := normal(nic); n.Name != "" && !taken(n.ID) {
		return n.ID, true
	}
	for id := range int32(v1.MaxID + 1) {
		if !taken(id) {
			return id, true
		}
	}
	return 0, false
}
