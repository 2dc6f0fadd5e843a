// Package testhost runs real Linux hosts for tests: systemd as PID 1 from Debian packages, with D-Bus, udev, and
// networkd and netplan or NetworkManager, in a network of their own.
//
// A World is a network: a switch with segments (bridges). A Host has its disk (an overlay over a root file
// system shared by all), a primary NIC on the segment "mgmt", by which it reaches the API server, and more NICs
// on the segments asked for. NICs are plugged in and out, cables pulled, hosts powered off, cut off and booted.
//
// It must be like the field where that counts: a host that boots has new NICs with the old MACs, because a kept
// network namespace would keep names and addresses too, and make reboot tests pass falsely.
//
// Start reading at NewWorld, NewHost and Host.Boot.
package testhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"multinicd/test/bed/sandbox"
)

// The management network, from the addresses reserved for documentation.
var (
	// Gateway is the switch's own address on segment mgmt: the hosts' default route and, with ServeAPI, their
	// API server.
	Gateway = netip.MustParseAddr("192.0.2.1")
	// Behind is an address behind the routers of all segments, for ServeAPIBehind.
	Behind = netip.MustParseAddr("203.0.113.6")
	// Management is the network of segment mgmt; hosts have .11, .12 and so on.
	Management = netip.MustParsePrefix("192.0.2.0/24")
)

// managementSegment is the segment of all primary NICs.
const managementSegment = "mgmt"

// World is a network with hosts. It ends with its sandbox. Its methods may be used by several goroutines.
type World struct {
	// Logf tells of what takes long or goes wrong.
	Logf func(format string, args ...any)

	box        *sandbox.Sandbox
	switchPath string // the switch's network namespace
	netlink    *netlink.Handle

	mu       sync.Mutex
	hosts    int
	ports    int
	segments map[string]bool
	// management is the DHCP server on segment mgmt; none until a host needs it.
	management struct {
		sync.Mutex
		*DHCPServer
	}
}

// NewWorld makes a network with the segment mgmt and nobody on it.
func NewWorld(box *sandbox.Sandbox, logf func(string, ...any)) (*World, error) {
	if err := raiseLimits(); err != nil {
		return nil, err
	}
	w := &World{Logf: logf, box: box, segments: map[string]bool{}}
	var err error
	if _, w.switchPath, err = box.Netns("switch"); err != nil {
		return nil, err
	}
	if w.netlink, err = netlinkAt(w.switchPath); err != nil {
		return nil, err
	}
	box.OnClose(w.netlink.Close)
	lo, err := w.netlink.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("finding the switch's loopback: %w", err)
	}
	if err := w.netlink.LinkSetUp(lo); err != nil {
		return nil, fmt.Errorf("setting the switch's loopback up: %w", err)
	}
	return w, w.AddAddress(managementSegment, netip.PrefixFrom(Gateway, Management.Bits()))
}

// NetNS is the path of the switch's network namespace, where the bridges have their segments' names.
func (w *World) NetNS() string { return w.switchPath }

// AddAddress gives the switch an address on a segment: somebody for the hosts to talk to there, at once. The kernel's check of an IPv6 address would take two
// seconds, as long as a host needs to boot, and nobody has the address until it ends.
func (w *World) AddAddress(segment string, address netip.Prefix) error {
	bridge, err := w.segment(segment)
	if err != nil {
		return err
	}
	ipnet := &net.IPNet{IP: address.Addr().AsSlice(), Mask: net.CIDRMask(address.Bits(), address.Addr().BitLen())}
	// It may be there already: a segment's DHCP server and its router are the same one.
	if err := w.netlink.AddrReplace(bridge, &netlink.Addr{IPNet: ipnet, Flags: unix.IFA_F_NODAD}); err != nil {
		return fmt.Errorf("adding %s to segment %s: %w", address, segment, err)
	}
	return nil
}

// SetSegment stops a segment, or lets it go on: hosts keep their carrier there, and nobody hears
// them. A router with an address on it is dead, and has its addresses again later, except those of
// IPv6.
func (w *World) SetSegment(segment string, up bool) error {
	bridge, err := w.segment(segment)
	if err != nil || up {
		return err // segment has set it up
	}
	if err := w.netlink.LinkSetDown(bridge); err != nil {
		return fmt.Errorf("setting segment %s down: %w", segment, err)
	}
	return nil
}

// AddRoute has the switch send what is for a network, that of a host's Pods, to that host.
func (w *World) AddRoute(network netip.Prefix, host *Host) error {
	to := &net.IPNet{IP: network.Masked().Addr().AsSlice(), Mask: net.CIDRMask(network.Bits(), network.Addr().BitLen())}
	if err := w.netlink.RouteAdd(&netlink.Route{Dst: to, Gw: host.Address.Addr().AsSlice()}); err != nil {
		return fmt.Errorf("adding a route to %s by %s: %w", network, host.Name, err)
	}
	return nil
}

