package kernel

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"multinicd/internal/hosttest"
	"multinicd/nic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// udevMessage is what udev tells of an event, with a header of 40 bytes.
func udevMessage(index int, name string) []byte {
	head := append([]byte("libudev\x00\xfe\xed\xca\xfe"), make([]byte, 28)...)
	return append(head, strings.Join([]string{"ACTION=move", "SUBSYSTEM=net", "INTERFACE=" + name, fmt.Sprint("IFINDEX=", index), ""}, "\x00")...)
}

func TestHandledKnowsTheNewsOfOneRename(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		message []byte
		want    bool
	}{
		"udev's, of the link under its new name":     {udevMessage(7, "multinic1"), true},
		"udev's, of the link under the name before":  {udevMessage(7, "eth1"), false},
		"udev's, of another link":                    {udevMessage(71, "multinic1"), false},
		"udev's, of a name that begins like the new": {udevMessage(7, "multinic10"), false},
		"the kernel's own":                           {[]byte("move@/devices/virtual/net/multinic1\x00INTERFACE=multinic1\x00IFINDEX=7\x00"), false},
		"an empty one":                               {nil, false},
	} {
		if got := handled(test.message, 7, "multinic1"); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

// A udev that is slow and goes by an old .link file: it sets another MTU some time after the rename, and then says that it is done.
func TestARenameLeavesTheMTUWhateverUdevMakesOfIt(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("eth1", testMAC)
	hosttest.Files(t, n.host.Root, map[string]string{"/run/udev/control": ""})
	var udev int
	var err error
	n.in(func() { udev, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT) })
	n.ok(err)
	t.Cleanup(func() { _ = unix.Close(udev) })
	tell := func(name string) {
		// ECONNREFUSED: nobody listens.
		if err := unix.Sendto(udev, udevMessage(l.Index, name), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (udevGroup - 1)}); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		name string
		c    nic.Change
		want int
	}{
		{"multinic1", nic.Change{Name: "multinic1"}, 1500},
		{"multinic2", nic.Change{Name: "multinic2", MTU: 1400}, 1400},
		{"eth1", nic.Change{Name: "eth1"}, 1400},
	} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			eventually(t, "the rename", func() bool { _, err := n.LinkByName(c.name); return err == nil })
			tell("before") // of an earlier event
			time.Sleep(50 * time.Millisecond)
			if err := n.LinkSetMTU(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: l.Index}}, 1300); err != nil {
				t.Error(err)
			}
			tell(c.name)
		}()
		c.c.Index, c.c.MAC = l.Index, l.MAC
		began := time.Now()
		n.in(func() { err = n.Writer(func(nic.Link, []nic.Link) error { return nil }).Change(t.Context(), c.c) })
		n.ok(err)
		if took := time.Since(began); took >= udevPatience {
			t.Errorf("%s: udev's news did not come through: the change took %v", c.name, took)
		}
		<-done
		if got := n.link(c.name).MTU; got != c.want {
			t.Errorf("%s: MTU %d, want %d", c.name, got, c.want)
		}
	}
}
