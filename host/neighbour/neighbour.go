// Package neighbour asks the other machines on the segment of a link for an address, by ARP and by
// IPv6 neighbour discovery.
//
// In go a link as the kernel shows it, and an address. Out comes the MAC of the machine that has
// the address, or ErrSilent. The questions leave by packet sockets of this package, whatever the
// kernel's neighbour cache says, and leave nothing in the cache of anybody.
//
// The package reads and changes no link, and knows no netlink: whoever calls it has looked at the
// link, and waits for its carrier. It does not decide what a conflict means. Each question ends
// with its context.
//
// Start reading at Probe, then exchange, by which both families ask. solicit.go has what IPv6
// needs.
package neighbour

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"multinicd/nic"

	"golang.org/x/sys/unix"
)

// ErrSilent: nobody answered.
var ErrSilent = errors.New("nobody answers")

// probes is how often a question is asked in the time that there is. A frame may get lost, and a
// port of a switch that has just come up may not forward yet.
const probes = 3

// Probe asks whether another machine on the segment of a link has an address, before we take the
// address. It uses a probe of RFC 5227 or, for IPv6, the solicitation of RFC 4862. Neither has a
// sender address, so they disturb nobody's cache. holder is the machine that answered, or that asks
// the same question at the same time. If nobody answers, it takes the whole of wait. The link must
// be up (ENETDOWN). The kernel asks for IPv6 addresses too, but only once, and only when they are
// already there.
//
// It needs CAP_NET_RAW, and works in the network namespace of the calling thread.
func Probe(ctx context.Context, l nic.Link, a netip.Addr, wait time.Duration) (holder nic.MAC, inUse bool, err error) {
	a = a.Unmap()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if a.Is4() {
		holder, err = arp(ctx, l, netip.IPv4Unspecified(), a, wait/probes)
	} else {
		holder, err = solicitation(ctx, l, a, wait/probes)
	}
	switch {
	case err == nil:
		return holder, true, nil
	case errors.Is(err, ErrSilent):
		return nic.MAC{}, false, nil
	}
	return nic.MAC{}, false, fmt.Errorf("probing %s: %w", a, err)
}

// Ask asks whether a machine on the segment of a link answers for an address. It returns ErrSilent
// if ctx is done before an answer. Without a deadline it waits for ever. An IPv4 question has the
// address of the link whose subnet the other address is in, or none.
//
// It needs CAP_NET_RAW, and works in the network namespace of the calling thread.
func Ask(ctx context.Context, l nic.Link, a netip.Addr) (err error) {
	if a = a.Unmap(); a.Is4() {
		source := netip.IPv4Unspecified()
		for _, have := range l.Addresses {
			if have.Prefix.Contains(a) {
				source = have.Prefix.Addr()
			}
		}
		_, err = arp(ctx, l, source, a, time.Second/2)
	} else {
		err = solicit(ctx, l.Index, l.MAC, a, time.Second/2)
	}
	if err != nil {
		return fmt.Errorf("asking for neighbour %s on link %s: %w", a, l.Name, err)
	}
	return nil
}

// packetSocket is a socket for the frames of a protocol that come in by a link, are for this host,
// and pass a filter. The kind says whether they come with their Ethernet headers (SOCK_RAW) or
// without (SOCK_DGRAM). On a busy link the answers would find no room among all other frames.
//
// The kernel takes the tag of a VLAN that the link does not have off a frame, and marks the frame as
// somebody else's: who has our address in another network is no neighbour.
func packetSocket(kind int, protocol uint16, index int, filter ...unix.SockFilter) (*os.File, int, error) {
	s, err := unix.Socket(unix.AF_PACKET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("opening a packet socket: %w", err)
	}
	f := os.NewFile(uintptr(s), "packets")
	filter = append([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: frameKind},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.PACKET_OTHERHOST, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K},
	}, filter...)
	if err := unix.SetsockoptSockFprog(s, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}); err != nil {
		_ = f.Close()
		return nil, 0, fmt.Errorf("filtering packets: %w", err)
	}
	if err := unix.Bind(s, &unix.SockaddrLinklayer{Protocol: htons(protocol), Ifindex: index}); err != nil {
		_ = f.Close()
		return nil, 0, fmt.Errorf("listening for packets: %w", err)
	}
	return f, s, nil
}

