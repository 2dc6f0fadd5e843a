// Package nic holds the nouns of a network port: its MAC, what a user wants of it (a NIC), and what
// the kernel shows of it (a link). The machine that it is plugged into is no noun of this package.
//
// In go values parsed from the API or read from the kernel; out come the same values, typed and
// comparable. After the first parse nothing here is a string that could be a prefix or an address.
//
// It does no I/O, decides nothing, and imports nothing of ours.
//
// Start reading at Config (what is wanted) and Link (what is there), then change.go (what makes one
// of the other).
package nic

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// NamePrefix starts the name of every link that we name: multinic<id>.
const NamePrefix = "multinic"

// MaxID is the largest NIC id; ids run from 0.
const MaxID = 9999

// Config is what the user wants of one NIC, found by its MAC. The planner lays a Config out for the
// host: it spells Gateway out in Routes and Rules, and makes addresses in a shared subnet host
// addresses. A backend gets the Config in that form and writes all of it except Gateway.
type Config struct {
	ID        int            // 0..MaxID, unique on the node
	Name      string         // multinic<ID>; at most 15 bytes
	MAC       MAC            // unique on the node
	Addresses []netip.Prefix // host/prefix, unique, in the order wanted; nil: only name and up
	MTU       int            // bytes; 0: leave as it is
	Routes    []Route        // through this NIC, unique; nil: only what the addresses bring
	Gateway   netip.Addr     // default gateway in the NIC's own table; zero: none
	Rules     []Rule         // each from one address of the NIC; unique; nil before the planner
	Apart     bool           // the link needs the Conf called Apart; false before the planner
	Adopt     bool           // may take over a link that a person configured
	PortID    string         // OpenStack port, for messages only; may be empty
}

// NameFor gives the link's name for an id.
func NameFor(id int) string { return fmt.Sprintf("%s%d", NamePrefix, id) }

// Equal compares everything that is wanted. nil and empty lists are the same.
func (c Config) Equal(o Config) bool {
	return c.ID == o.ID && c.Name == o.Name && c.MAC == o.MAC && c.MTU == o.MTU && c.Gateway == o.Gateway &&
		c.Adopt == o.Adopt && c.Apart == o.Apart && slices.Equal(c.Addresses, o.Addresses) && slices.Equal(c.Routes, o.Routes) && slices.Equal(c.Rules, o.Rules)
}

// SortConfigs orders by id, then MAC, so that equal input gives equal output.
func SortConfigs(cs []Config) {
	slices.SortFunc(cs, func(a, b Config) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), a.MAC.Compare(b.MAC))
	})
}

// Address is one address on a link.
type Address struct {
	Prefix    netip.Prefix // host address with prefix length
	Permanent bool         // no lifetime: from a static configuration, not from DHCP or a router
	Tentative bool         // IPv6 duplicate address detection has not ended
	Duplicate bool         // IPv6 duplicate address detection failed: it is in use elsewhere
	// Advertised: IPv6, made by the kernel for a router advertisement (RFC 4862, RFC 8981).
	Advertised bool `json:",omitempty"`
	// Hand: the kernel has told that a process put it there that is neither we nor a network manager.
	Hand bool `json:",omitempty"`
	// Lifetime is what was left of it when the address was read; zero for a permanent one.
	Lifetime Lifetime `json:",omitzero"`
}

// Lifetime says in seconds how long an address stays; zero: for good.
type Lifetime struct {
	Valid     int // until the kernel removes it
	Preferred int // until it is used for answers only; 0 to Valid
}

// String says nothing of seconds: a text that changes by itself says nothing new.
func (l Lifetime) String() string {
	if l == (Lifetime{}) {
		return "for good"
	}
	return "for a time"
}

// Link is what the kernel and the host's network managers show of one link.
type Link struct {
	Index     int      // ifindex; unique until the next boot
	Name      string   // at most 15 bytes
	AltNames  []string // sorted
	MAC       MAC      // current
	Permanent MAC      // burnt in; zero where the driver has none (veth)
	Kind      string   // IFLA_INFO_KIND: "", "veth", "bond", "bridge", "vlan" ...
	Device    bool     // /sys/class/net/NAME/device exists: it is hardware, or virtio
	// Parent is the device of the link: "virtio/virtio1" is /sys/bus/virtio/devices/virtio1. "" where
	// the kernel does not tell (before Linux 5.14), and of a virtual link.
	Parent    string `json:",omitempty"`
	Master    int    // ifindex of the bond or bridge it is enslaved to; 0: none
	Lower     int    `json:",omitempty"` // IFLA_LINK, the ifindex of the link below; 0: none here
	Up        bool   // IFF_UP: administratively up
	Carrier   bool
	MTU       int // bytes
	MinMTU    int // bytes; 0: not told
	MaxMTU    int // bytes; 0: not told
	Addresses []Address
	Routes    []Route // of all tables except local; also those that the kernel made
	// Rules are those of the whole host that have a source, or lead to a table of somebody's own.
	// Rules belong to no link, so all links have the same.
	Rules []Rule
	Conf  Conf
	Conf6 *Conf6 `json:",omitempty"` // nil: the link has no IPv6, or we cannot set it
	// NoIPv6: disable_ipv6 is set on the link, and this process cannot change that. Conf6 is nil then.
	NoIPv6 bool   `json:",omitempty"`
	Claim  *Claim // nil: no network manager but us, or only the former agent, claims it
	// Former are the files that the former agent left for it; sorted.
	Former []string `json:",omitempty"`
	// Written are the addresses that our files for it have now, whoever wrote them there: sorted, each
	// once; nil where the link is none of ours.
	Written []netip.Prefix `json:",omitempty"`
}

// Claim says who, other than us, configures a link, and how we know.
type Claim struct {
	Owner    string // "netplan", "networkd", "NetworkManager"
	File     string // the file that says so; may be empty
	ID       string // the definition or profile in File, such as "ens4"; may be empty
	Evidence string // a sentence for a person
	// Machine: cloud-init, an image, an installer or a network manager by itself wrote it, and
	// nobody who meant this NIC. Such a claim gives way to the object.
	Machine bool `json:",omitempty"`
}

// HasMAC says whether m means this link: by its permanent address, or else by the current one.
func (l Link) HasMAC(m MAC) bool {
	if !l.Permanent.IsZero() {
		return l.Permanent == m
	}
	return l.MAC == m
}

// Physical says whether a MAC may mean this link: bonds, bridges and VLANs that borrow a MAC never
// are physical. kinds are the kinds of virtual link that count as physical, on test machines only.
func (l Link) Physical(kinds []string) bool {
	if l.Kind == "" {
		return l.Device || slices.Contains(kinds, "")
	}
	return slices.Contains(kinds, l.Kind)
}

// Answers says whether name is the link's name or one of its alternative names.
func (l Link) Answers(name string) bool { return l.Name == name || slices.Contains(l.AltNames, name) }

// Holds says whether the link carries the address, whatever its prefix length.
func (l Link) Holds(a netip.Addr) bool {
	return slices.ContainsFunc(l.Addresses, func(h Address) bool { return h.Prefix.Addr() == a })
}