// Inside calls f with its thread in the switch's network namespace: sockets that f opens belong there.
func (w *World) Inside(f func() error) error { return inNetns(w.switchPath, f) }

// segment returns the bridge of that name, made if need be.
func (w *World) segment(name string) (netlink.Link, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.segments[name] {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		// A bridge reacts to multicast; a switch that snoops delays the first frames of a new port.
		off := false
		if err := w.netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off}); err != nil {
			return nil, fmt.Errorf("making segment %s: %w", name, err)
		}
		w.segments[name] = true
	}
	bridge, err := w.netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("finding segment %s: %w", name, err)
	}
	if err := w.netlink.LinkSetUp(bridge); err != nil {
		return nil, fmt.Errorf("setting segment %s up: %w", name, err)
	}
	return bridge, nil
}

// NextPort is a fresh name for a switch port.
func (w *World) NextPort() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ports++
	return "port" + strconv.Itoa(w.ports)
}

// Place numbers the machines of a world, from 1, and gives each an address in Management.
func (w *World) Place() (number int, address netip.Prefix) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts++
	return w.hosts, netip.PrefixFrom(nth(Management, 10+w.hosts), Management.Bits())
}

// Connect makes a link in the switch's namespace a port of a segment: that of a virtual machine.
func (w *World) Connect(port, segment string) error {
	bridge, err := w.segment(segment)
	if err != nil {
		return err
	}
	link, err := w.netlink.LinkByName(port)
	if err != nil {
		return fmt.Errorf("finding %s: %w", port, err)
	}
	if err := w.netlink.LinkSetMaster(link, bridge); err != nil {
		return fmt.Errorf("connecting %s to segment %s: %w", port, segment, err)
	}
	if err := w.netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting %s up: %w", port, err)
	}
	return nil
}

func netlinkAt(path string) (*netlink.Handle, error) {
	ns, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()))
	if err != nil {
		return nil, fmt.Errorf("opening netlink in %s: %w", path, err)
	}
	return h, nil
}

// inNetns runs f on a thread that is in the network namespace at path for as long.
func inNetns(path string, f func() error) error {
	target, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening %s: %w", path, err)
	}
	defer target.Close()
	runtime.LockOSThread()
	// Of this thread: /proc/self is the first one, which may be elsewhere.
	home, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("opening our own network namespace: %w", err)
	}
	defer home.Close()
	if err := unix.Setns(int(target.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("entering %s: %w", path, err)
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, so that nobody else runs on it in the wrong namespace.
		return errors.Join(err, fmt.Errorf("leaving %s: %w", path, back))
	}
	runtime.UnlockOSThread()
	return err
}

// pause waits for the next look at something that is polled.
func pause(ctx context.Context, what string) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("waiting for %s: %w", what, context.Cause(ctx))
	case <-tick():
		return nil
	}
}

// Bystanders is what a node of a cluster has beside its NICs: Pods' links and addresses, routes of a routing daemon, policy rules, a virtual IP.
// It may be run again, to put back what somebody has taken away.
const Bystanders = `
	primary=eth0; test -e /sys/class/net/eth0 || primary=ens3
	ip netns list | grep -q pod || ip netns add pod
	ip link show cali12345678901 >/dev/null 2>&1 || ip link add cali12345678901 type veth peer name eth0 netns pod
	ip link set cali12345678901 up
	ip -n pod link set eth0 up
	ip route replace 10.244.1.7/32 dev cali12345678901 proto static
	ip route replace 10.244.2.0/24 via 192.0.2.1 proto bird
	ip route replace 10.244.3.0/24 via 192.0.2.1 proto 80
	ip route replace blackhole 10.244.4.0/24 proto bird
	ip route replace 10.245.0.0/16 via 192.0.2.1 table 100 proto 109
	ip -6 route replace 2001:db8:77::/64 dev $primary proto 80
	ip rule show priority 100 | grep -q 2004 || ip rule add priority 100 fwmark 0x1/0xf lookup 2004
	ip rule show priority 10500 | grep -q 100 || ip rule add priority 10500 from 10.244.1.7 lookup 100
	ip -6 rule show priority 200 | grep -q 100 || ip -6 rule add priority 200 from 2001:db8:77::/64 lookup 100
	ip address replace 192.0.2.200/32 dev $primary
	ip link show cni0 >/dev/null 2>&1 || ip link add cni0 type bridge
	ip link set cni0 up
	ip address replace 10.244.0.1/24 dev cni0
`
