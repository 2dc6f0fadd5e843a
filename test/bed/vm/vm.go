// Package vm runs virtual machines for tests: a kernel of their own with its modules, NICs with permanent MACs that are plugged in and out by PCI, firmware that tells the
// machine's identity, and cloud-init with what a cloud gives it.
//
// A VM stands beside the hosts of package testhost in one World: its NICs are on the same segments, so that the same DHCP servers, routers and API server are there. It boots a
// stock-like image of Debian by qemu, which emulates the processor: half a minute on an idle machine.
//
// It must not prepare the machine for the product: what a VM is told, it is told by cloud-init or by the test.
//
// Start reading at New and VM.Boot.
package vm

import (
	"cmp"
	"context"
	"crypto/md5" // for identifiers, which have its length
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"multinicd/test/bed/artifact"
	"multinicd/test/bed/sandbox"
	"multinicd/test/bed/testhost"
)

// Kind is what an image is made of.
type Kind struct {
	Suite   string
	Flavour testhost.Flavour
}

// Kinds are those that the tests boot.
var Kinds = []Kind{
	{"bookworm", testhost.Networkd},     // kernel 6.1, which does not rename a link that is up; cloud-init 22.4
	{"trixie", testhost.NetworkManager}, // kernel 6.12, cloud-init 25.1
}

// Options of a VM; the zero value is a Debian 12 machine with networkd and a primary NIC only.
type Options struct {
	// Name is the machine's name, "vm1" and so on if empty.
	Name string
	// Kind is Kinds[0] if zero.
	Kind Kind
	// PrimaryMAC is the MAC of the primary NIC; made up if empty.
	PrimaryMAC string
	// NICs are there at the first boot beside the primary one, and the cloud has told cloud-init of them, DHCP on each. A NIC's Name must be empty.
	NICs []testhost.NIC
	// UserData is for cloud-init; none if empty.
	UserData string
	// NoCloud gives cloud-init the data in the form for machines without a cloud, which says nothing of NICs. Else they come on OpenStack's config drive.
	NoCloud bool
	// KernelWords stand on the kernel's command line, behind those that each VM has.
	KernelWords []string
	// Bridges are further PCI buses. Each has room for 31 NICs; the first bus has room for 13, the primary one among them.
	Bridges int
}

// VM is a virtual machine, on or off. Its methods are for one goroutine at a time, except Run, Shell, ReadFile and WriteFile, which may run at once.
type VM struct {
	Name string
	Kind Kind
	// UUID is the instance's, which its firmware tells, and cloud-init.
	UUID string
	// Primary is the name of the primary NIC, "ens3"; the next ones are called "ens4" and so on.
	Primary string
	// PrimaryMAC is its MAC, lower case.
	PrimaryMAC string
	// Address is its address, by DHCP, in testhost.Management.
	Address netip.Prefix

	world *testhost.World
	box   *sandbox.Sandbox
	image ImageFiles
	dir   string // its folder: disks, sockets and console
	group string // its sub-cgroup
	asked Options

	mu   sync.Mutex
	nics []*nic
	boot *boot // nil when off
}

// boot is what lasts from power on to power off.
type boot struct {
	cmd     *exec.Cmd // qemu
	exited  chan struct{}
	monitor *monitor
	agent   *agent
}

// nic is a NIC that belongs to a VM.
type nic struct {
	mac     string
	segment string
	place   place
	port    string // its switch port, a TAP; empty when it is not plugged in
}

// Slots of the first PCI bus. The kernel calls a NIC in slot 4 ens4. On the bus of a bridge, all but slot 0 are for NICs.
const (
	firstSlot  = 3
	lastSlot   = 15
	diskSlot   = 16
	seedSlot   = 17
	randomSlot = 18
	serialSlot = 19
	bridgeSlot = 20 // of the first bridge
	busSlots   = 32
)

// place is where a NIC is plugged in: a slot of the first bus, 0, or of that of a bridge.
type place struct{ bus, slot int }

