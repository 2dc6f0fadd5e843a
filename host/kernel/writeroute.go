package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"multinicd/nic"

	"golang.org/x/sys/unix"
)

// changeRoutes first adds, so that traffic of both the old and the new route always has a way. An
// IPv6 route that replaces one of the same destination, metric and table is different: the old
// route goes first. The kernel has that route once, or would make one multipath route of both.
func (k *Kernel) changeRoutes(ctx context.Context, c nic.Change, l nic.Link, before raw) error {
	var first, then []nic.Route
	for _, r := range c.DelRoutes {
		if slices.ContainsFunc(c.AddRoutes, r.Excludes) {
			first = append(first, r)
		} else {
			then = append(then, r)
		}
	}
	if err := k.deleteRoutes(ctx, first, l, before); err != nil {
		return err
	}
	for _, r := range c.AddRoutes {
		if slices.ContainsFunc(before.routes, func(have rawRoute) bool { return r.MetBy(have.Route) }) {
			continue
		}
		if err := k.addRoute(ctx, l, r); err != nil {
			return fmt.Errorf("adding route %s to link %s: %w", r, l.Name, gone(err))
		}
	}
	return k.deleteRoutes(ctx, then, l, before)
}

func (k *Kernel) deleteRoutes(ctx context.Context, routes []nic.Route, l nic.Link, before raw) error {
	for _, r := range routes {
		for _, have := range before.routes {
			// The kernel's own route belongs to an address and goes with that address. A route with
			// another source is not ours.
			if have.Key() != r.Key() || have.Protocol == nic.ProtocolKernel || r.Protocol != 0 && !spare(before.routes, have, r.Protocol) {
				continue
			}
			if mistaken, err := k.mistaken(ctx, have); err != nil {
				return err
			} else if mistaken {
				return fmt.Errorf("deleting route %s from link %s: %w", r, l.Name, ErrRouteMistaken)
			}
			// The whole message is sent. So of two routes that differ only in what we do not
			// compare, the right one goes.
			err := k.rtnl.do(ctx, unix.RTM_DELROUTE, 0, routeAgain(have.message))
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("deleting route %s from link %s: %w", r, l.Name, gone(err))
			}
		}
	}
	return nil
}

// spare says whether a route is the one of that protocol, and another of the same key stands beside
// it.
func spare(all []rawRoute, have rawRoute, protocol int) bool {
	return have.Protocol == protocol && slices.ContainsFunc(all, func(o rawRoute) bool { return o.Key() == have.Key() && o.Protocol != protocol })
}

// duplicateAddressDetection is how long the kernel takes at most by default to find an IPv6 address
// unique, with some room (RFC 4862: a random delay of up to 1 s, one probe of 1 s).
const duplicateAddressDetection = 4 * time.Second

// subnetRoute is how long NetworkManager may take to make the route of an address's subnet.
const subnetRoute = 2 * time.Second

func (k *Kernel) addRoute(ctx context.Context, l nic.Link, r nic.Route) error {
	err := k.tryRoute(ctx, l, r)
	switch {
	case errors.Is(err, unix.EINVAL) && r.Source.Is6():
		// The kernel refuses an IPv6 source address until it knows that the address is unique.
		err = k.retryRoute(ctx, l, r, unix.EINVAL, duplicateAddressDetection)
	case errors.Is(err, unix.ENETUNREACH) && r.Protocol != 0 && r.Via.Is4():
		// An undo, and NetworkManager is bringing the way to the router back, now or later.
		if err = k.retryRoute(ctx, l, r, unix.ENETUNREACH, subnetRoute); errors.Is(err, unix.ENETUNREACH) {
			r.OnLink = true
			err = k.tryRoute(ctx, l, r)
		}
	}
	if errors.Is(err, unix.EINVAL) && r.Protocol != 0 && r.Source.IsValid() {
		// Whoever has taken its source since, as a lease's end does: nobody could have kept the route.
		k.log.Warn("route went with its source address", "link", l.Name, "route", r.String(), "err", err)
		return nil
	}
	return err
}

// retryRoute tries until the kernel accepts the route, refuses it otherwise, or the time is over.
func (k *Kernel) retryRoute(ctx context.Context, l nic.Link, r nic.Route, refusal error, most time.Duration) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	// The time bounds the number of tries, not a try: one that is cut off says nothing of the route.
	for begin := time.Now(); time.Since(begin) < most; {
		select {
		case <-ctx.Done():
			return refusal
		case <-tick.C:
			if err := k.tryRoute(ctx, l, r); !errors.Is(err, refusal) {
				return err
			}
		}
	}
	return refusal
}

func (k *Kernel) tryRoute(ctx context.Context, l nic.Link, r nic.Route) error {
	body, attributes := routeRequest(l.Index, r)
	err := k.rtnl.do(ctx, unix.RTM_NEWROUTE, unix.NLM_F_CREATE|appendFlag(body), body, attributes...)
	if errors.Is(err, unix.EEXIST) {
		return k.existing(ctx, l, r, err)
	}
	return err
}

// existing finds out whose route it is that the kernel says exists.
func (k *Kernel) existing(ctx context.Context, l nic.Link, r nic.Route, exists error) error {
	links, _, err := k.look(ctx, 0, 0)
	if err != nil {
		return err
	}
	if now := find(links, l.Index); now != nil && slices.ContainsFunc(now.Routes, r.MetBy) {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrRouteTaken, exists)
}

// routeRequest is a struct rtmsg (linux/rtnetlink.h) and its attributes.
func routeRequest(index int, r nic.Route) ([]byte, []attribute) {
	onlink, protocol := r.OnLink, byte(nic.RouteProtocol)
	if r.Protocol != 0 { // an undo puts back what was there, also a route of somebody else
		protocol = byte(r.Protocol)
	}
	r = r.Key()
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[1], b[5], b[7] = unix.AF_INET, byte(r.To.Bits()), protocol, unix.RTN_UNICAST
	if r.To.Addr().Is6() {
		b[0] = unix.AF_INET6
	} else if !r.Via.IsValid() {
		b[6] = unix.RT_SCOPE_LINK
	}
	out := []attribute{attrUint32(unix.RTA_OIF, uint32(index)), attrUint32(unix.RTA_TABLE, uint32(r.Table))}
	if r.To.Bits() > 0 {
		out = append(out, attr(unix.RTA_DST, r.To.Addr().AsSlice()))
	}
	switch {
	case r.Via.Is6() && r.To.Addr().Is4():
		out = append(out, attr(unix.RTA_VIA, append([]byte{unix.AF_INET6, 0}, r.Via.AsSlice()...)))
	case r.Via.IsValid():
		out = append(out, attr(unix.RTA_GATEWAY, r.Via.AsSlice()))
	}
	if r.Source.IsValid() {
		out = append(out, attr(unix.RTA_PREFSRC, r.Source.AsSlice()))
	}
	if onlink {
		put32(b[8:], unix.RTNH_F_ONLINK)
	}
	if r.Metric != 0 {
		out = append(out, attrUint32(unix.RTA_PRIORITY, uint32(r.Metric)))
	}
	return b, out
}
