package kernel

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"multinicd/nic"

	"golang.org/x/sys/unix"
)

// Rules gives the policy routing rules: first IPv4, then IPv6, each family in the order in which
// the kernel asks them.
func (k *Kernel) Rules(ctx context.Context) ([]nic.Rule, error) {
	// struct fib_rule_hdr has the shape of rtmsg
	messages, err := k.rtnl.dump(ctx, unix.RTM_GETRULE, unix.RTM_NEWRULE, make([]byte, unix.SizeofRtMsg))
	if err != nil {
		return nil, fmt.Errorf("listing rules: %w", err)
	}
	var out []nic.Rule
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} { // there are rules for multicast, too
		for _, m := range messages {
			if r, ok := parseRule(m); ok && m[0] == family {
				out = append(out, r)
			}
		}
	}
	return out, nil
}

// Attributes of a rule (linux/fib_rules.h).
const (
	fraDst      = 1
	fraSrc      = 2
	fraPriority = 6
	fraSuppress = 14 // FRA_SUPPRESS_PREFIXLEN; -1: does not suppress
	fraTable    = 15
	fraPad      = 18
	fraProtocol = 21

	ruleToTable = 1 // FR_ACT_TO_TBL
	ruleInvert  = 2 // FIB_RULE_INVERT, a flag
)

// plainRule are the attributes that a rule may have if it does nothing more than nic.Rule says.
var plainRule = []uint16{fraDst, fraSrc, fraPriority, fraSuppress, fraTable, fraPad, fraProtocol}

func parseRule(m []byte) (nic.Rule, bool) {
	if len(m) < unix.SizeofRtMsg {
		return nic.Rule{}, false
	}
	r := nic.Rule{Table: int(m[4]), Other: m[3] != 0 || m[7] != ruleToTable || binary.NativeEndian.Uint32(m[8:])&ruleInvert != 0}
	for kind, v := range attributes(m[unix.SizeofRtMsg:]) {
		r.Other = r.Other || !slices.Contains(plainRule, kind)
		switch kind {
		case fraSuppress:
			r.NoDefault = number(v) == 0
			r.Other = r.Other || int32(number(v)) > 0
		case fraDst:
			if a, ok := netip.AddrFromSlice(v); ok {
				r.To = netip.PrefixFrom(a, int(m[1]))
			}
		case fraSrc:
			if a, ok := netip.AddrFromSlice(v); ok {
				r.From = netip.PrefixFrom(a, int(m[2]))
			}
		case fraPriority:
			r.Priority = number(v)
		case fraTable:
			r.Table = number(v)
		case fraProtocol:
			r.Protocol = number(v)
		}
	}
	return r, true
}

// LoneRoute finds a route that leads to no link, such as a blackhole. found is false if there is
// none.
func (k *Kernel) LoneRoute(ctx context.Context) (to netip.Prefix, found bool, err error) {
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		body := make([]byte, unix.SizeofRtMsg)
		body[0] = family
		messages, err := k.rtnl.dump(ctx, unix.RTM_GETROUTE, unix.RTM_NEWROUTE, body)
		if err != nil {
			return netip.Prefix{}, false, fmt.Errorf("listing routes: %w", err)
		}
		for _, m := range messages {
			if len(m) < unix.SizeofRtMsg || m[5] == unix.RTPROT_KERNEL || binary.NativeEndian.Uint32(m[8:])&unix.RTM_F_CLONED != 0 {
				continue
			}
			switch m[7] {
			case unix.RTN_BLACKHOLE, unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT, unix.RTN_THROW:
				for kind, v := range attributes(m[unix.SizeofRtMsg:]) {
					if a, ok := netip.AddrFromSlice(v); ok && kind == unix.RTA_DST {
						to = netip.PrefixFrom(a, int(m[1]))
					}
				}
				return to, true, nil
			}
		}
	}
	return netip.Prefix{}, false, nil
}

// RouteTo says by which link, from which source address and by which router the kernel would now
// send a packet to an address. via is zero if the address is on the link. If the error is
// unix.ENETUNREACH or unix.EHOSTUNREACH, there is no way. An address of this host itself leads
// through the loopback link.
func (k *Kernel) RouteTo(ctx context.Context, to netip.Addr) (index int, source, via netip.Addr, err error) {
	if err := ctx.Err(); err != nil {
		return 0, source, via, err
	}
	to = to.Unmap()
	body := make([]byte, unix.SizeofRtMsg)
	body[0], body[1] = unix.AF_INET, byte(to.BitLen())
	if to.Is6() {
		body[0] = unix.AF_INET6
	}
	err = k.rtnl.request(unix.RTM_GETROUTE, 0, body, []attribute{attr(unix.RTA_DST, to.AsSlice())}, unix.RTM_NEWROUTE, func(m []byte) {
		for kind, v := range attributes(m[min(unix.SizeofRtMsg, len(m)):]) {
			switch kind {
			case unix.RTA_OIF:
				index = number(v)
			case unix.RTA_PREFSRC:
				source, _ = netip.AddrFromSlice(v)
			case unix.RTA_GATEWAY:
				via, _ = netip.AddrFromSlice(v)
			}
		}
	})
	if err != nil {
		return 0, source, via, fmt.Errorf("asking the kernel for the route to %s: %w", to, err)
	}
	return index, source, via, nil
}
