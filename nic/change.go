package nic

import (
	"fmt"
	"net/netip"
	"strings"
)

// Change is what has to change on one link in the kernel. The zero values of its parts mean: leave as it is.
type Change struct {
	Index     int    // ifindex
	MAC       MAC    // the link at Index must still be this NIC
	Name, Had string // rename to Name; Had is the present name, always set
	MTU       int    // bytes
	HadMTU    int
	Up        bool // set up
	Down      bool // set down
	Add       []netip.Prefix
	Del       []netip.Prefix
	AddRoutes []Route
	DelRoutes []Route // one with a Protocol: that one of two of equal keys, and only while there are two
	AddRules  []Rule
	DelRules  []Rule
	Conf      *Conf // nil: leave
	HadConf   *Conf
	Conf6     *Conf6 `json:",omitempty"` // nil: leave; what is as in HadConf6 is left, too
	HadConf6  *Conf6 `json:",omitempty"` // set with Conf6
	// Advertised and AdvertisedRoutes are what router advertisements brought, to be removed. Nothing undoes that: where they are let in, the
	// next one brings the same again.
	Advertised       []netip.Prefix `json:",omitempty"`
	AdvertisedRoutes []Route        `json:",omitempty"`
	// Way, set with Name only, is the other link that is called so now, renamed to make way for this one. It is done first.
	Way *Change `json:",omitempty"`
}

// Empty says that the link is as it should be.
func (c Change) Empty() bool {
	return c.Name == "" && c.MTU == 0 && !c.Up && !c.Down && c.Conf == nil && c.Conf6 == nil &&
		len(c.Advertised)+len(c.AdvertisedRoutes)+len(c.Add)+len(c.Del)+len(c.AddRoutes)+len(c.DelRoutes)+len(c.AddRules)+len(c.DelRules) == 0
}

// Inverse is the change that undoes c, given that c was made of what the link showed; see Advertised for what is left out.
func (c Change) Inverse() Change {
	out := Change{Index: c.Index, MAC: c.MAC, Had: c.Had, Up: c.Down, Down: c.Up, Add: c.Del, Del: c.Add, AddRoutes: c.DelRoutes, DelRoutes: c.AddRoutes,
		AddRules: c.DelRules, DelRules: c.AddRules}
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

// String is for a person, one line a part: "+ address 192.0.2.7/24".
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
