// Package lifeline says what the node lives by: which links, and which places that only some links
// lead to.
//
// In goes a Host: its links, the paths to the API servers, the node's addresses, and which NICs are
// ours. Out comes why the node lives by a link (Host.Lives), and whose traffic a route would draw
// (Host.Cuts, Host.Draws).
//
// It refuses nothing and plans nothing: package plan does. It touches nothing, reads nothing and
// knows no clock.
//
// Start reading at Host, then Host.Lives in lives.go. cuts.go has the two questions about routes.
package lifeline

import (
	"net/netip"

	"multinicd/nic"
)

// Host is what has to be known of a host to say what its node lives by.
type Host struct {
	Links     []nic.Link // sorted by ifindex
	Paths     []Path     // what must not be cut
	NodeAddrs []NodeAddr // the node's addresses by root's word; nil: nobody says which they are
	// Answers are the links, by ifindex, through which an API server answered when it was asked by a
	// connection bound to that link. Sorted; only links with a default route are asked.
	Answers []int
	Named   []nic.MAC // the NICs that the object names; any order
	Ours    []nic.MAC // the NICs of ours whose configuration is in force; any order
	Kinds   []string  // kinds of virtual link that count as physical; test machines only
	// Protect are destinations that no route through a NIC of ours may draw, beside the cloud's
	// metadata.
	Protect []Protected
}

// Protected is a destination whose traffic no NIC of ours may draw.
type Protected struct {
	To   netip.Prefix
	What string // for messages: "a name server of this host (/etc/resolv.conf)"
	// Here: where the way leads through a link already, that link may keep it. So is a name server
	// that the NIC's own subnet has.
	Here bool `json:",omitempty"`
}

// NodeAddr is an address of the node, and the evidence for it: a sentence that names the file or
// the process.
type NodeAddr struct {
	Addr     netip.Addr
	Evidence string
}

// Path is a way out of the host that the node lives by.
type Path struct {
	What   string     // "the API server", with the proxy before it
	To     netip.Addr // where it leads
	Index  int        // ifindex of the link it takes now; 0: no route now
	Source netip.Addr // address it uses now
	Via    netip.Addr // next hop; zero: on link
}
