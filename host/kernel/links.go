package kernel

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"multinicd/host"
	"multinicd/nic"

	"golang.org/x/sys/unix"
)

// Links gives every link of the network namespace, sorted by ifindex. Each has its addresses, and
// its unicast routes of all tables except local. The routes of a multipath route are given to each
// of its links. Claim and Former are not filled in, see package survey. AltNames are sorted;
// Addresses, Routes and Rules are in the kernel's order. Each is nil if there is none.
//
// Links makes four dumps. What appears or goes between two of them may be missing from a list. The
// kernel's event about it comes later.
func (k *Kernel) Links(ctx context.Context) ([]nic.Link, error) {
	links, _, err := k.look(ctx, 0, 0)
	k.byHand(links)
	return links, err
}

// Link gives one link as Links does. If there is no link with that ifindex, the error wraps
// nic.ErrLinkGone.
func (k *Kernel) Link(ctx context.Context, index int) (nic.Link, error) {
	links, _, err := k.look(ctx, index, index)
	if err == nil && len(links) == 0 {
		err = nic.ErrLinkGone
	}
	if err != nil {
		return nic.Link{}, fmt.Errorf("reading link %d: %w", index, err)
	}
	return links[0], nil
}

// Bare gives every link as Links does, but without addresses, routes and rules. It makes one of the
// four dumps.
func (k *Kernel) Bare(ctx context.Context) ([]nic.Link, error) {
	var links []nic.Link
	err := k.rtnl.list(ctx, unix.RTM_GETLINK, unix.RTM_NEWLINK, make([]byte, unix.SizeofIfInfomsg), func() { links = links[:0] }, func(m []byte) {
		if l, ok := k.parseLink(m); ok {
			links = append(links, l)
		}
	}, noCounters)
	if err != nil {
		return nil, fmt.Errorf("listing links: %w", err)
	}
	slices.SortFunc(links, func(a, b nic.Link) int { return cmp.Compare(a.Index, b.Index) })
	return k.settable(links), nil
}

// Name gives the name of the link with an ifindex. It is "" if there is none, or if the kernel
// cannot be asked.
func (k *Kernel) Name(ctx context.Context, index int) string {
	links, err := k.single(ctx, index)
	if err != nil || len(links) == 0 {
		return ""
	}
	return links[0].Name
}

// noCounters (Linux 4.9) asks for a link without its counters and without its VFs. VFs come only if
// they are asked for.
var noCounters = attrUint32(unix.IFLA_EXT_MASK, rtextFilterSkipStats)

// single gives the link with an ifindex as Bare does; nothing if there is none.
func (k *Kernel) single(ctx context.Context, index int) (links []nic.Link, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = k.rtnl.request(unix.RTM_GETLINK, 0, ifInfo(index, 0, 0), []attribute{noCounters}, unix.RTM_NEWLINK, func(m []byte) {
		if l, ok := k.parseLink(m); ok {
			links = append(links, l)
		}
	})
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return nil, fmt.Errorf("asking the kernel for link %d: %w", index, err)
	}
	return k.settable(links), nil
}

// settable removes from links the values that this host cannot set.
func (k *Kernel) settable(links []nic.Link) []nic.Link {
	if !k.canSetConf6() {
		for i, l := range links {
			links[i].Conf6, links[i].NoIPv6 = nil, l.Conf6 != nil && l.Conf6.Off
		}
	}
	return links
}

// Elsewhere says of a link's Parent whether the device is here and has a link, but none in this network namespace: somebody
// has moved it into another. sysfs shows the folder of the links of a device as long as there is one, and in it those of
// the reader's namespace.
func (k *Kernel) Elsewhere(parent string) bool {
	bus, device, ok := strings.Cut(parent, "/")
	if !ok || strings.Contains(device, "/") {
		return false
	}
	links, err := os.ReadDir(k.host.Path("/sys/bus/" + bus + "/devices/" + device + "/net"))
	return err == nil && len(links) == 0
}

// raw is what the kernel said of one link, in the form in which it can be sent back.
type raw struct {
	addresses []rawAddress
	routes    []rawRoute
	rules     []nic.Rule // of the whole host, see nic.Link.Rules
}

// everybodys are the tables to which the kernel's own rules lead, and 0, which a rule has that leads
// to none.
var everybodys = []int{unix.RT_TABLE_UNSPEC, unix.RT_TABLE_DEFAULT, unix.RT_TABLE_MAIN, unix.RT_TABLE_LOCAL}

type rawAddress struct {
	nic.Address
	message []byte // ifaddrmsg and attributes
}

type rawRoute struct {
	nic.Route
	message []byte // rtmsg and attributes
}

