// Package socket has the netlink sockets by which package kernel speaks to the kernel.
//
// In go the multicast groups to be told of; out come the kernel's messages, in the order in which
// they were sent.
//
// The package must not know what a message means, nor wait by any other means than those of its
// socket. It sends nothing.
//
// Start reading at Socket.
package socket

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Socket is an rtnetlink socket (netlink(7), rtnetlink(7)) of the network namespace of the thread
// that opened it. One goroutine at a time reads from it. It reads into the same room again and
// again. A look at the machine reads a dozen times; the sockets of netlink v1.3.1 clear 64 KiB each
// time, copy what was read, and ask for their own address at each request.
type Socket struct {
	FD   int
	Port uint32 // its address, by which the kernel says who asked for a change
	room []byte
}

// Longest is the greatest room that is needed, in bytes. The kernel gives a dump in parts of at most
// 32 KiB (netlink_dump of net/netlink/af_netlink.c), and nothing else that we ask for, or are told,
// is as long.
const Longest = 32 << 10

// Open opens a socket that is told of the multicast groups in groups, a bit each, with room for a
// message of that many bytes. flags are those of socket(2): SOCK_NONBLOCK, or 0.
func Open(flags int, groups uint32, room int) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|flags, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	s := &Socket{FD: fd, room: make([]byte, room)}
	var own unix.Sockaddr
	if err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err == nil {
		own, err = unix.Getsockname(fd)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	if address, ok := own.(*unix.SockaddrNetlink); ok {
		s.Port = address.Pid
	}
	return s, nil
}

// Close closes the socket, which must not be used afterwards.
func (s *Socket) Close() { _ = unix.Close(s.FD) }

// Receive gives the next messages from the kernel. They are valid until the next call. There may be
// none, where somebody else has sent something. An errno passes through: EAGAIN where there is
// nothing yet, ENOBUFS where messages were lost.
func (s *Socket) Receive() ([]syscall.NetlinkMessage, error) {
	n, from, err := unix.Recvfrom(s.FD, s.room, unix.MSG_TRUNC) // n is then how long it was
	for errors.Is(err, unix.EINTR) {
		n, from, err = unix.Recvfrom(s.FD, s.room, unix.MSG_TRUNC)
	}
	if err != nil {
		return nil, err
	}
	if a, ok := from.(*unix.SockaddrNetlink); !ok || a.Pid != 0 {
		return nil, nil
	}
	if n > len(s.room) {
		return nil, fmt.Errorf("reading %d bytes of the kernel's: %w", n, unix.EMSGSIZE)
	}
	return syscall.ParseNetlinkMessage(s.room[:n])
}
