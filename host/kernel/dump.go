package kernel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"multinicd/host/kernel/socket"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// rtnl is one rtnetlink socket, see rtnetlink(7). Only here are requests made, and only here do
// they get a deadline. When the kernel says that a dump was interrupted, rtnl asks again: netlink
// v1.3.1 returns the torn list together with ErrDumpInterrupted. The list functions of that library
// also ask for the VFs and the counters of every link, which is slow on SR-IOV hosts; ours do not.
// Several goroutines may use an rtnl: they wait for one another.
type rtnl struct {
	mu     sync.Mutex // held during a request
	socket *socket.Socket
	seq    uint32 // of the last request
}

const (
	// A request waits for the kernel's rtnl lock. Others may hold that lock for seconds while they
	// make hundreds of links.
	requestTimeout = 10 * time.Second
	// A dump is torn if a link, address or route of the namespace changes meanwhile. A node that
	// starts 100 Pods changes them all the time. So there are many tries, with pauses that grow
	// from the least to the most.
	dumpPatience   = 2 * time.Second
	dumpPauseLeast = time.Millisecond
	dumpPauseMost  = 50 * time.Millisecond
)

func openRTNL() (*rtnl, error) {
	s, err := socket.Open(0, 0, socket.Longest)
	if err != nil {
		return nil, fmt.Errorf("opening a netlink socket: %w", err)
	}
	tv := unix.NsecToTimeval(int64(requestTimeout))
	// Both calls only store the value, and cannot fail.
	_ = unix.SetsockoptTimeval(s.FD, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	_ = unix.SetsockoptTimeval(s.FD, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv)
	// Linux 4.12 and later. Without it errors have no text.
	_ = unix.SetsockoptInt(s.FD, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	return &rtnl{socket: s}, nil
}

func (r *rtnl) close() { r.socket.Close() }

// port is the address of the socket. By it the kernel says who asked for a change.
func (r *rtnl) port() uint32 { return r.socket.Port }

// request makes one request of the fixed-size header body and the attributes. It gives each reply
// of type reply to each. The reply is valid until each returns.
func (r *rtnl) request(kind, flags int, body []byte, attributes []attribute, reply uint16, each func(m []byte)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.send(kind, flags, body, attributes); err != nil {
		return err
	}
	torn := false
	for {
		messages, err := r.socket.Receive()
		if err != nil {
			return err
		}
		for _, m := range messages {
			if m.Header.Seq != r.seq || m.Header.Pid != r.port() {
				continue // of a request that was given up
			}
			torn = torn || m.Header.Flags&unix.NLM_F_DUMP_INTR != 0
			switch m.Header.Type {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				if err := errnoOf(m.Data, m.Header.Flags); err != nil {
					return err
				}
			case reply:
				each(m.Data)
				if m.Header.Flags&unix.NLM_F_MULTI != 0 {
					continue
				}
			default:
				continue
			}
			if torn {
				return netlink.ErrDumpInterrupted
			}
			return nil
		}
	}
}

// send sends a request. Its number is then in r.seq.
func (r *rtnl) send(kind, flags int, body []byte, attributes []attribute) error {
	req := nl.NewNetlinkRequest(kind, flags)
	req.AddRawData(body)
	for _, a := range attributes {
		req.AddRawData(a.encode())
	}
	r.seq++
	req.Seq = r.seq
	data := req.Serialize()
	for {
		err := unix.Sendto(r.socket.FD, data, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// errnoOf gives the kernel's errno at the end of its answer, with its text where there is one
// (struct nlmsgerr and NLMSGERR_ATTR_MSG of linux/netlink.h); nil: all is well.
func errnoOf(b []byte, flags uint16) error {
	if len(b) < 4 {
		return nil // the end of a dump, by kernels that say no more
	}
	errno := -int32(binary.NativeEndian.Uint32(b))
	if errno <= 0 {
		return nil
	}
	var err error = unix.Errno(errno)
	b = b[4:]
	if flags&unix.NLM_F_ACK_TLVS == 0 || len(b) < unix.SizeofNlMsghdr {
		return err
	}
	again := int(binary.NativeEndian.Uint32(b)) // our request, which the kernel repeats
	if flags&unix.NLM_F_CAPPED != 0 {
		again = unix.SizeofNlMsghdr
	}
	for kind, v := range attributes(b[min((again+3)&^3, len(b)):]) {
		if kind == unix.NLMSGERR_ATTR_MSG {
			err = fmt.Errorf("%w: %s", err, text(v))
		}
	}
	return err
}

// do makes a request that changes something, and waits for the kernel's answer: an errno or nil.
func (r *rtnl) do(ctx context.Context, kind, flags int, body []byte, attributes ...attribute) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.request(kind, flags|unix.NLM_F_ACK, body, attributes, unix.NLMSG_NOOP, func([]byte) {})
}

// list gives every message of one kind to each; a message is valid until each returns. begin is
// called before the first one, and again where the list turns out to be torn: what each has got is
// to be forgotten then. An error means that what each has got is no list.
func (r *rtnl) list(ctx context.Context, kind int, reply uint16, body []byte, begin func(), each func(m []byte), attributes ...attribute) error {
	return whole(ctx, func() error {
		begin()
		return r.request(kind, unix.NLM_F_DUMP, body, attributes, reply, each)
	})
}

// dump gives every message of one kind. The messages stay valid. It never gives a torn list: what
// is missing there may be the default route of the link that the node lives by.
func (r *rtnl) dump(ctx context.Context, kind int, reply uint16, body []byte, attributes ...attribute) ([][]byte, error) {
	var out [][]byte
	err := r.list(ctx, kind, reply, body, func() { out = nil }, func(m []byte) { out = append(out, bytes.Clone(m)) }, attributes...)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// whole asks again until an answer is not torn. After dumpPatience it gives up with an error.
func whole(ctx context.Context, ask func() error) error {
	began := time.Now()
	for pause := dumpPauseLeast; ; pause = min(2*pause, dumpPauseMost) {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := ask()
		if !errors.Is(err, netlink.ErrDumpInterrupted) && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EBUSY) {
			return err
		}
		if time.Since(began) >= dumpPatience {
			return fmt.Errorf("the kernel's list changed at each of many tries to read it: %w", err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// attribute is one rtattr to send.
type attribute struct {
	kind  uint16
	value []byte
}

func (a attribute) encode() []byte {
	b := make([]byte, (unix.SizeofRtAttr+len(a.value)+3)&^3)
	binary.NativeEndian.PutUint16(b, uint16(unix.SizeofRtAttr+len(a.value)))
	binary.NativeEndian.PutUint16(b[2:], a.kind)
	copy(b[unix.SizeofRtAttr:], a.value)
	return b
}

func attr(kind uint16, value []byte) attribute { return attribute{kind, value} }

func attrUint32(kind uint16, v uint32) attribute {
	return attribute{kind, binary.NativeEndian.AppendUint32(nil, v)}
}

func attrString(kind uint16, s string) attribute { return attribute{kind, append([]byte(s), 0)} }

// attributes walks over the rtattrs in b, without copying. It ends at the first rtattr that does
// not fit.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			size := int(binary.NativeEndian.Uint16(b))
			kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if size < unix.SizeofRtAttr || size > len(b) || !yield(kind, b[unix.SizeofRtAttr:size]) {
				return
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}

// number reads a u32, s32 or u8 attribute. It is 0 for anything else.
func number(b []byte) int {
	switch len(b) {
	case 1:
		return int(b[0])
	case 4:
		return int(binary.NativeEndian.Uint32(b))
	}
	return 0
}

// text reads a string attribute up to its NUL.
func text(b []byte) string { return unix.ByteSliceToString(b) }
