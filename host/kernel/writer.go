package kernel

import (
	"context"
	"errors"
	"fmt"

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

// Guard says why link l must not be touched; nil if it may be. all are the links as they are at
// that moment, l among them.
type Guard func(l nic.Link, all []nic.Link) error

// Writer is the only writer of links.
type Writer struct {
	kernel *Kernel
	guard  Guard
	alone  bool // the guard asks about the link only
}

// Writer gives a writer that asks g before it touches anything. Without a guard it panics: a change
// that nobody can refuse must not be possible to write.
func (k *Kernel) Writer(g Guard) *Writer {
	if g == nil {
		panic("kernel: a Writer needs a Guard")
	}
	return &Writer{kernel: k, guard: g}
}

// Undoer gives a writer whose guard g asks about the link itself and about no other: no other is
// read. The link comes without addresses, routes and rules where the change has none. Without a
// guard it panics.
func (k *Kernel) Undoer(g func(l nic.Link) error) *Writer {
	if g == nil {
		panic("kernel: an undo needs a guard")
	}
	return &Writer{kernel: k, guard: func(l nic.Link, _ []nic.Link) error { return g(l) }, alone: true}
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
	links, before, err := w.look(ctx, c)
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
	if len(c.Del)+len(c.Terms) > 0 && len(c.AddRoutes)+len(c.DelRoutes) > 0 {
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

// look reads what the guard and the change need to know. An undo of a name, say, needs its link
// alone, without addresses, routes and rules: three of the four requests are about those.
func (w *Writer) look(ctx context.Context, c nic.Change) (links []nic.Link, before raw, err error) {
	if !w.alone {
		return w.kernel.look(ctx, 0, c.Index)
	}
	rest := c
	rest.Name, rest.MTU, rest.Up, rest.Down, rest.Conf = "", 0, false, false, nil
	if c.Conf6 != nil && c.Conf6.AddrGenMode != nic.AddrGenNone { // else an address goes with it
		rest.Conf6 = nil
	}
	if rest.Empty() {
		links, err = w.kernel.single(ctx, c.Index)
		return links, before, err
	}
	return w.kernel.look(ctx, c.Index, c.Index)
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

// ifInfo is a struct ifinfomsg (linux/rtnetlink.h).
func ifInfo(index int, flags, mask uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	put32(b[4:], uint32(index))
	put32(b[8:], flags)
	put32(b[12:], mask)
	return b
}
