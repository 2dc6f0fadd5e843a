package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"multinicd/nic"

	"golang.org/x/sys/unix"
)

// putBackTimeout is how long putting back may take. It takes far less.
const putBackTimeout = 5 * time.Second

// putBack restores what the kernel deleted together with an IPv4 address, although nobody asked for
// it. Without net.ipv4.conf.*.promote_secondaries the kernel deletes the secondary addresses of a
// primary address with that address. With the last address of a link it deletes all routes of the
// link. Routes with the deleted address as source always go, and stay away. putBack does not end
// with ctx: nothing else would bring back what belongs to others.
func (k *Kernel) putBack(ctx context.Context, c nic.Change, l nic.Link, before raw) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putBackTimeout)
	defer cancel()
	_, now, err := k.look(ctx, l.Index, l.Index)
	if err != nil {
		return err
	}
	var lost []error
	for _, a := range before.addresses {
		if slices.Contains(c.Del, a.Prefix) && !slices.Contains(c.Add, a.Prefix) || hasRaw(now, a.Address) {
			continue
		}
		// The message is as the kernel gave it: with peer, label, broadcast, scope, lifetime and
		// flags.
		err := k.rtnl.do(ctx, unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, a.message)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			lost = append(lost, fmt.Errorf("putting address %s back on link %s: %w", a.Prefix, l.Name, gone(err)))
		}
	}
	for _, a := range c.Add {
		if hasRaw(before, nic.Address{Prefix: a}) || hasRaw(now, nic.Address{Prefix: a}) {
			continue
		}
		err := k.rtnl.do(ctx, unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, ifAddr(l.Index, a), withLifetime(addressAttributes(a), c.Term(a))...)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			lost = append(lost, fmt.Errorf("adding address %s to link %s: %w", a, l.Name, gone(err)))
		}
	}
	for _, r := range before.routes {
		if r.Protocol == nic.ProtocolKernel || slices.ContainsFunc(now.routes, func(n rawRoute) bool { return n.Route == r.Route }) {
			continue // the kernel makes its own routes again, as far as the addresses need them
		}
		err := k.rtnl.do(ctx, unix.RTM_NEWROUTE, unix.NLM_F_CREATE|appendFlag(r.message), routeAgain(r.message))
		switch {
		case err == nil, errors.Is(err, unix.EEXIST):
		case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EHOSTUNREACH):
			// Its router or its source address went with what we were asked to delete. Nobody could
			// have kept it.
			k.log.Warn("route went with the address", "link", l.Name, "route", r.String(), "err", err)
		default:
			lost = append(lost, fmt.Errorf("putting route %s back on link %s: %w", r.Route, l.Name, gone(err)))
		}
	}
	return errors.Join(lost...)
}

func hasRaw(r raw, a nic.Address) bool {
	return slices.ContainsFunc(r.addresses, func(h rawAddress) bool { return h.Prefix == a.Prefix })
}

// routeAgain turns the message that shows a route into a message that makes it. It leaves out the
// state of the next hops, which the kernel refuses in requests, and the copy of a next-hop object
// beside the object's id.
func routeAgain(m []byte) []byte {
	const keep = unix.RTNH_F_ONLINK | unix.RTNH_F_PERVASIVE
	out := slices.Clone(m[:unix.SizeofRtMsg])
	put32(out[8:], binary.NativeEndian.Uint32(out[8:])&keep)
	object := false
	for kind := range attributes(m[unix.SizeofRtMsg:]) {
		object = object || kind == rtaNHID
	}
	for kind, v := range attributes(m[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.RTA_OIF, unix.RTA_GATEWAY, unix.RTA_VIA:
			if object {
				continue
			}
		case unix.RTA_MULTIPATH:
			if object {
				continue
			}
			v = slices.Clone(v)
			for rest := v; len(rest) >= unix.SizeofRtNexthop; {
				size := int(binary.NativeEndian.Uint16(rest))
				if size < unix.SizeofRtNexthop || size > len(rest) {
					break
				}
				rest[2] &= keep // rtnh_flags
				rest = rest[min((size+3)&^3, len(rest)):]
			}
		case unix.RTA_CACHEINFO:
			continue
		}
		out = append(out, attribute{kind, v}.encode()...)
	}
	return out
}

// appendFlag puts an IPv4 route behind others of the same key, so that it never takes their
// traffic. For IPv6 the same flag would join them into one multipath route.
func appendFlag(rtmsg []byte) int {
	if rtmsg[0] == unix.AF_INET {
		return unix.NLM_F_APPEND
	}
	return unix.NLM_F_EXCL
}

func put32(b []byte, v uint32) { binary.NativeEndian.PutUint32(b, v) }

const rtaNHID = 30 // RTA_NH_ID, linux/rtnetlink.h; since Linux 5.3, x/sys/unix v0.49 lacks it
