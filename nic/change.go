package nic

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Change is what has to change on one link in the kernel. A part that is zero leaves the link as it
// is.
type Change struct {
	Index     int    // ifindex
	MAC       MAC    // the link at Index must still be this NIC
	Name, Had string // rename to Name. Had is the present name and is always set
	MTU       int    // bytes
	HadMTU    int
	Up        bool // set up
	Down      bool // set down
	Add       []netip.Prefix
	Del       []netip.Prefix
	// Terms are the lifetimes of addresses: of those in Add what they get, of those in Del what they
	// had, and of others that they stay and get another one.
	Terms     []Term `json:",omitempty"`
	AddRoutes []Route
	// A route with a Protocol: of two routes with equal keys, the one of that protocol, and only
	// while there are two.
	DelRoutes []Route
	// Theirs are those of DelRoutes that another has made, as they were found, so that the undo puts
	// them back as his.
	Theirs   []Route `json:",omitempty"`
	AddRules []Rule
	DelRules []Rule
	Conf     *Conf // nil: leave
	HadConf  *Conf
	// nil: leave as it is. A value that is equal in HadConf6 is left too.
	Conf6    *Conf6 `json:",omitempty"`
	HadConf6 *Conf6 `json:",omitempty"` // set with Conf6
	// Advertised and AdvertisedRoutes were brought by router advertisements, and are to be removed.
	// No undo puts them back: where advertisements are let in, the next one brings them again.
	Advertised       []netip.Prefix `json:",omitempty"`
	AdvertisedRoutes []Route        `json:",omitempty"`
	// Way makes room for a new name: it renames the other link that has the name now. It is done
	// first. It is set only together with Name.
	Way *Change `json:",omitempty"`
}

// Term is a lifetime of one address: the one that it is to have, and the one that it had.
type Term struct {
	Address  netip.Prefix
	Now, Had Lifetime `json:",omitzero"`
}

// Term gives the lifetime that an address of Add is to have.
func (c Change) Term(a netip.Prefix) Lifetime {
	for _, t := range c.Terms {
		if t.Address == a {
			return t.Now
		}
	}
	return Lifetime{}
}

// Extends lists the addresses that are there, stay, and get another lifetime.
func (c Change) Extends() (out []Term) {
	for _, t := range c.Terms {
		if !slices.Contains(c.Add, t.Address) && !slices.Contains(c.Del, t.Address) {
			out = append(out, t)
		}
	}
	return out
}

// Empty says that the link is as it should be.
func (c Change) Empty() bool {
	return c.Name == "" && c.MTU == 0 && !c.Up && !c.Down && c.Conf == nil && c.Conf6 == nil &&
		len(c.Terms)+len(c.Advertised)+len(c.AdvertisedRoutes)+len(c.Add)+len(c.Del)+len(c.AddRoutes)+len(c.DelRoutes)+len(c.AddRules)+len(c.DelRules) == 0
}

// Inverse is the change that undoes c. It is right if c was made from what the link showed.
// Advertised addresses and routes are left out, see there.
func (c Change) Inverse() Change {
	out := Change{Index: c.Index, MAC: c.MAC, Had: c.Had, Up: c.Down, Down: c.Up, Add: c.Del, Del: c.Add, Theirs: c.Theirs,
		AddRules: c.DelRules, DelRules: c.AddRules}
	for _, r := range c.DelRoutes {
		if i := slices.IndexFunc(c.Theirs, func(o Route) bool { return o.Key() == r.Key() }); i >= 0 && r.Protocol == 0 {
			r = c.Theirs[i]
		}
		out.AddRoutes = append(out.AddRoutes, r)
	}
	for _, r := range c.AddRoutes {
		if slices.Contains(c.Theirs, r) {
			r.Protocol = 0
		}
		out.DelRoutes = append(out.DelRoutes, r)
	}
	for _, t := range c.Terms {
		out.Terms = append(out.Terms, Term{Address: t.Address, Now: t.Had, Had: t.Now})
	}
	if c.Name != "" {
		out.Name, out.Had = c.Had, c.Name
	}
	if c.MTU != 0 {
		out.MTU, out.HadMTU = c.HadMTU, c.MTU
	}
	if c.Conf != nil {
		out.Conf, out.HadConf = c.HadConf, c.Conf
	}
	if c.Conf6 != nil {
		out.Conf6, out.HadConf6 = c.HadConf6, c.Conf6
	}
	return out
}

// String is for a person, one line for each part: "+ address 192.0.2.7/24".
func (c Change) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if c.Way != nil {
		line("~ name %s -> %s, of the NIC %s, to make way", c.Way.Had, c.Way.Name, c.Way.MAC)
	}
	if c.Name != "" {
		line("~ name %s -> %s", c.Had, c.Name)
	}
	if c.MTU != 0 {
		line("~ mtu %d -> %d", c.HadMTU, c.MTU)
	}
	if c.Up {
		line("~ down -> up")
	}
	if c.Down {
		line("~ up -> down")
	}
	if c.Conf != nil {
		line("~ %s -> %s", c.HadConf, c.Conf)
	}
	if c.Conf6 != nil {
		line("~ %s -> %s", c.HadConf6, c.Conf6)
	}
	for _, a := range c.Advertised {
		line("- address %s, by a router advertisement", a)
	}
	for _, r := range c.AdvertisedRoutes {
		line("- route %s, by a router advertisement", r)
	}
	for _, a := range c.Del {
		line("- address %s", a)
	}
	for _, a := range c.Add {
		line("+ address %s", a)
	}
	for _, t := range c.Extends() {
		line("~ address %s %s -> %s", t.Address, t.Had, t.Now)
	}
	for _, r := range c.DelRoutes {
		line("- route %s", r)
	}
	for _, r := range c.AddRoutes {
		line("+ route %s", r)
	}
	for _, r := range c.DelRules {
		line("- rule %s", r)
	}
	for _, r := range c.AddRules {
		line("+ rule %s", r)
	}
	return b.String()
}
