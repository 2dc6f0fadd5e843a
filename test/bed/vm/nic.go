package vm

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"multinicd/test/bed/testhost"
)

// unplugTimeout is for the guest, which lets go of a NIC within two seconds, once it has booted.
const unplugTimeout = 2 * time.Minute

// netdev and device are qemu's names of the two ends of a NIC.
func (n *nic) netdev() string { return "cable" + n.place.String() }
func (n *nic) device() string { return "nic" + n.place.String() }

// Plug gives the VM another NIC, at once if it is on, as a cloud attaches a port: cloud-init is not told.
func (v *VM) Plug(ctx context.Context, n testhost.NIC) error { return v.attach(ctx, n, false) }

// PlugAndTell is Plug where cloud-init is told too: OpenStack's config drive, which is written anew before, lists the NIC with DHCP.
func (v *VM) PlugAndTell(ctx context.Context, n testhost.NIC) error { return v.attach(ctx, n, true) }

func (v *VM) attach(ctx context.Context, n testhost.NIC, tell bool) error {
	added, err := v.addNIC(n)
	if err != nil {
		return err
	}
	if tell {
		err = v.writeSeed(ctx)
	}
	if b := v.current(); b != nil && err == nil {
		err = v.plug(ctx, b, added)
	}
	if err != nil {
		return fmt.Errorf("plugging %s into %s: %w", added.mac, v.Name, err)
	}
	return nil
}

func (v *VM) plug(ctx context.Context, b *boot, n *nic) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	n.port = v.world.NextPort()
	cable := map[string]any{"type": "tap", "id": n.netdev(), "ifname": n.port, "script": "no", "downscript": "no"}
	if err := b.monitor.ask(ctx, "netdev_add", cable); err != nil {
		return err
	}
	if err := v.world.Connect(n.port, n.segment); err != nil {
		return err
	}
	return b.monitor.ask(ctx, "device_add", map[string]any{
		"driver": "virtio-net-pci", "id": n.device(), "netdev": n.netdev(), "mac": n.mac, "bus": busName(n.place.bus), "addr": fmt.Sprintf("%#x", n.place.slot),
		"vectors": n.place.vectors(), "romfile": "",
	})
}

// Unplug takes the NIC with that MAC out for good, and waits until the guest has let go of it.
func (v *VM) Unplug(ctx context.Context, mac string) error {
	i, err := v.nic(mac)
	if err != nil {
		return err
	}
	n := v.nics[i]
	if b := v.current(); b != nil {
		err = b.unplug(ctx, n)
	}
	if err != nil {
		return fmt.Errorf("unplugging %s from %s: %w", mac, v.Name, err)
	}
	v.nics = slices.Delete(v.nics, i, i+1)
	return nil
}

func (b *boot) unplug(ctx context.Context, n *nic) error {
	ctx, cancel := context.WithTimeout(ctx, unplugTimeout)
	defer cancel()
	if err := b.monitor.ask(ctx, "device_del", map[string]any{"id": n.device()}); err != nil {
		return err
	}
	if err := b.monitor.wait(ctx, "DEVICE_DELETED", n.device()); err != nil {
		return err
	}
	return b.monitor.ask(ctx, "netdev_del", map[string]any{"id": n.netdev()})
}

// SetCarrier pulls the cable of the NIC with that MAC, or puts it back in, on a VM that is on.
func (v *VM) SetCarrier(ctx context.Context, mac string, up bool) error {
	i, err := v.nic(mac)
	if err != nil {
		return err
	}
	b := v.current()
	if b == nil {
		return fmt.Errorf("pulling a cable of %s: it is off", v.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return b.monitor.ask(ctx, "set_link", map[string]any{"name": v.nics[i].device(), "up": up})
}

// nic is the index of the NIC with a MAC.
func (v *VM) nic(mac string) (int, error) {
	want, err := net.ParseMAC(strings.TrimSpace(mac))
	if err != nil {
		return 0, fmt.Errorf("finding a NIC of %s: %w", v.Name, err)
	}
	i := slices.IndexFunc(v.nics, func(n *nic) bool { return n.mac == want.String() })
	if i < 0 {
		return 0, fmt.Errorf("finding a NIC of %s: it has none with MAC %s", v.Name, want)
	}
	return i, nil
}
