package kernel

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"multinicd/nic"

	"golang.org/x/sys/unix"
)

// What a link has of its own under net.ipv4.conf is read and set over netlink, in the message about
// the link (inet_fill_link_af and inet_set_link_af of the kernel's net/ipv4/devinet.c, since Linux
// 3.1). So nobody needs /proc/sys, which is read-only in a sandbox or an unprivileged container. To
// set it needs CAP_NET_ADMIN, as everything here does.

// Numbers of linux/if_link.h and linux/ip.h that x/sys/unix v0.49 lacks.
const (
	iflaInetConf    = 1  // IFLA_INET_CONF
	devconfRPFilter = 8  // IPV4_DEVCONF_RP_FILTER
	devconfAnnounce = 18 // IPV4_DEVCONF_ARP_ANNOUNCE
	devconfIgnore   = 19 // IPV4_DEVCONF_ARP_IGNORE
)

// parseConf reads IFLA_AF_SPEC. The kernel gives all values in a row, beginning with number 1.
func parseConf(spec []byte) (out nic.Conf) {
	for family, v := range attributes(spec) {
		if family != unix.AF_INET {
			continue
		}
		for kind, v := range attributes(v) {
			if kind != iflaInetConf {
				continue
			}
			at := func(n int) int {
				if len(v) < 4*n {
					return 0
				}
				return int(int32(binary.NativeEndian.Uint32(v[4*(n-1):])))
			}
			out = nic.Conf{ARPIgnore: at(devconfIgnore), ARPAnnounce: at(devconfAnnounce), RPFilter: at(devconfRPFilter)}
		}
	}
	return out
}

// setConf sets the values. Each goes to the kernel as one attribute, whose kind is the value's
// number.
func (k *Kernel) setConf(ctx context.Context, l nic.Link, c nic.Conf) error {
	values := slices.Concat(attrUint32(devconfIgnore, uint32(c.ARPIgnore)).encode(), attrUint32(devconfAnnounce, uint32(c.ARPAnnounce)).encode(),
		attrUint32(devconfRPFilter, uint32(c.RPFilter)).encode())
	spec := attr(unix.AF_INET|unix.NLA_F_NESTED, attr(iflaInetConf|unix.NLA_F_NESTED, values).encode()).encode()
	if err := k.setLink(ctx, l.Index, 0, 0, attr(unix.IFLA_AF_SPEC|unix.NLA_F_NESTED, spec)); err != nil {
		return fmt.Errorf("setting %s of link %s: %w", c, l.Name, gone(err))
	}
	return nil
}
