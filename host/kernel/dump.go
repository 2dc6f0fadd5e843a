package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// rtnl is one rtnetlink socket, see rtnetlink(7). Only here are requests made, and only here do
// they get a deadline. When the kernel says that a dump was interrupted, rtnl asks again: netlink
// v1.3.1 returns the torn list together with ErrDumpInterrupted. The list functions of that library
// also ask for the VFs and the counters of every link, which is slow on SR-IOV hosts; ours do not.
type rtnl struct {
	sockets map[int]*nl.SocketHandle
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
	s, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening a netlink socket: %w", err)
	}
	tv := unix.NsecToTimeval(int64(requestTimeout))
	// Both calls only store the value, and cannot fail.
	_ = s.SetReceiveTimeout(&tv)
	_ = s.SetSendTimeout(&tv)
	// Linux 4.12 and later. Without it errors have no text.
	_ = s.SetExtAck(true)
	return &rtnl{sockets: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}}, nil
}

func (r *rtnl) close() { r.sockets[unix.NETLINK_ROUTE].Close() }

// port is the address of the socket. By it the kernel says who asked for a change.
func (r *rtnl) port() (uint32, error) { return r.sockets[unix.NETLINK_ROUTE].Socket.GetPid() }

// request makes one request of the fixed-size header body and the attributes. It gives each reply
// of type reply to each.
func (r *rtnl) request(kind, flags int, body []byte, attributes []attribute, reply uint16, each func(m []byte)) error {
	req := nl.NewNetlinkRequest(kind, flags)
	req.Sockets = r.sockets
	req.AddRawData(body)
	for _, a := range attributes {
		req.AddRawData(a.encode())
	}
	return req.ExecuteIter(unix.NETLINK_ROUTE, reply, func(m []byte) bool {
		if each != nil {
			each(m)
		}
		return true
	})
}

// do makes a request that changes something, and waits for the kernel's answer: an errno or nil.
func (r *rtnl) do(ctx context.Context, kind, flags int, body []byte, attributes ...attribute) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.request(kind, flags|unix.NLM_F_ACK, body, attributes, 0, nil)
}

// dump gives every message of one kind. The messages stay valid. It never gives a torn list: what
// is missing there may be the default route of the link that the node lives by.
func (r *rtnl) dump(ctx context.Context, kind int, reply uint16, body []byte, attributes ...attribute) ([][]byte, error) {
	var out [][]byte
	err := whole(ctx, func() error {
		out = out[:0]
		return r.request(kind, unix.NLM_F_DUMP, body, attributes, reply, func(m []byte) { out = append(out, m) })
	})
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
