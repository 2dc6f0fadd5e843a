package testhost

import (
	"cmp"
	"context"
	"crypto/md5" // for a machine id, which has its length
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"multinicd/test/bed/artifact"
	"multinicd/test/bed/rootfs"
)

// Flavour is who owns networking on a host.
type Flavour int

const (
	// Networkd hosts have netplan with systemd-networkd, as Debian and Ubuntu in a cloud; NetworkManager is
	// installed and masked.
	Networkd Flavour = iota
	// NetworkManager hosts have NetworkManager with keyfiles and no YAML of netplan: 1.42 on Debian 12, 1.52 on Debian 13.
	NetworkManager
	// Ifcfg hosts have a NetworkManager 1.42 that reads and writes ifcfg files, as RHEL 8 and 9 can; Debian 12 only.
	Ifcfg
	// NetplanNetworkManager hosts have netplan with the renderer NetworkManager, as Ubuntu's desktop.
	NetplanNetworkManager
)

func (f Flavour) String() string {
	return [...]string{"networkd", "networkmanager", "ifcfg", "netplan-networkmanager"}[f]
}

// Options of a host; the zero value is a Debian 12 host with networkd and a primary NIC only.
type Options struct {
	// Name is the host's name, "host1" and so on if empty. It is also the node's name in most tests.
	Name string
	// Suite of Debian: "bookworm" (12), "trixie" (13) or rootfs.Testing. If empty, what MULTINICD_TEST_SUITE in the environment says, else bookworm.
	Suite   string
	Flavour Flavour
	// Cloud is how a cloud makes the host; nil is a host that somebody has prepared: eth0 has a
	// static address, and no other NIC is anybody's.
	Cloud *Cloud
	// PrimaryMAC is the MAC of the primary NIC; made up if empty.
	PrimaryMAC string
	// NICs are plugged in beside the primary one when the host boots, in this order.
	NICs []NIC
	// Root is a folder on this machine with the root file system, to be read only, in place of the suite's. It has netplan.
	Root string
	// Over is a folder on this machine that lies over the root file system, to be read only; none if empty.
	Over string
}

// Host is a machine, on or off. Its methods are for one goroutine at a time, but for Run, Command, ReadFile and
// the monitors, which may run at once.
type Host struct {
	Name    string
	Flavour Flavour
	// Primary is the name of the primary NIC, "eth0", or "ens3" as a cloud makes it.
	Primary string
	// PrimaryMAC is its MAC, lower case.
	PrimaryMAC string
	// Address is its address, in Management.
	Address netip.Prefix

	world *World
	dir   string // its folder: disk and console
	root  string // its root file system, mounted here whether it is on or off
	group string // its sub-cgroup

	mu       sync.Mutex
	nics     []*nic
	stem     string // of the names that the kernel gives NICs: "eth", "ens"
	nextName int
	boot     *boot // nil when off
}

// boot is what lasts from power on to power off.
type boot struct {
	netns     string // path
	netnsName string
	cmd       *exec.Cmd // systemd-nspawn
	exited    chan struct{}
	leader    int // PID of the host's PID 1, here
}

// NewHost makes a host that is off. The first one makes the root file system too, if the cache has none.
func (w *World) NewHost(ctx context.Context, o Options) (*Host, error) {
	if o.Suite == "" {
		o.Suite = cmp.Or(os.Getenv("MULTINICD_TEST_SUITE"), rootfs.DefaultSuite)
	}
	lower, err := lowerFS(ctx, w.Logf, o)
	if err != nil {
		return nil, err
	}
	number, address := w.Place()
	if o.Name == "" {
		o.Name = "host" + strconv.Itoa(number)
	}
	if o.PrimaryMAC == "" {
		o.PrimaryMAC = fmt.Sprintf("02:00:00:00:00:%02x", number)
	}
	h := &Host{
		Name: o.Name, Flavour: o.Flavour, Primary: "eth0", world: w, stem: "eth", nextName: 1,
		Address: address,
		dir:     filepath.Join(w.box.Dir, "host-"+strconv.Itoa(number)), group: "host-" + strconv.Itoa(number),
	}
	if o.Cloud != nil {
		h.Primary, h.stem, h.nextName = "ens3", "ens", 4
	}
	h.root = filepath.Join(h.dir, "root")
	primary, err := newNIC(NIC{MAC: o.PrimaryMAC, Segment: managementSegment, Name: h.Primary})
	if err != nil {
		return nil, err
	}
	h.PrimaryMAC = primary.mac.String()
	h.nics = append(h.nics, primary)
	for _, n := range o.NICs {
		if _, err := h.addNIC(n); err != nil {
			return nil, err
		}
	}
	if o.Over != "" {
		lower = o.Over + ":" + lower
	}
	if err := h.mountDisk(lower); err != nil {
		return nil, err
	}
	if err := h.install(o); err != nil {
		return nil, fmt.Errorf("installing %s: %w", h.Name, err)
	}
	if o.Cloud != nil && !o.Cloud.StaticPrimary {
		if err := w.Manage(ctx, h.PrimaryMAC, h.Address.Addr()); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// lowerFS is what an overlay's lowerdir= says: the root file system, and what lies over it.
func lowerFS(ctx context.Context, logf artifact.Logf, o Options) (string, error) {
	if o.Root != "" {
		return o.Root, nil
	}
	lower, err := rootfs.Make(ctx, logf, o.Suite)
	if err != nil || o.Flavour != Ifcfg {
		return lower, err
	}
	if o.Suite != rootfs.DefaultSuite {
		return "", fmt.Errorf("making a host: there is no ifcfg plugin for %s", o.Suite)
	}
	plugin, err := rootfs.Ifcfg(ctx, logf)
	return plugin + ":" + lower, err
}

// mountDisk puts the host's own changes over the shared root file system. Where the temporary folder is itself on
// an overlay, as in a container, they are kept in memory: an overlay cannot lie on another one.
func (h *Host) mountDisk(lower string) error {
	if err := os.MkdirAll(h.dir, 0o755); err != nil {
		return fmt.Errorf("making the disk of %s: %w", h.Name, err)
	}
	err := h.mountOverlay(lower)
	if errors.Is(err, unix.EINVAL) {
		if err := unix.Mount("tmpfs", h.dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mounting memory for the disk of %s: %w", h.Name, err)
		}
		err = h.mountOverlay(lower)
	}
	if err != nil {
		return fmt.Errorf("mounting the disk of %s: %w", h.Name, err)
	}
	return nil
}

func (h *Host) mountOverlay(lower string) error {
	for _, name := range []string{"upper", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(h.dir, name), 0o755); err != nil {
			return err
		}
	}
	options := "lowerdir=" + lower + ",upperdir=" + filepath.Join(h.dir, "upper") + ",workdir=" + filepath.Join(h.dir, "work")
	return unix.Mount("overlay", h.root, "overlay", 0, options)
}

// machineID differs between hosts, or they would look like one to whoever derives an identifier from it.
func (h *Host) machineID() string {
	return fmt.Sprintf("%x", md5.Sum([]byte(h.world.box.ID+"/"+h.Name)))
}

// nth is the n-th address of a network.
func nth(network netip.Prefix, n int) netip.Addr {
	addr := network.Masked().Addr()
	for range n {
		addr = addr.Next()
	}
	return addr
}

func tick() <-chan time.Time { return time.After(5 * time.Millisecond) }
