package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"multinicd/nic"

	"golang.org/x/sys/unix"
)

const (
	// udevPatience bounds the wait for udev: 10 to 30 ms on an idle machine, seconds on a very busy
	// one. Without udev nobody waits.
	udevPatience = 5 * time.Second
	// udevTick is how often a wait looks whether it is still needed.
	udevTick = 100 * time.Millisecond
	// udevGroup is the multicast group of NETLINK_KOBJECT_UEVENT in which udev says what it has
	// done with an event (MONITOR_GROUP_UDEV in src/libsystemd/sd-device/device-monitor-private.h).
	// The kernel announces the event itself in group 1.
	udevGroup = 2
	// udevRoom is room for one message of udev. libudev itself reads 8 KiB.
	udevRoom = 16 << 10
)

// rename changes the name and nothing else. If udev changes the MTU because of the new name, that
// is undone.
func (k *Kernel) rename(ctx context.Context, l nic.Link, name string) error {
	news := k.followUdev()
	defer news.close()
	err := k.setLink(ctx, l.Index, 0, 0, attrString(unix.IFLA_IFNAME, name))
	switch {
	case err == nil:
		news.renamed(ctx, l.Index, name)
		return k.keepMTU(ctx, l)
	case errors.Is(err, unix.EBUSY):
		err = fmt.Errorf("%w: %w", nic.ErrRenameBusy, err)
	case errors.Is(err, unix.EEXIST):
		err = fmt.Errorf("%w: %w", nic.ErrNameTaken, err)
	default:
		err = gone(err)
	}
	return fmt.Errorf("renaming link %s to %s: %w", l.Name, name, err)
}

// keepMTU gives a link the MTU that it had when l was read.
func (k *Kernel) keepMTU(ctx context.Context, l nic.Link) error {
	links, err := k.single(ctx, l.Index)
	if err == nil && len(links) == 0 {
		err = nic.ErrLinkGone
	}
	if err != nil {
		return fmt.Errorf("reading the MTU of link %s: %w", l.Name, err)
	}
	now := links[0]
	if now.MTU == l.MTU {
		return nil
	}
	if err := k.setLink(ctx, l.Index, 0, 0, attrUint32(unix.IFLA_MTU, uint32(l.MTU))); err != nil {
		return fmt.Errorf("keeping the MTU of link %s at %d: %w", l.Name, l.MTU, gone(err))
	}
	return nil
}

// udevNews is a subscription to what udev has done. Subscribe before the change that udev reacts
// to, and close the subscription after it.
type udevNews struct{ socket int }

// followUdev subscribes in the network namespace of the calling thread. It returns nil, which never
// waits, if there is no udev or its news cannot be had.
func (k *Kernel) followUdev() *udevNews {
	if !k.host.Exists("/run/udev/control") {
		return nil
	}
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err == nil {
		tick := unix.NsecToTimeval(int64(udevTick))
		err = errors.Join(unix.Bind(s, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (udevGroup - 1)}),
			unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tick))
	}
	if err != nil {
		k.log.Warn("news of udev cannot be had", "err", err)
		_ = unix.Close(s) // of -1 at worst
		return nil
	}
	// There must be room for the messages that come while hundreds of links are made. Without
	// CAP_NET_ADMIN the default has to do.
	_ = unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventBuffer)
	return &udevNews{socket: s}
}

// renamed waits until udev has handled the news that a link has another name. udev then applies the
// link's .link file again, including the MTU (link_apply_config in src/udev/net/link-config.c). It
// uses what it has read of the file within the last three seconds. An MTU that was set before would
// be lost. Observed with systemd 252 on 2026-11-22: a link of MTU 1500 with MTUBytes=1300 in its
// file has 1300 some ms after a rename.
//
// What udev keeps below /run/udev tells less: since systemd 257 it writes its record of a device
// also at the begin of an event (ID_PROCESSING=1).
func (u *udevNews) renamed(ctx context.Context, index int, name string) {
	if u == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, udevPatience)
	defer cancel()
	message := make([]byte, udevRoom)
	for ctx.Err() == nil {
		n, _, err := unix.Recvfrom(u.socket, message, 0)
		if err == nil && handled(message[:n], index, name) {
			return
		}
	}
}

func (u *udevNews) close() {
	if u != nil {
		_ = unix.Close(u.socket)
	}
}

// handled says whether a message of udev is about this link under that name. A message is a header
// that begins with "libudev" and ends in zeros or hashes, and then KEY=value pairs, each behind a
// zero byte (sd_device_monitor_send in src/libsystemd/sd-device/device-monitor.c).
func handled(message []byte, index int, name string) bool {
	has := func(pair string) bool { return bytes.Contains(message, []byte("\x00"+pair+"\x00")) }
	return bytes.HasPrefix(message, []byte("libudev\x00")) && has(fmt.Sprint("IFINDEX=", index)) && has("INTERFACE="+name)
}
