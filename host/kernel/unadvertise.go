package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"multinicd/nic"

	"golang.org/x/sys/unix"
)

// unadvertise takes from the link l what c says that router advertisements have brought.
func (k *Kernel) unadvertise(ctx context.Context, c nic.Change, l nic.Link, before raw) error {
	var routes []rawRoute
	for _, r := range before.routes {
		if slices.ContainsFunc(c.AdvertisedRoutes, func(a nic.Route) bool { return a.Key() == r.Key() && a.Protocol == r.Protocol }) {
			routes = append(routes, r)
		}
	}
	for _, r := range routes {
		mistaken, err := k.mistaken(ctx, r)
		if err != nil {
			return err
		}
		switch {
		case mistaken && l.Conf6 != nil:
			return k.restartIPv6(ctx, c, l, before)
		case mistaken: // /proc/sys is read-only here; see Conf6
			k.log.Warn("an advertised route stays until its lifetime ends, since the kernel would delete another link's instead", "link", l.Name, "route", r.String())
			routes = nil
		}
	}
	for _, a := range before.addresses {
		if !a.Advertised || !slices.Contains(c.Advertised, a.Prefix) {
			continue
		}
		if err := k.deleteAddress(ctx, l, a.Prefix); err != nil {
			return err
		}
	}
	for _, r := range routes {
		err := k.rtnl.do(ctx, unix.RTM_DELROUTE, 0, routeAgain(r.message))
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("deleting route %s from link %s: %w", r.Route, l.Name, gone(err))
		}
	}
	return nil
}

// mistaken says whether the kernel, asked to delete an IPv6 route, could delete somebody else's
// route instead. That is a route to the same destination, of the same metric, table and protocol,
// which uses a next-hop object. For such a route the kernel looks at neither link nor router
// (ip6_route_del of net/ipv6/route.c; Linux 6.18, November 2026). networkd (257) makes the
// primary's default route of a router advertisement so.
func (k *Kernel) mistaken(ctx context.Context, r rawRoute) (bool, error) {
	if !r.To.Addr().Is6() || r.object() {
		return false, nil
	}
	body := make([]byte, unix.SizeofRtMsg)
	body[0] = unix.AF_INET6
	messages, err := k.rtnl.dump(ctx, unix.RTM_GETROUTE, unix.RTM_NEWROUTE, body)
	if err != nil {
		return false, fmt.Errorf("listing routes: %w", err)
	}
	for _, m := range messages {
		found := false
		parseRoute(m, func(_ int, o nic.Route) {
			o, asked := o.Key(), r.Key()
			found = found || o.To == asked.To && o.Metric == asked.Metric && o.Table == asked.Table
		})
		if found && m[5] == byte(r.Protocol) && (rawRoute{message: m}).object() {
			return true, nil
		}
	}
	return false, nil
}

// object says whether a route uses a next-hop object.
func (r rawRoute) object() bool {
	for kind := range attributes(r.message[unix.SizeofRtMsg:]) {
		if kind == rtaNHID {
			return true
		}
	}
	return false
}

// restartIPv6 takes all IPv6 off a link, and puts everything back except what c says was
// advertised. There is no other way to make the kernel forget a route of this link and no other.
// The link stays up. Its own IPv6 addresses are away for a moment.
func (k *Kernel) restartIPv6(ctx context.Context, c nic.Change, l nic.Link, before raw) error {
	k.log.Warn("IPv6 of a link is taken off and put back, since the kernel would delete another link's route with an advertised one", "link", l.Name)
	for _, off := range []int{1, 0} {
		if err := k.writeConf6(l, "disable_ipv6", off); err != nil {
			return fmt.Errorf("restarting IPv6 on link %s: %w", l.Name, err)
		}
	}
	back := raw{rules: before.rules}
	for _, a := range before.addresses {
		if a.Advertised || !a.Prefix.Addr().Is6() || kernelLinkLocal(a, l.MAC, nic.AddrGenNone) {
			continue // gone for good, still there, or made again by the kernel
		}
		if !a.Tentative && !a.Duplicate { // nobody else has it: that was found out before
			a.message = slices.Concat(a.message, attrUint32(unix.IFA_FLAGS, unix.IFA_F_PERMANENT|unix.IFA_F_NODAD).encode())
		}
		back.addresses = append(back.addresses, a)
	}
	for _, r := range before.routes {
		advertised := slices.ContainsFunc(c.AdvertisedRoutes, func(a nic.Route) bool { return a.Key() == r.Key() && a.Protocol == r.Protocol })
		if r.To.Addr().Is6() && !advertised {
			back.routes = append(back.routes, r)
		}
	}
	return k.putBack(ctx, nic.Change{}, l, back)
}