// look reads all links. If only is not 0, it reads just the link with that index, if there is one: a
// step of a change does so several times, and what the kernel tells about a link itself is more than
// all the rest. It keeps the messages about the link with the index keep; 0: about none.
func (k *Kernel) look(ctx context.Context, only, keep int) ([]nic.Link, raw, error) {
	var kept raw
	var links []nic.Link
	var err error
	if only == 0 {
		links, err = k.Bare(ctx)
	} else {
		links, err = k.single(ctx, only)
	}
	if err != nil {
		return nil, kept, err
	}
	again := func() {
		kept.addresses = nil
		for i := range links {
			links[i].Addresses = nil
		}
	}
	err = k.rtnl.list(ctx, unix.RTM_GETADDR, unix.RTM_NEWADDR, make([]byte, unix.SizeofIfAddrmsg), again, func(m []byte) {
		index, a, ok := parseAddress(m)
		if l := find(links, index); ok && l != nil {
			l.Addresses = append(l.Addresses, a)
			if index == keep {
				kept.addresses = append(kept.addresses, rawAddress{a, bytes.Clone(m)})
			}
		}
	})
	if err != nil {
		return nil, kept, fmt.Errorf("listing addresses: %w", err)
	}
	again = func() {
		kept.routes = nil
		for i := range links {
			links[i].Routes = nil
		}
	}
	err = k.rtnl.list(ctx, unix.RTM_GETROUTE, unix.RTM_NEWROUTE, make([]byte, unix.SizeofRtMsg), again, func(m []byte) { // IPv4 comes before IPv6
		if len(m) == 0 || m[0] != unix.AF_INET && m[0] != unix.AF_INET6 {
			return // a multicast route, or one of MPLS
		}
		parseRoute(m, func(index int, r nic.Route) {
			if l := find(links, index); l != nil {
				l.Routes = append(l.Routes, r)
			}
			if index == keep {
				kept.routes = append(kept.routes, rawRoute{r, bytes.Clone(m)})
			}
		})
	})
	if err != nil {
		return nil, kept, fmt.Errorf("listing routes: %w", err)
	}
	rules, err := k.Rules(ctx)
	if err != nil {
		return nil, kept, err
	}
	for _, r := range rules {
		if r.From.IsValid() || !slices.Contains(everybodys, r.Table) {
			kept.rules = append(kept.rules, r)
		}
	}
	for i := range links {
		links[i].Rules = kept.rules
	}
	return links, kept, nil
}

// find finds a link in links, which are sorted by ifindex.
func find(links []nic.Link, index int) *nic.Link {
	i, ok := slices.BinarySearchFunc(links, index, func(l nic.Link, i int) int { return cmp.Compare(l.Index, i) })
	if !ok {
		return nil
	}
	return &links[i]
}

// Numbers of linux/if_link.h and linux/rtnetlink.h that x/sys/unix v0.49 lacks.
const (
	rtextFilterSkipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	iffLowerUp           = 1 << 16
)

// pairs are the kinds of link of which each has the other end of its pair as IFLA_LINK, and lies on none.
var pairs = []string{"veth", "vxcan", "netkit"}

// parseLink reads an RTM_NEWLINK message.
func (k *Kernel) parseLink(m []byte) (nic.Link, bool) {
	if len(m) < unix.SizeofIfInfomsg || m[0] != unix.AF_UNSPEC {
		return nic.Link{}, false
	}
	flags := binary.NativeEndian.Uint32(m[8:])
	l := nic.Link{
		Index:   int(int32(binary.NativeEndian.Uint32(m[4:]))),
		Up:      flags&unix.IFF_UP != 0,
		Carrier: flags&iffLowerUp != 0,
	}
	elsewhere := false // its index then is one of another network namespace
	var bus, device string
	for kind, v := range attributes(m[unix.SizeofIfInfomsg:]) {
		switch kind {
		case unix.IFLA_IFNAME:
			l.Name = text(v)
		case unix.IFLA_ADDRESS:
			l.MAC = nic.MACFrom(v)
		case unix.IFLA_PERM_ADDRESS: // Linux 5.6
			l.Permanent = nic.MACFrom(v)
		case unix.IFLA_MTU:
			l.MTU = number(v)
		case unix.IFLA_MIN_MTU: // Linux 4.19
			l.MinMTU = number(v)
		case unix.IFLA_MAX_MTU:
			l.MaxMTU = number(v)
		case unix.IFLA_MASTER:
			l.Master = number(v)
		case unix.IFLA_LINK:
			l.Lower = number(v)
		case unix.IFLA_LINK_NETNSID:
			elsewhere = true
		case unix.IFLA_PARENT_DEV_NAME: // Linux 5.14
			l.Device, device = true, text(v)
		case unix.IFLA_PARENT_DEV_BUS_NAME:
			bus = text(v)
		case unix.IFLA_LINKINFO:
			for kind, v := range attributes(v) {
				if kind == unix.IFLA_INFO_KIND {
					l.Kind = text(v)
				}
			}
		case unix.IFLA_AF_SPEC:
			l.Conf, l.Conf6 = parseConf(v), parseConf6(v)
		case unix.IFLA_PROP_LIST: // Linux 5.5
			for kind, v := range attributes(v) {
				if kind == unix.IFLA_ALT_IFNAME {
					l.AltNames = append(l.AltNames, text(v))
				}
			}
		}
	}
	slices.Sort(l.AltNames)
	if bus != "" && device != "" {
		l.Parent = bus + "/" + device
	}
	if elsewhere || l.Lower == l.Index || slices.Contains(pairs, l.Kind) {
		l.Lower = 0
	}
	if l.Kind == "" && !l.Device && flags&unix.IFF_LOOPBACK == 0 {
		_, err := os.Lstat(k.host.Path("/sys/class/net/" + l.Name + "/device"))
		l.Device = err == nil
	}
	if l.Device && l.Permanent.IsZero() {
		l.Permanent = nic.MACFrom(host.PermanentMAC(l.Name))
	}
	return l, true
}

