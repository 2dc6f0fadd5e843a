package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"

	"multinicd/host"
	"multinicd/nic"

	"golang.org/x/sys/unix"
)

// What a link has of its own under net.ipv6.conf is read over netlink, as for IPv4. It is set in
// another way: netlink takes only addr_gen_mode (inet6_set_link_af of the kernel's
// net/ipv6/addrconf.c, Linux 6.12), so the rest is written to /proc/sys/net/ipv6/conf. In a
// container those files are read-only. Then nothing of it is reported (Conf6 is nil), and the next
// boot closes the link.

const conf6Dir = "/proc/sys/net/ipv6/conf"

// Numbers of linux/if_link.h, linux/ipv6.h and linux/if_addr.h that x/sys/unix v0.49 lacks.
const (
	iflaInet6Conf       = 2  // IFLA_INET6_CONF
	iflaInet6AddrGen    = 8  // IFLA_INET6_ADDR_GEN_MODE, Linux 3.17
	devconf6AcceptRA    = 3  // DEVCONF_ACCEPT_RA
	devconf6DisableIPv6 = 26 // DEVCONF_DISABLE_IPV6
	ifaProto            = 11 // IFA_PROTO, Linux 5.18
	ifaprotKernelLL     = 3  // IFAPROT_KERNEL_LL
)

// parseConf6 reads IFLA_AF_SPEC. The kernel gives all values in a row, beginning with number 0. nil
// means that the link has no IPv6.
func parseConf6(spec []byte) *nic.Conf6 {
	for family, v := range attributes(spec) {
		if family != unix.AF_INET6 {
			continue
		}
		var out nic.Conf6
		told := false
		for kind, v := range attributes(v) {
			switch {
			case kind == iflaInet6Conf && len(v) >= 4*(devconf6DisableIPv6+1):
				told = true
				out.AcceptRA = int(int32(binary.NativeEndian.Uint32(v[4*devconf6AcceptRA:])))
				out.Off = binary.NativeEndian.Uint32(v[4*devconf6DisableIPv6:]) != 0
			case kind == iflaInet6AddrGen:
				out.AddrGenMode = number(v)
			}
		}
		if told {
			return &out
		}
	}
	return nil
}

// canSetConf6 says whether this process may write the values of Conf6.
func (k *Kernel) canSetConf6() (can bool) {
	k.there(func() { can = unix.Access(k.host.Path(conf6Dir+"/all/accept_ra"), unix.W_OK) == nil })
	return can
}

func (k *Kernel) there(f func()) {
	if k.inside == nil {
		f()
		return
	}
	k.inside(f)
}

// NoIPv6 says why no link of the host can have an IPv6 address. "" means that a link may have one,
// as far as this process sees.
func (k *Kernel) NoIPv6() (why string) {
	k.there(func() {
		_, err := os.Stat(k.host.Path("/proc/sys/net/ipv4/conf"))
		_, err6 := os.Stat(k.host.Path(conf6Dir))
		switch {
		case err == nil && errors.Is(err6, fs.ErrNotExist):
			why = "ipv6.disable=1 on the kernel's command line"
		case k.host.Sysctl("net/ipv6/conf/all/disable_ipv6") != 0:
			why = "net.ipv6.conf.all.disable_ipv6=1"
		}
	})
	return why
}

// changeConf6 changes IPv6 on the link l as c says, and takes away what router advertisements have
// brought.
func (k *Kernel) changeConf6(ctx context.Context, c nic.Change, l nic.Link, before raw) error {
	if c.Conf6 != nil && c.HadConf6 != nil {
		if err := k.setConf6(ctx, l, *c.Conf6, *c.HadConf6); err != nil {
			return fmt.Errorf("setting %s of link %s: %w", c.Conf6, l.Name, err)
		}
	}
	if c.Conf6 != nil && c.HadConf6 != nil && c.Conf6.AddrGenMode == nic.AddrGenNone && c.HadConf6.AddrGenMode != nic.AddrGenNone {
		for _, a := range before.addresses {
			if !kernelLinkLocal(a, l.MAC, c.HadConf6.AddrGenMode) {
				continue
			}
			if err := k.deleteAddress(ctx, l, a.Prefix); err != nil {
				return err
			}
		}
	}
	return k.unadvertise(ctx, c, l, before)
}

// setConf6 sets the values that differ between had and c, unless they are set already. It leaves
// the other values alone: somebody else may have changed them, for instance NetworkManager that has
// switched IPv6 off meanwhile. No router is let in before the mode is right, and IPv6 is switched
// on last.
func (k *Kernel) setConf6(ctx context.Context, l nic.Link, c, had nic.Conf6) error {
	now := had
	if l.Conf6 != nil { // else the link got IPv6 with its MTU, a moment ago
		now = *l.Conf6
	}
	if c.AcceptRA != had.AcceptRA && c.AcceptRA != now.AcceptRA {
		if err := k.writeConf6(l, "accept_ra", c.AcceptRA); err != nil {
			return err
		}
	}
	if c.AddrGenMode != had.AddrGenMode && c.AddrGenMode != now.AddrGenMode {
		if err := k.setAddrGenMode(ctx, l, c.AddrGenMode); err != nil {
			return err
		}
	}
	if c.Off != had.Off && c.Off != now.Off {
		off := 0
		if c.Off {
			off = 1
		}
		return k.writeConf6(l, "disable_ipv6", off)
	}
	return nil
}

// setAddrGenMode sets how the link-local address is made. When the file is written, the kernel
// makes the address at once. A link that is up needs that. On a link that is down the kernel would
// make the address for nothing, so there netlink sets the mode.
func (k *Kernel) setAddrGenMode(ctx context.Context, l nic.Link, mode int) error {
	if l.Up {
		return k.writeConf6(l, "addr_gen_mode", mode)
	}
	spec := attr(unix.AF_INET6|unix.NLA_F_NESTED, attr(iflaInet6AddrGen, []byte{byte(mode)}).encode()).encode()
	err := k.setLink(ctx, l.Index, 0, 0, attr(unix.IFLA_AF_SPEC|unix.NLA_F_NESTED, spec))
	if errors.Is(err, unix.EAFNOSUPPORT) { // the link has no IPv6
		return nil
	}
	return gone(err)
}

// writeConf6 writes one value. A link without IPv6 has no such file, and needs no value.
func (k *Kernel) writeConf6(l nic.Link, key string, value int) (err error) {
	k.there(func() {
		var f *os.File
		if f, err = os.OpenFile(k.host.Path(conf6Dir+"/"+l.Name+"/"+key), os.O_WRONLY, 0); err != nil {
			return
		}
		_, err = f.WriteString(strconv.Itoa(value))
		err = errors.Join(err, f.Close())
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return host.WithoutPath(err)
}

// kernelLinkLocal says whether the kernel has made a link-local address. The kernel says so itself;
// before Linux 5.18 the form of the address tells. Modes above AddrGenNone make the address from a
// secret.
func kernelLinkLocal(a rawAddress, mac nic.MAC, mode int) bool {
	ip := a.Prefix.Addr()
	if !ip.Is6() || !ip.IsLinkLocalUnicast() || a.Prefix.Bits() != 64 {
		return false
	}
	for kind, v := range attributes(a.message[unix.SizeofIfAddrmsg:]) {
		if kind == ifaProto && len(v) == 1 {
			return v[0] == ifaprotKernelLL
		}
	}
	eui64 := netip.AddrFrom16([16]byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	return ip == eui64 || mode > nic.AddrGenNone
}
