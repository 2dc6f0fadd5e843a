package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"multinicd/nic"
)

// Mismatch is one difference between what is wanted and what the kernel shows.
type Mismatch struct {
	Field string // "name", "mtu", "up", "address", "route", "rule", "conf"
	Want  string
	Have  string
	// Address is the wanted address, and State says how far it has come. Both are set only with the
	// Field "address", and not for an address that must not be there.
	Address netip.Prefix
	State   AddressState
}

// AddressState says how far a wanted address has come on a link.
type AddressState string

// The states of an address that is not there yet.
const (
	Absent    AddressState = "absent"
	Tentative AddressState = "tentative"             // the kernel asks the neighbours for it
	Duplicate AddressState = "duplicate"             // a neighbour has it, says the kernel
	Leased    AddressState = "there for a time only" // it goes with its lease
	present   AddressState = "present"
)

func (m Mismatch) String() string {
	return fmt.Sprintf("%s: want %s, have %s", m.Field, m.Want, m.Have)
}

// Verify compares one link, as read back, with what is wanted of it and with what must not be there
// any more. Empty: all is well. An IPv6 address whose duplicate address detection runs, or has
// failed, is not there yet. The name is compared unless the kernel refused to change it.
func Verify(c nic.Config, l nic.Link, o Owned) []Mismatch {
	var out []Mismatch
	add := func(field, want, have string) { out = append(out, Mismatch{Field: field, Want: want, Have: have}) }
	if l.Name != c.Name && !o.RenameBlocked {
		add("name", c.Name, l.Name)
	}
	if c.MTU != 0 && l.MTU != c.MTU {
		add("mtu", fmt.Sprint(c.MTU), fmt.Sprint(l.MTU))
	}
	if !l.Up {
		add("up", "up", "down")
	}
	for _, a := range c.Addresses {
		if state := addressState(l, a); state != present {
			out = append(out, Mismatch{Field: "address", Want: a.String(), Have: string(state), Address: a, State: state})
		}
	}
	for _, r := range c.Routes {
		if !slices.ContainsFunc(l.Routes, r.MetBy) {
			add("route", r.String(), "absent")
		}
	}
	for _, r := range c.Rules {
		if !hasRule(l, r) {
			add("rule", r.String(), "absent")
		}
	}
	if c.Apart && l.Conf != nic.Apart {
		add("conf", nic.Apart.String(), l.Conf.String())
	}
	out = append(out, verifyUnadvertised(c, l, o)...)
	out = append(out, verifyRetired(l, o)...)
	addresses, routes := leased(c, l)
	for _, a := range addresses {
		if !o.retired(a.Prefix) {
			out = append(out, Mismatch{Field: "address", Want: "absent", Have: a.Prefix.String() + ", which has a lifetime"})
		}
	}
	for _, r := range routes {
		if !slices.ContainsFunc(o.Retired, func(d Retired) bool { return d.Route != nil && d.shows(r) }) {
			out = append(out, Mismatch{Field: "route", Want: "absent", Have: r.String() + ", by DHCP"})
		}
	}
	return out
}

func addressState(l nic.Link, p netip.Prefix) AddressState {
	i := slices.IndexFunc(l.Addresses, func(a nic.Address) bool { return a.Prefix == p })
	switch {
	case i < 0:
		return Absent
	case l.Addresses[i].Duplicate:
		return Duplicate
	// Without a carrier the kernel's detection does not even begin.
	case l.Addresses[i].Tentative && l.Carrier:
		return Tentative
	case !l.Addresses[i].Permanent:
		return Leased
	}
	return present
}

// VerifyGone compares a link with what must not be there any more once the NIC was given back.
// after may be nil: nothing was ours. What a DHCP client brings then is the next owner's, also
// where it is the very address that was taken over from him.
func VerifyGone(l nic.Link, after *Owned) []Mismatch {
	if after == nil {
		return nil
	}
	return verifyRetired(unleased(l), *after)
}

func verifyRetired(l nic.Link, o Owned) []Mismatch {
	var out []Mismatch
	for _, r := range o.Retired {
		if r.Address.IsValid() && hasAddress(l, r.Address) {
			out = append(out, Mismatch{Field: "address", Want: "absent", Have: r.Address.String()})
		}
		if r.Route != nil && slices.ContainsFunc(l.Routes, r.shows) {
			out = append(out, Mismatch{Field: "route", Want: "absent", Have: r.Route.String()})
		}
		if r.Rule != nil && hasRule(l, *r.Rule) {
			out = append(out, Mismatch{Field: "rule", Want: "absent", Have: r.Rule.String()})
		}
	}
	return out
}
