package plan

import (
	"multinicd/nic"
	"multinicd/plan/lifeline"
)

// View is what is there when a plan is made. Links are as kernel.Kernel gives them, sorted by
// ifindex.
type View struct {
	Links     []nic.Link
	Lifelines []lifeline.Path // what must not be cut
	Deny      []string        // more name patterns (path.Match) of links never touched
	Kinds     []string        // kinds of virtual link that count as physical; test machines only
	// SubnetsOff: addresses in a subnet that several links share are set as they are.
	SubnetsOff bool `json:",omitempty"`
	// NoIPv6 says why no link of this host can have an IPv6 address; empty: some can.
	NoIPv6 string `json:",omitempty"`
	// Failed are NICs whose last change failed: no route that others need is entrusted to them. Any
	// order.
	Failed []nic.MAC `json:",omitempty"`
	// NodeAddrs are the node's addresses by root's word; nil: nobody says which they are.
	NodeAddrs []lifeline.NodeAddr `json:",omitempty"`
	// Answers are the links, by ifindex, through which an API server answered when it was asked by a
	// connection bound to that link. Sorted; only links with a default route are asked.
	Answers []int `json:",omitempty"`
	// Named are the NICs that the object names, sorted. Make sets it.
	Named []nic.MAC `json:",omitempty"`
	// NoTakeOver: what a machine wrote for a link does not give way to the object ([links] take_over).
	NoTakeOver bool `json:",omitempty"`
	// NoAdopt: what a person wrote does not give way either, whatever the object says ([links] adopt).
	NoAdopt bool `json:",omitempty"`
	// Elsewhere are NICs of which the device is here, and the link is in another network namespace.
	// Any order.
	Elsewhere []nic.MAC `json:",omitempty"`
	// Protect are destinations that no route through a NIC of ours may draw, beside the cloud's
	// metadata.
	Protect []lifeline.Protected `json:",omitempty"`
	// Tables are the routing tables that a route may name beside main and the NIC's own ([routing]
	// allow_tables).
	Tables []int `json:",omitempty"`
}

// lifelines gives what has to be known to say what the node lives by.
func (m View) lifelines(rec Record) lifeline.Host {
	return lifeline.Host{Links: m.Links, Paths: m.Lifelines, NodeAddrs: m.NodeAddrs, Answers: m.Answers, Named: m.Named,
		Ours: rec.inForce(), Kinds: m.Kinds, Protect: m.Protect}
}