// parseAddress reads an RTM_NEWADDR message of IPv4 or IPv6, see rtnetlink(7). If the peer has
// another address, IFA_LOCAL is the link's own address and IFA_ADDRESS the peer's. The prefix
// length is then the peer's.
func parseAddress(m []byte) (index int, a nic.Address, ok bool) {
	if len(m) < unix.SizeofIfAddrmsg {
		return 0, a, false
	}
	bits, flags := int(m[1]), uint32(m[2])
	var local, address netip.Addr
	var lifetime nic.Lifetime
	for kind, v := range attributes(m[unix.SizeofIfAddrmsg:]) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(v)
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(v)
		case unix.IFA_FLAGS:
			flags = uint32(number(v))
		case unix.IFA_CACHEINFO:
			lifetime = parseLifetime(v)
		}
	}
	if local.IsValid() && local != address {
		bits, address = local.BitLen(), local
	}
	a = nic.Address{
		Prefix:    netip.PrefixFrom(address, bits),
		Permanent: flags&unix.IFA_F_PERMANENT != 0,
		// An optimistic address is used while it is still being checked.
		Tentative: flags&unix.IFA_F_TENTATIVE != 0 && flags&(unix.IFA_F_OPTIMISTIC|unix.IFA_F_DADFAILED) == 0,
		Duplicate: flags&unix.IFA_F_DADFAILED != 0,
		// The kernel sets the first of these flags on each address that it makes from a prefix
		// (addrconf_prefix_rcv_add_addr of net/ipv6/addrconf.c, since Linux 3.14).
		Advertised: address.Is6() && flags&unix.IFA_F_PERMANENT == 0 && flags&(unix.IFA_F_MANAGETEMPADDR|unix.IFA_F_TEMPORARY) != 0,
	}
	if !a.Permanent {
		a.Lifetime = lifetime
	}
	return int(binary.NativeEndian.Uint32(m[4:])), a, a.Prefix.IsValid()
}

// parseRoute reads an RTM_NEWROUTE message. It gives the route to each, once for every link that
// the route leads through; a blackhole has none. Routes of other types (local, multicast), of table
// local, and cached clones are left out.
func parseRoute(m []byte, each func(index int, r nic.Route)) {
	if len(m) < unix.SizeofRtMsg {
		return
	}
	family, bits, table, protocol, kind := m[0], int(m[1]), int(m[4]), int(m[5]), m[7]
	if kind != unix.RTN_UNICAST || table == unix.RT_TABLE_LOCAL || binary.NativeEndian.Uint32(m[8:])&unix.RTM_F_CLONED != 0 {
		return
	}
	r := nic.Route{Table: table, Protocol: protocol, OnLink: binary.NativeEndian.Uint32(m[8:])&unix.RTNH_F_ONLINK != 0}
	to, index := netip.IPv4Unspecified(), 0
	if family == unix.AF_INET6 {
		to = netip.IPv6Unspecified()
	}
	var multipath []byte
	for kind, v := range attributes(m[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.RTA_DST:
			if a, ok := netip.AddrFromSlice(v); ok {
				to = a
			}
		case unix.RTA_GATEWAY:
			r.Via, _ = netip.AddrFromSlice(v)
		case unix.RTA_VIA: // an IPv4 route by an IPv6 router: u16 family, then the address
			if len(v) > 2 {
				r.Via, _ = netip.AddrFromSlice(v[2:])
			}
		case unix.RTA_PREFSRC:
			r.Source, _ = netip.AddrFromSlice(v)
		case unix.RTA_PRIORITY:
			r.Metric = number(v)
		case unix.RTA_TABLE:
			r.Table = number(v)
		case unix.RTA_OIF:
			index = number(v)
		case unix.RTA_MULTIPATH:
			multipath = v
		}
	}
	r.To = netip.PrefixFrom(to, bits)
	if r.Table == unix.RT_TABLE_LOCAL || !r.To.IsValid() {
		return
	}
	if multipath == nil {
		each(index, r)
	}
	for len(multipath) >= unix.SizeofRtNexthop {
		size := int(binary.NativeEndian.Uint16(multipath))
		if size < unix.SizeofRtNexthop || size > len(multipath) {
			return
		}
		hop := r
		hop.OnLink = multipath[2]&unix.RTNH_F_ONLINK != 0
		for kind, v := range attributes(multipath[unix.SizeofRtNexthop:size]) {
			if kind == unix.RTA_GATEWAY {
				hop.Via, _ = netip.AddrFromSlice(v)
			}
		}
		each(int(binary.NativeEndian.Uint32(multipath[4:])), hop)
		multipath = multipath[min((size+3)&^3, len(multipath)):]
	}
}
