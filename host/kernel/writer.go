package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"multinicd/nic"

	"golang.org/x/sys/unix"
)

var (
	// ErrRouteTaken: another link has a route of the same key. A second one would share its
	// traffic.
	ErrRouteTaken = errors.New("another link has the same route")
	// ErrRouteMistaken: the kernel would delete somebody else's route instead of the one that is
	// meant.
	ErrRouteMistaken = errors.New("the kernel would delete another's route to the same destination, by a next-hop object, instead")
)

// Guard says why link l must not be touched; nil if it may be. all are the links as they are at that
// moment, l among them.
type Guard func(l nic.Link, all []nic.Link) error

// Writer is the only writer of links.
type Writer struct {
	kernel *Kernel
	guard  Guard
}

// Writer gives a writer that asks g before it touches anything. Without a guard it panics: a change that nobody can refuse must not be possible to write.
func (k *Kernel) Writer(g Guard) *Writer {
	if g == nil {
		panic("kernel: a Writer needs a Guard")
	}
	return &Writer{kernel: k, guard: g}
}

// Change makes exactly those parts of c that are set, on the link with the index c.Index. A part
// that is already so is not done again. So the same change a second time causes no event in the
// kernel.
//
// Errors: nic.ErrLinkGone, nic.ErrRenameBusy (before Linux 6.2), nic.ErrNameTaken and the guard's
// own come before anything is touched. ErrRouteTaken, and any errno of the kernel, may come later.
// The parts that were done then stay done: the caller has the inverse.
//
// The order is: name, MTU, conf6 and what was advertised, up, conf, addresses, routes, rules, down.
// If down is set, conf6 comes after it. Addresses are added before others are deleted. The kernel
// may delete more than it was asked to: the secondary addresses of a deleted primary one, or the
// routes of a link without addresses. Change puts those back. Taking a link down deletes its routes
// and, by default, its IPv6 addresses, whoever made them: that is what down means.
func (w *Writer) Change(ctx context.Context, c nic.Change) error {
	if c.Empty() {
		return nil
	}
	k := w.kernel
	links, before, err := k.look(ctx, 0, c.Index)
	if err != nil {
		return err
	}
	found := find(links, c.Index)
	if found == nil || !found.HasMAC(c.MAC) {
		return fmt.Errorf("changing link %s (ifindex %d, MAC %s): %w", c.Had, c.Index, c.MAC, nic.ErrLinkGone)
	}
	l := *found
	if err := w.guard(l, links); err != nil {
		return fmt.Errorf("changing link %s: %w", l.Name, err)
	}
	if c.Name != "" && c.Name != l.Name {
		if err := k.rename(ctx, l, c.Name); err != nil {
			return err
		}
		l.Name = c.Name
	}
	if c.MTU != 0 && c.MTU != l.MTU {
		if err := k.setLink(ctx, l.Index, 0, 0, attrUint32(unix.IFLA_MTU, uint32(c.MTU))); err != nil {
			return fmt.Errorf("setting the MTU of link %s to %d: %w", l.Name, c.MTU, gone(err))
		}
	}
	if !c.Down {
		if err := k.changeConf6(ctx, c, l, before); err != nil {
			return err
		}
	}
	if c.Up && !l.Up {
		if err := k.setLink(ctx, l.Index, unix.IFF_UP, unix.IFF_UP); err != nil {
			return fmt.Errorf("setting link %s up: %w", l.Name, gone(err))
		}
	}
	if c.Conf != nil && *c.Conf != l.Conf {
		if err := k.setConf(ctx, l, *c.Conf); err != nil {
			return err
		}
	}
	if err := k.changeAddresses(ctx, c, l, before); err != nil {
		return err
	}
	if len(c.Del) > 0 && len(c.AddRoutes)+len(c.DelRoutes) > 0 {
		// some routes may have gone with their address
		if _, before, err = k.look(ctx, c.Index, c.Index); err != nil {
			return err
		}
	}
	if err := k.changeRoutes(ctx, c, l, before); err != nil {
		return err
	}
	if err := k.changeRules(ctx, c, before.rules); err != nil {
		return err
	}
	if c.Down && l.Up {
		if err := k.setLink(ctx, l.Index, 0, unix.IFF_UP); err != nil {
			return fmt.Errorf("setting link %s down: %w", l.Name, gone(err))
		}
	}
	if c.Down {
		l.Up = false
		return k.changeConf6(ctx, c, l, before)
	}
	return nil
}

// rename changes the name and nothing else. If udev changes the MTU because of the new name, that
// is undone.
func (k *Kernel) rename(ctx context.Context, l nic.Link, name string) error {
	news := k.followUdev()
	defer news.close()
	err := k.setLink(ctx, l.Index, 0, 0, attrString(unix.IFLA_IFNAME, name))
	switch {
	case err == nil:
		news.renamed(ctx, l.Index, name)
		return k.keepMTU(ctx, l)
	case errors.Is(err, unix.EBUSY):
		err = fmt.Errorf("%w: %w", nic.ErrRenameBusy, err)
	case errors.Is(err, unix.EEXIST):
		err = fmt.Errorf("%w: %w", nic.ErrNameTaken, err)
	default:
		err = gone(err)
	}
	return fmt.Errorf("renaming link %s to %s: %w", l.Name, name, err)
}

// keepMTU gives a link the MTU that it had when l was read.
func (k *Kernel) keepMTU(ctx context.Context, l nic.Link) error {
	links, err := k.single(ctx, l.Index)
	if err == nil && len(links) == 0 {
		err = nic.ErrLinkGone
	}
	if err != nil {
		return fmt.Errorf("reading the MTU of link %s: %w", l.Name, err)
	}
	now := links[0]
	if now.MTU == l.MTU {
		return nil
	}
	if err := k.setLink(ctx, l.Index, 0, 0, attrUint32(unix.IFLA_MTU, uint32(l.MTU))); err != nil {
		return fmt.Errorf("keeping the MTU of link %s at %d: %w", l.Name, l.MTU, gone(err))
	}
	return nil
}

// gone adds nic.ErrLinkGone to the kernel's error for an ifindex that does not exist.
func gone(err error) error {
	if errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("%w: %w", nic.ErrLinkGone, err)
	}
	return err
}

// setLink sends RTM_NEWLINK for an existing link, with the flags that mask selects.
func (k *Kernel) setLink(ctx context.Context, index int, flags, mask uint32, a ...attribute) error {
	return k.rtnl.do(ctx, unix.RTM_SETLINK, 0, ifInfo(index, flags, mask), a...)
}

// changeAddresses first adds and then deletes, so that the link is never without an address. An
// IPv6 address that only gets another prefix length is deleted first, because the kernel has an
// address once per link.
func (k *Kernel) changeAddresses(ctx context.Context, c nic.Change, l nic.Link, before raw) error {
	has := func(a netip.Prefix) bool {
		return slices.ContainsFunc(before.addresses, func(r rawAddress) bool { return r.Prefix == a })
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
		attributes := addressAttributes(a)
		if checked(links, a.Addr()) {
			attributes = append(attributes, attrUint32(unix.IFA_FLAGS, unix.IFA_F_NODAD))
		}
		err := k.rtnl.do(ctx, unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, ifAddr(l.Index, a), attributes...)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("adding address %s to link %s: %w", a, l.Name, gone(err))
		}
	}
	if len(del) == 0 {
		return nil
	}
	var failed error
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

// ifInfo is a struct ifinfomsg (linux/rtnetlink.h).
func ifInfo(index int, flags, mask uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	put32(b[4:], uint32(index))
	put32(b[8:], flags)
	put32(b[12:], mask)
	return b
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
