package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"multinicd/nic"

	"golang.org/x/sys/unix"
)

// changeAddresses first adds and then deletes, so that the link is never without an address. An
// IPv6 address that only gets another prefix length is deleted first, because the kernel has an
// address once per link. So is one to be added that is there, and that the kernel found in use: it
// would stay unused for ever.
func (k *Kernel) changeAddresses(ctx context.Context, c nic.Change, l nic.Link, before raw) error {
	unused := func(a netip.Prefix) bool {
		return slices.Contains(c.Add, a) && slices.ContainsFunc(before.addresses, func(r rawAddress) bool { return r.Prefix == a && r.Duplicate })
	}
	has := func(a netip.Prefix) bool {
		return !unused(a) && slices.ContainsFunc(before.addresses, func(r rawAddress) bool { return r.Prefix == a })
	}
	resized := func(a netip.Prefix) bool {
		return a.Addr().Is6() && slices.ContainsFunc(c.Add, func(n netip.Prefix) bool { return n.Addr() == a.Addr() })
	}
	var links []nic.Link // of the host, see checked
	if slices.ContainsFunc(c.Add, func(a netip.Prefix) bool { return a.Addr().Is6() && !has(a) }) {
		var err error
		if links, _, err = k.look(ctx, 0, 0); err != nil {
			return err
		}
	}
	del := slices.DeleteFunc(slices.Clone(c.Del), func(a netip.Prefix) bool { return !has(a) || slices.Contains(c.Add, a) })
	for _, a := range del {
		if resized(a) {
			if err := k.deleteAddress(ctx, l, a); err != nil {
				return err
			}
		}
	}
	for _, a := range c.Add {
		if has(a) {
			continue
		}
		if unused(a) {
			if err := k.deleteAddress(ctx, l, a); err != nil {
				return err
			}
		}
		attributes := withLifetime(addressAttributes(a), c.Term(a))
		if checked(links, a.Addr()) {
			attributes = append(attributes, attrUint32(unix.IFA_FLAGS, unix.IFA_F_NODAD))
		}
		err := k.rtnl.do(ctx, unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, ifAddr(l.Index, a), attributes...)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("adding address %s to link %s: %w", a, l.Name, gone(err))
		}
	}
	renewed, failed := k.extend(ctx, c, l, before)
	if len(del) == 0 && !renewed {
		return failed
	}
	for _, a := range del {
		if !resized(a) && failed == nil {
			failed = k.deleteAddress(ctx, l, a)
		}
	}
	// the addresses deleted before the failure may have taken something along
	return errors.Join(failed, k.putBack(ctx, c, l, before))
}

// checked says whether the host already has an IPv6 address to itself: on this link with another
// prefix length, or on a link that gives the address up next. Then nobody needs to be asked again,
// and the other link would even answer.
func checked(links []nic.Link, a netip.Addr) bool {
	return a.Is6() && slices.ContainsFunc(links, func(l nic.Link) bool {
		return slices.ContainsFunc(l.Addresses, func(h nic.Address) bool { return h.Prefix.Addr() == a && !h.Tentative && !h.Duplicate })
	})
}

func (k *Kernel) deleteAddress(ctx context.Context, l nic.Link, a netip.Prefix) error {
	err := k.rtnl.do(ctx, unix.RTM_DELADDR, 0, ifAddr(l.Index, a), attr(unix.IFA_LOCAL, a.Addr().AsSlice()))
	// It may have gone with an address that we deleted just before.
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("deleting address %s from link %s: %w", a, l.Name, gone(err))
	}
	return nil
}