// vectors is how many interrupts a NIC there can have. One has three of its own if it may; a processor has some 190 for all devices, which is too few for 64 NICs.
func (p place) vectors() int {
	if p.bus == 0 {
		return 3
	}
	return 2
}

// String is a part of qemu's names of what is there.
func (p place) String() string { return fmt.Sprintf("%d-%d", p.bus, p.slot) }

// busName is qemu's name of a bus.
func busName(bus int) string {
	if bus == 0 {
		return "pci.0"
	}
	return fmt.Sprintf("bridge%d", bus)
}

// places are those for the NICs of a VM, in the order in which they are taken.
func (v *VM) places() (all []place) {
	for slot := firstSlot; slot <= lastSlot; slot++ {
		all = append(all, place{0, slot})
	}
	for bus := 1; bus <= v.asked.Bridges; bus++ {
		for slot := 1; slot < busSlots; slot++ {
			all = append(all, place{bus, slot})
		}
	}
	return all
}

// New makes a VM that is off. The first one of its kind makes the image too, if the cache has none.
func New(ctx context.Context, w *testhost.World, box *sandbox.Sandbox, o Options) (*VM, error) {
	if o.Kind == (Kind{}) {
		o.Kind = Kinds[0]
	}
	image, err := Image(ctx, w.Logf, o.Kind.Suite, o.Kind.Flavour)
	if err != nil {
		return nil, err
	}
	number, address := w.Place()
	v := &VM{
		Name: cmp.Or(o.Name, "vm"+strconv.Itoa(number)), Kind: o.Kind, Primary: "ens" + strconv.Itoa(firstSlot), Address: address,
		world: w, box: box, image: image, asked: o, group: "vm-" + strconv.Itoa(number), dir: filepath.Join(box.Dir, "vm-"+strconv.Itoa(number)),
	}
	v.UUID = uuid(box.ID + "/" + v.Name)
	for _, n := range append([]testhost.NIC{{MAC: cmp.Or(o.PrimaryMAC, fmt.Sprintf("fa:16:3e:00:00:%02x", number)), Segment: "mgmt"}}, o.NICs...) {
		if _, err := v.addNIC(n); err != nil {
			return nil, err
		}
	}
	v.PrimaryMAC = v.nics[0].mac
	if err := w.Manage(ctx, v.PrimaryMAC, v.Address.Addr()); err != nil {
		return nil, err
	}
	if err := os.Mkdir(v.dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the disk of %s: %w", v.Name, err)
	}
	if err := v.writeSeed(ctx); err != nil {
		return nil, err
	}
	if err := tool(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image.Disk, v.path("disk.qcow2")); err != nil {
		return nil, fmt.Errorf("making the disk of %s: %w", v.Name, err)
	}
	return v, nil
}

// Logf is for what takes long.
func (v *VM) logf(format string, args ...any) { artifact.Logf(v.world.Logf)(format, args...) }

// path is that of a file of the VM on this machine.
func (v *VM) path(name string) string { return filepath.Join(v.dir, name) }

// addNIC gives the VM a NIC that is not yet plugged in, in the first free place.
func (v *VM) addNIC(n testhost.NIC) (*nic, error) {
	mac, err := net.ParseMAC(n.MAC)
	if err != nil {
		return nil, fmt.Errorf("making a NIC: %w", err)
	}
	if n.Name != "" {
		return nil, fmt.Errorf("making a NIC: the name %q is not for a VM to choose: its kernel does", n.Name)
	}
	for _, p := range v.places() {
		if !slices.ContainsFunc(v.nics, func(other *nic) bool { return other.place == p }) {
			added := &nic{mac: mac.String(), segment: cmp.Or(n.Segment, "data1"), place: p}
			v.nics = append(v.nics, added)
			return added, nil
		}
	}
	return nil, errors.New("making a NIC: no slot is free")
}

// uuid is made of a text, the same each time.
func uuid(text string) string {
	id := md5.Sum([]byte(text))
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // of version 4
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// tool runs a program of this machine.
func tool(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("running %s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