// frameKind is where a filter finds what the kernel says of a frame: SKF_AD_OFF + SKF_AD_PKTTYPE of
// linux/filter.h.
const frameKind = 0xfffff000 + 4

func htons(v uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)) }

// arp asks for an address at intervals of every until somebody answers (RFC 826).
func arp(ctx context.Context, l nic.Link, source, target netip.Addr, every time.Duration) (nic.MAC, error) {
	const sourceAt, targetAt = 14, 24
	address := binary.BigEndian.Uint32(target.AsSlice())
	f, s, err := packetSocket(unix.SOCK_DGRAM, unix.ETH_P_ARP, l.Index,
		unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: sourceAt},
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: address, Jt: 3},
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 3},
		unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: targetAt},
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: address, Jf: 1},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 1500},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K},
	)
	if err != nil {
		return nic.MAC{}, err
	}
	defer func() { _ = f.Close() }()
	everyone := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ARP), Ifindex: l.Index, Halen: 6, Addr: [8]byte{255, 255, 255, 255, 255, 255}}
	question := arpPacket(l.MAC, source, target)
	var holder nic.MAC
	err = exchange(ctx, f, every, func() error { return unix.Sendto(s, question, 0, everyone) }, func(packet []byte) bool {
		var yes bool
		holder, yes = claimsAddress(packet, l.MAC, target)
		return yes
	})
	return holder, err
}

// arpPacket is an ARP request for Ethernet and IPv4.
func arpPacket(mac nic.MAC, source, target netip.Addr) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	b = append(b, mac[:]...)
	b = append(b, source.AsSlice()...)
	b = append(b, make([]byte, 6)...)
	return append(b, target.AsSlice()...)
}

// claimsAddress says whether an ARP packet shows that somebody with another MAC has the address, or
// is about to take it (RFC 5227, 2.1.1).
func claimsAddress(b []byte, mac nic.MAC, a netip.Addr) (nic.MAC, bool) {
	if len(b) < 28 || binary.BigEndian.Uint16(b) != 1 || binary.BigEndian.Uint16(b[2:]) != 0x0800 || b[4] != 6 || b[5] != 4 {
		return nic.MAC{}, false
	}
	operation, sender := binary.BigEndian.Uint16(b[6:]), nic.MAC(b[8:14])
	source, target := netip.AddrFrom4([4]byte(b[14:18])), netip.AddrFrom4([4]byte(b[24:28]))
	if sender == mac {
		return nic.MAC{}, false
	}
	return sender, source == a || operation == 1 && source.IsUnspecified() && target == a
}

// exchange sends at once and then at intervals of every. It gives each packet that comes to
// answered, until answered says yes. It returns ErrSilent if ctx is done before. A packet that has
// come by then counts, however late a busy machine reads it.
func exchange(ctx context.Context, f *os.File, every time.Duration, send func() error, answered func(packet []byte) bool) error {
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	packet := make([]byte, 1500)
	for {
		if err := send(); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
		if err := f.SetReadDeadline(time.Now().Add(every)); err != nil {
			return fmt.Errorf("setting a deadline: %w", err)
		}
		for ctx.Err() == nil {
			n, err := f.Read(packet)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return fmt.Errorf("receiving: %w", err)
			}
			if answered(packet[:n]) {
				return nil
			}
		}
		if ctx.Err() != nil {
			return arrived(f, packet, answered)
		}
	}
}

// backlog is how many packets are read at most once the time is over. On some segments they never
// end.
const backlog = 1000

// arrived gives the packets that have come, but were not read, to answered, until answered says
// yes. It returns ErrSilent if none is left. (Past its deadline a File is not read, whatever is
// waiting.)
func arrived(f *os.File, packet []byte, answered func(packet []byte) bool) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("receiving: %w", err)
	}
	yes := false
	var receiving error
	err = raw.Control(func(fd uintptr) {
		for range backlog {
			n, _, err := unix.Recvfrom(int(fd), packet, unix.MSG_DONTWAIT)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				receiving = err
				return
			}
			if yes = answered(packet[:n]); yes {
				return
			}
		}
	})
	switch {
	case yes:
		return nil
	case err != nil:
		return fmt.Errorf("receiving: %w", err)
	case receiving != nil && !errors.Is(receiving, unix.EAGAIN):
		return fmt.Errorf("receiving: %w", receiving)
	}
	return ErrSilent
}
