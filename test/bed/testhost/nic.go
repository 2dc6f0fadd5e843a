package testhost

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/vishvananda/netlink"
)

// NIC is a network card to be plugged into a host. It is one end of a veth pair; the other is a switch port. So
// it has no permanent MAC and counts as virtual: the product has to be told to take it for a NIC.
type NIC struct {
	MAC string
	// Segment is the switch segment that its cable goes to, "data1" if empty.
	Segment string
	// Name is what the kernel calls it at first, "eth1", "eth2" and so on if empty, and "ens4",
	// "ens5" on a host as a cloud makes it.
	Name string
}

// nic is a NIC that belongs to a host, plugged in whenever that is on.
type nic struct {
	mac     net.HardwareAddr
	segment string
	name    string
	down    bool   // the cable is pulled
	port    string // its switch port; empty when the host is off
}

func newNIC(n NIC) (*nic, error) {
	mac, err := net.ParseMAC(n.MAC)
	if err != nil {
		return nil, fmt.Errorf("making a NIC: %w", err)
	}
	if n.Segment == "" {
		n.Segment = "data1"
	}
	return &nic{mac: mac, segment: n.Segment, name: n.Name}, nil
}

// addNIC gives the host a NIC that is not yet plugged in.
func (h *Host) addNIC(n NIC) (*nic, error) {
	added, err := newNIC(n)
	if err != nil {
		return nil, err
	}
	if added.name == "" {
		added.name = h.stem + strconv.Itoa(h.nextName)
		h.nextName++
	}
	h.nics = append(h.nics, added)
	return added, nil
}

// Plug gives the host another NIC, at once if it is on.
func (h *Host) Plug(n NIC) error {
	added, err := h.addNIC(n)
	if err != nil {
		return err
	}
	if h.current() == nil {
		return nil
	}
	return h.plug(added)
}

// Unplug takes the NIC with that MAC out for good.
func (h *Host) Unplug(mac string) error {
	n, err := h.nic(mac)
	if err != nil {
		return err
	}
	for i := range h.nics {
		if h.nics[i] == n {
			h.nics = append(h.nics[:i:i], h.nics[i+1:]...)
			break
		}
	}
	return h.unplug(n)
}

// SetCarrier pulls the cable of the NIC with that MAC, or puts it back in.
func (h *Host) SetCarrier(mac string, up bool) error {
	n, err := h.nic(mac)
	if err != nil {
		return err
	}
	n.down = !up
	if n.port == "" {
		return nil
	}
	return h.setPort(n)
}

func (h *Host) nic(mac string) (*nic, error) {
	want, err := net.ParseMAC(mac)
	if err != nil {
		return nil, fmt.Errorf("finding a NIC of %s: %w", h.Name, err)
	}
	for _, n := range h.nics {
		if n.mac.String() == want.String() {
			return n, nil
		}
	}
	return nil, fmt.Errorf("finding a NIC of %s: it has none with MAC %s", h.Name, want)
}

// plug makes the veth pair in one step, so that the host never sees a NIC with another name or MAC.
func (h *Host) plug(n *nic) error {
	bridge, err := h.world.segment(n.segment)
	if err != nil {
		return err
	}
	host, err := os.Open(h.current().netns)
	if err != nil {
		return fmt.Errorf("plugging %s into %s: %w", n.mac, h.Name, err)
	}
	defer host.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = h.world.NextPort()
	attrs.MasterIndex = bridge.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: n.name, PeerHardwareAddr: n.mac, PeerNamespace: netlink.NsFd(int(host.Fd()))}
	if err := h.world.netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("plugging %s into %s as %s: %w", n.mac, h.Name, n.name, err)
	}
	n.port = attrs.Name
	return h.setPort(n)
}

func (h *Host) setPort(n *nic) error {
	port, err := h.world.netlink.LinkByName(n.port)
	if err != nil {
		return fmt.Errorf("finding the port of %s: %w", n.mac, err)
	}
	set := h.world.netlink.LinkSetUp
	if n.down {
		set = h.world.netlink.LinkSetDown
	}
	if err := set(port); err != nil {
		return fmt.Errorf("setting the port of %s: %w", n.mac, err)
	}
	return nil
}

func (h *Host) unplug(n *nic) error {
	if n.port == "" {
		return nil
	}
	port, err := h.world.netlink.LinkByName(n.port)
	n.port = ""
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil // the host deleted its end
	}
	if err != nil {
		return fmt.Errorf("finding the port of %s: %w", n.mac, err)
	}
	if err := h.world.netlink.LinkDel(port); err != nil {
		return fmt.Errorf("unplugging %s from %s: %w", n.mac, h.Name, err)
	}
	return nil
}

func (h *Host) plugAll() error {
	for _, n := range h.nics {
		if err := h.plug(n); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) unplugAll() error {
	var errs []error
	for _, n := range h.nics {
		errs = append(errs, h.unplug(n))
	}
	return errors.Join(errs...)
}
