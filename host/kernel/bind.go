package kernel

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Dialer gives a dialer whose connections leave by the link of that name alone, whatever the routes
// prefer (SO_BINDTODEVICE, socket(7)). The link needs a route of its own to where they lead. Names are
// resolved without regard to it.
//
// Before Linux 5.7 this takes CAP_NET_RAW.
func Dialer(link string) *net.Dialer {
	return &net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if failed := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), link) }); failed != nil {
			return failed
		}
		return err
	}}
}