// extend gives addresses that are there and stay another lifetime. The kernel does so without an interruption, but one
// thing it cannot: make its own route for an IPv4 address that was added without. Such an address comes anew, and renewed
// says so: something may have gone with it.
func (k *Kernel) extend(ctx context.Context, c nic.Change, l nic.Link, before raw) (renewed bool, err error) {
	terms := c.Extends()
	for _, a := range c.Add { // a DHCP client may have been quicker
		if c.Term(a) == (nic.Lifetime{}) {
			terms = append(terms, nic.Term{Address: a})
		}
	}
	for _, t := range terms {
		i := slices.IndexFunc(before.addresses, func(r rawAddress) bool { return r.Prefix == t.Address })
		if i < 0 {
			continue // its lifetime has ended, or somebody has deleted it: whoever reads the link next sees so
		}
		if have := before.addresses[i]; have.Permanent == (t.Now == nic.Lifetime{}) {
			continue
		} else if t.Address.Addr().Is4() && withoutRoute(have.message) && t.Now == (nic.Lifetime{}) {
			if err := k.deleteAddress(ctx, l, t.Address); err != nil {
				return renewed, err
			}
			renewed = true
		}
		err := k.rtnl.do(ctx, unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, ifAddr(l.Index, t.Address), withLifetime(addressAttributes(t.Address), t.Now)...)
		if err != nil {
			return renewed, fmt.Errorf("making address %s of link %s stay %s: %w", t.Address, l.Name, t.Now, gone(err))
		}
	}
	return renewed, nil
}

// withoutRoute says of an RTM_NEWADDR message that the kernel has made no route for the address (IFA_F_NOPREFIXROUTE).
func withoutRoute(m []byte) bool {
	for kind, v := range attributes(m[unix.SizeofIfAddrmsg:]) {
		if kind == unix.IFA_FLAGS {
			return number(v)&unix.IFA_F_NOPREFIXROUTE != 0
		}
	}
	return false
}

// parseLifetime reads a struct ifa_cacheinfo (linux/if_addr.h).
func parseLifetime(v []byte) (out nic.Lifetime) {
	if len(v) < unix.SizeofIfaCacheinfo {
		return out
	}
	if n := binary.NativeEndian.Uint32(v[4:]); n != math.MaxUint32 {
		out.Valid = int(n)
	}
	if n := binary.NativeEndian.Uint32(v); n != math.MaxUint32 {
		out.Preferred = int(n)
	}
	return out
}

// withLifetime adds a struct ifa_cacheinfo where there is a lifetime.
func withLifetime(a []attribute, t nic.Lifetime) []attribute {
	if t.Valid == 0 {
		return a
	}
	v := make([]byte, unix.SizeofIfaCacheinfo)
	put32(v, uint32(min(t.Preferred, t.Valid)))
	put32(v[4:], uint32(t.Valid))
	return append(a, attr(unix.IFA_CACHEINFO, v))
}

// ifAddr is a struct ifaddrmsg (linux/if_addr.h). The scope of an IPv4 address is the one that
// systemd-networkd and ip-address(8) give. networkd, when it meets the address at the next boot,
// takes it for its own if scope and broadcast are the same.
func ifAddr(index int, p netip.Prefix) []byte {
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0], b[1], b[3] = unix.AF_INET, byte(p.Bits()), unix.RT_SCOPE_UNIVERSE
	switch {
	case p.Addr().Is6():
		b[0] = unix.AF_INET6
	case p.Addr().IsLoopback():
		b[3] = unix.RT_SCOPE_HOST
	case p.Addr().IsLinkLocalUnicast():
		b[3] = unix.RT_SCOPE_LINK
	}
	put32(b[4:], uint32(index))
	return b
}

// addressAttributes gives an IPv4 address its broadcast if there is room for one, as
// systemd-networkd does (address_may_set_broadcast in src/network/networkd-address.c). Measured:
// networkd 257 takes such an address for its own, and leaves it in place when it is reloaded; 252
// deletes and adds again every address that has a broadcast, even its own. An address gets no
// lifetime, so it is permanent. IPv6 addresses go through duplicate address detection.
func addressAttributes(p netip.Prefix) []attribute {
	ip := p.Addr().AsSlice()
	out := []attribute{attr(unix.IFA_LOCAL, ip), attr(unix.IFA_ADDRESS, ip)}
	if p.Addr().Is4() && p.Bits() <= 30 {
		last := slices.Clone(ip)
		for i := range last {
			last[i] |= byte(0xff >> min(8, max(0, p.Bits()-8*i)))
		}
		out = append(out, attr(unix.IFA_BROADCAST, last))
	}
	return out
}
