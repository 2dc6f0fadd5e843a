package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"multinicd/host/kernel/socket"

	"golang.org/x/sys/unix"
)

func TestTheEndOfAnAnswer(t *testing.T) {
	answer := func(errno int32, request int, more ...attribute) []byte {
		b := binary.NativeEndian.AppendUint32(nil, uint32(-errno))
		b = binary.NativeEndian.AppendUint32(b, uint32(request))
		b = append(b, make([]byte, request-4)...)
		for _, a := range more {
			b = append(b, a.encode()...)
		}
		return b
	}
	said := attrString(unix.NLMSGERR_ATTR_MSG, "mtu less than device minimum")
	for name, tt := range map[string]struct {
		data  []byte
		flags uint16
		want  string
	}{
		"the end of a dump, by an old kernel":       {nil, 0, ""},
		"the end of a dump":                         {make([]byte, 4), 0, ""},
		"it is done":                                {answer(0, 32), 0, ""},
		"it is done, with a warning":                {answer(0, 32, said), unix.NLM_F_ACK_TLVS, ""},
		"an errno":                                  {answer(int32(unix.EBUSY), 32), 0, "device or resource busy"},
		"an errno at the end of a dump":             {answer(int32(unix.EINVAL), 32)[:4], 0, "invalid argument"},
		"an errno with its text":                    {answer(int32(unix.EINVAL), 32, said), unix.NLM_F_ACK_TLVS, "invalid argument: mtu less than device minimum"},
		"the request is left out":                   {answer(int32(unix.EINVAL), 16, said), unix.NLM_F_ACK_TLVS | unix.NLM_F_CAPPED, "invalid argument: mtu less than device minimum"},
		"another attribute comes before the text":   {answer(int32(unix.EINVAL), 32, attrUint32(unix.NLMSGERR_ATTR_OFFS, 44), said), unix.NLM_F_ACK_TLVS, "invalid argument: mtu less than device minimum"},
		"it says that the request is longer than b": {answer(int32(unix.EINVAL), 32)[:12], unix.NLM_F_ACK_TLVS, "invalid argument"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := errnoOf(tt.data, tt.flags); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// What there is no room for is an error, and no half of a message is taken for the whole.
func TestAMessageThatIsTooLong(t *testing.T) {
	n := newNamespace(t)
	var r *rtnl
	n.in(func() {
		s, err := socket.Open(0, 0, 64)
		n.ok(err)
		r = &rtnl{socket: s}
	})
	defer r.close()
	if _, err := r.dump(t.Context(), unix.RTM_GETLINK, unix.RTM_NEWLINK, make([]byte, unix.SizeofIfInfomsg)); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("got %v, want %v", err, unix.EMSGSIZE)
	}
}

// The kernel's messages stay valid while others are read, and while more of the same dump come.
func TestADumpStaysValid(t *testing.T) {
	n := newNamespace(t)
	for i := range 40 { // several parts
		n.veth(fmt.Sprintf("eth%d", i), fmt.Sprintf("02:00:00:00:03:%02x", i))
	}
	list := func() (out []string) {
		messages, err := n.rtnl.dump(t.Context(), unix.RTM_GETLINK, unix.RTM_NEWLINK, make([]byte, unix.SizeofIfInfomsg), noCounters)
		n.ok(err)
		n.link("lo") // something else
		for _, m := range messages {
			l, ok := n.parseLink(m)
			if !ok {
				t.Fatal("it is none of a link")
			}
			out = append(out, l.Name)
		}
		slices.Sort(out)
		return out
	}
	if got := list(); len(got) != 81 || len(slices.Compact(slices.Clone(got))) != 81 {
		t.Errorf("got %d links, want 81 of different names: %q", len(got), got)
	}
}
