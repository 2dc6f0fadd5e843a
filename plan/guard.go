package plan

import (
	"path"
	"slices"

	"multinicd/nic"
	"multinicd/plan/lifeline"
)

// never lists names of links that belong to container networks and tunnels, whatever their kind. A
// node loses its Pods when such a link changes.
var never = []string{
	"lo", "cali*", "tunl*", "vxlan*", "wireguard.cali", "cilium_*", "lxc*", "flannel*", "cni*", "kube-ipvs0", "kube-bridge", "nodelocaldns",
	"docker*", "br-*", "ovn*", "ovs-*", "genev_sys*", "antrea*", "weave*", "virbr*", "vnet*", "tap*", "tun*", "wg*", "bond*", "team*", "dummy*",
}

// Guard says why a link that is not ours must not be touched, or nil; of any link GuardOf does. It
// is asked when planning and again right before every change, by the one writer of links. What is
// wanted counts in one thing only, which of equal default routes is the node's: no wish makes a
// protected link fair game.
func Guard(l nic.Link, m View) *Refusal { return GuardOf(Record{}, l, m) }

// GuardOf is Guard for what we remember: on a link of a NIC that is ours and in force, a default
// route by a router advertisement, or a second one by DHCP, is drift and protects nothing.
func GuardOf(rec Record, l nic.Link, m View) *Refusal {
	if r := NotOurs(l, m); r != nil {
		return r
	}
	by := Lives(l, m, rec)
	switch {
	case by == nil:
		return nil
	case by.Default:
		return refuse(ProtectedLink, "link %s %s: the node would be lost; give it another default route first, or take this NIC out of the object", l.Name, by.Why)
	case by.Silent:
		return refuse(ProtectedLink, "link %s %s: the node would be lost; take this NIC out of the object, or mend the other link's way", l.Name, by.Why)
	}
	return refuse(ProtectedLink, "link %s %s: the node would be lost; take this NIC out of the object", l.Name, by.Why)
}

// Lives says why the node lives by link l, or nil.
func Lives(l nic.Link, m View, rec Record) *lifeline.Life { return m.lifelines(rec).Lives(l) }

// ToAsk lists the links, by ifindex and sorted, of which View.Answers should tell.
func ToAsk(m View, rec Record) []int { return m.lifelines(rec).ToAsk() }

// Again asks once more, right before a change and of the machine as it is then, what Make asked:
// whether link l may be touched, and whether what is wanted of it can stand beside the rest of the
// host. c is as Make laid it out, rec as Make knew it, and was what it knew of this NIC; nil:
// nothing. Addresses that other links of ours are to give up may still be there.
//
// Whose traffic is drawn (see drawsOthers) is not asked again. A network of Pods that has come
// since is treated as one that comes a moment later: the NIC stays as it is, and doctor names both
// (overlapping-networks). What the node itself lives by is asked in any case.
func Again(c nic.Config, l nic.Link, m View, rec Record, was *Owned) *Refusal {
	if r := GuardOf(rec, l, m); r != nil {
		return r
	}
	p := planner{asked: []nic.Config{c}, want: []nic.Config{c}, view: m, record: rec}
	var known Owned
	if was != nil {
		known = *was
	}
	if r := p.foreign(c, l, known, was != nil); r != nil {
		return r
	}
	for _, a := range c.Addresses {
		if r := p.addressConflict(a, l); r != nil {
			return r
		}
	}
	for _, route := range c.Routes {
		if r := p.routeConflict(c, route, l); r != nil {
			return r
		}
	}
	return nil
}

// NotOurs says why the link is of a kind that is never touched. It is the part of Guard that holds
// for an undo too: what we changed we may put back, also where the change itself has drawn the
// node's path to the link.
func NotOurs(l nic.Link, m View) *Refusal {
	for _, pattern := range slices.Concat(never, m.Deny) {
		if ok, err := path.Match(pattern, l.Name); err == nil && ok {
			return refuse(NotPhysical, "link %s has a name of the form %s, which container networks and tunnels use: it is never touched; name the MAC of a NIC of its own", l.Name, pattern)
		}
	}
	if !l.Physical(m.Kinds) {
		return refuse(NotPhysical, "link %s is virtual (kind %q), no NIC: it is never touched; name the MAC of a NIC", l.Name, l.Kind)
	}
	if l.Master != 0 {
		return refuse(NotPhysical, "link %s is part of a bond, bridge or VRF: it is never touched; take it out of there first", l.Name)
	}
	return nil
}
