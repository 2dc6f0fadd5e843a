package plan

import (
	"cmp"
	"fmt"
	"slices"

	"multinicd/nic"
)

// find looks for the one link that a NIC means: nil and no refusal if it is not there. A NIC may
// have an enslaved twin of the same MAC, which the kernel uses for it (the VF of an hv_netvsc or of
// a net_failover): that one does not count beside it.
func (p *planner) find(c nic.Config) (*nic.Link, *Refusal) {
	var found []nic.Link
	for _, l := range p.view.Links {
		if l.HasMAC(c.MAC) && l.Physical(p.view.Kinds) {
			found = append(found, l)
		}
	}
	if free := slices.DeleteFunc(slices.Clone(found), func(l nic.Link) bool { return l.Master != 0 }); len(free) > 0 {
		found = free
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return &found[0], nil
	}
	slices.SortFunc(found, func(a, b nic.Link) int { return cmp.Compare(a.Index, b.Index) })
	return nil, refuse(AmbiguousMAC, "%d links have MAC %s (%s, %s); give each its own", len(found), c.MAC, found[0].Name, found[1].Name)
}

// virtual refuses a MAC that virtual links have and no NIC: no port with it will be plugged in.
// Links that may just have borrowed the MAC of a NIC, which comes back, say nothing.
func (p *planner) virtual(c nic.Config) *Refusal {
	for _, l := range p.view.Links {
		if l.HasMAC(c.MAC) && !l.Physical(p.view.Kinds) && !slices.Contains(borrowers, l.Kind) {
			return refuse(NotPhysical, "MAC %s is that of link %s, which is virtual (kind %q) and no NIC; name the MAC of a NIC, or take it out of the object", c.MAC, l.Name, l.Kind)
		}
	}
	return nil
}

// instead says of a NIC that is waited for whose id it has got: that NIC works no more, and the
// object may name another MAC by mistake. It is "" where no other NIC had the id in this boot.
func (p *planner) instead(c nic.Config) string {
	for _, o := range p.record.NICs {
		wanted := slices.ContainsFunc(p.asked, func(a nic.Config) bool { return a.MAC == o.MAC }) || slices.Contains(p.hold, o.MAC)
		if o.MAC != c.MAC && o.Config.ID == c.ID && !wanted {
			return fmt.Sprintf("; the NIC that was %s, %s, is released, since the object names another MAC", o.Config.Name, o.MAC)
		}
	}
	return ""
}

// borrowers are the kinds of link that take the MAC of one of their members.
var borrowers = []string{"bond", "bridge", "team"}

// named lists the NICs that the object names, also where its entry cannot be read, and those that
// we have had in hand.
func named(want []nic.Config, hold []nic.MAC, rec Record) []nic.MAC {
	out := slices.Clone(hold)
	for _, c := range want {
		out = append(out, c.MAC)
	}
	for _, o := range rec.NICs {
		out = append(out, o.MAC)
	}
	slices.SortFunc(out, nic.MAC.Compare)
	return slices.Compact(out)
}

// askedFor gives what the object has of a NIC that is wanted.
func (p *planner) askedFor(m nic.MAC) nic.Config {
	return p.asked[slices.IndexFunc(p.asked, func(c nic.Config) bool { return c.MAC == m })]
}
