package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"multinicd/nic"
)

// NetworkManager's D-Bus interface, see https://networkmanager.dev/docs/api/latest/spec.html.
const (
	nmService  = "org.freedesktop.NetworkManager"
	nmObject   = "/org/freedesktop/NetworkManager"
	nmSettings = "/org/freedesktop/NetworkManager/Settings"
	nmProfile  = nmService + ".Settings.Connection"
	nmDevice   = nmService + ".Device"
	nmActive   = nmService + ".Connection.Active"

	// nmTimeout bounds one call: 1 to 50 ms when all is well.
	nmTimeout = 5 * time.Second
	// nmActivateTimeout bounds the wait until a profile is in force: 0.1 to 0.3 s when all is well.
	nmActivateTimeout = 10 * time.Second
	// nmLeaveTimeout bounds the wait until a profile is no longer in force. That is as quick, but
	// the administrator's own scripts may add time.
	nmLeaveTimeout = 20 * time.Second
	// nmHold is the number of seconds after which NetworkManager takes back a link that we hold. It
	// is longer than a change with all its probes. It is also a number that nobody else is likely
	// to choose: by it we recognise our own checkpoint that a crash has left.
	nmHold uint32 = 83
)

// States of a device, NMDeviceState in nm-dbus-interface.h.
const (
	nmUnmanaged    = 10
	nmUnavailable  = 20
	nmDisconnected = 30
	nmActivated    = 100
	nmDeactivating = 110
	nmFailed       = 120
)

// Flags of NetworkManager's methods.
const (
	nmAllowOverlapping = 0x08 // of CheckpointCreate
	nmPreserveExternal = 0x01 // of Reapply (1.42): addresses that others have added stay
)

// nm is one conversation with NetworkManager.
type nm struct {
	bus    systemBus
	kernel Kernel
}

// nmAsk begins a conversation. The error is nic.ErrNoManager if NetworkManager does not run. We
// never start it.
func (b *Bus) nmAsk(ctx context.Context) (nm, error) {
	ctx, cancel := context.WithTimeout(ctx, nmTimeout)
	defer cancel()
	if !b.host.Exists("/run/NetworkManager") {
		return nm{}, nic.ErrNoManager // it has not run in this boot
	}
	bus, err := b.dial(ctx)
	if err != nil {
		return nm{}, err
	}
	m := nm{bus, b.kernel}
	running, err := bus.runs(ctx, nmService)
	if err == nil && !running {
		err = nic.ErrNoManager
	}
	if err == nil {
		err = m.ready(ctx)
	}
	if err != nil {
		bus.close()
		return nm{}, err
	}
	return m, nil
}

// nmDevice begins a conversation about a link. dev is NetworkManager's device for the link, and
// name is the link's name.
func (b *Bus) nmDevice(ctx context.Context, index int, mac nic.MAC) (m nm, dev dbus.ObjectPath, name string, err error) {
	m, err = b.nmAsk(ctx)
	if err != nil {
		return m, "", "", err
	}
	dev, name, err = m.device(ctx, index, mac)
	if err != nil {
		m.close()
	}
	return m, dev, name, err
}

// ready waits until NetworkManager answers for its settings. Right after its start it has its name
// on the bus, and nothing else yet.
func (m nm) ready(ctx context.Context) error {
	for {
		var modify dbus.Variant
		answered, err := m.bus.call(ctx, nmService, nmSettings, "org.freedesktop.DBus.Properties.Get", []any{nmService + ".Settings", "CanModify"}, &modify)
		if err == nil {
			return nil
		}
		if !answered {
			return fmt.Errorf("asking NetworkManager: %w", err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("waiting for NetworkManager to be ready: %w: %w", ErrNoBus, err)
		}
	}
}

func (m nm) close() { m.bus.close() }

func (m nm) call(ctx context.Context, object dbus.ObjectPath, method string, args []any, results ...any) (answered bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, nmTimeout)
	defer cancel()
	return m.bus.call(ctx, nmService, object, method, args, results...)
}

// get reads one property.
func (m nm) get(ctx context.Context, object dbus.ObjectPath, iface, name string, into any) error {
	var v dbus.Variant
	if _, err := m.call(ctx, object, "org.freedesktop.DBus.Properties.Get", []any{iface, name}, &v); err != nil {
		return fmt.Errorf("reading %s of %s: %w", name, object, err)
	}
	if err := v.Store(into); err != nil {
		return fmt.Errorf("reading %s of %s: %w", name, object, err)
	}
	return nil
}

// device finds NetworkManager's device for a link: the device with that ifindex. In another boot it
// is the only device with the MAC that is in no bond or bridge.
func (m nm) device(ctx context.Context, index int, mac nic.MAC) (object dbus.ObjectPath, name string, err error) {
	links, err := m.kernel.Links(ctx)
	if err != nil {
		return "", "", fmt.Errorf("reading the links: %w", err)
	}
	at := slices.IndexFunc(links, func(l nic.Link) bool { return l.Index == index && l.HasMAC(mac) })
	for i, l := range links {
		if at < 0 && l.HasMAC(mac) && l.Master == 0 && !slices.Contains([]string{"vlan", "bond", "bridge", "macvlan", "ipvlan", "team"}, l.Kind) {
			at = i
		}
	}
	if at < 0 {
		return "", "", fmt.Errorf("finding NIC %s: %w", mac, nic.ErrLinkGone)
	}
	name = links[at].Name
	for begin := time.Now(); ; {
		answered, err := m.call(ctx, nmObject, nmService+".GetDeviceByIpIface", []any{name}, &object)
		switch {
		case err == nil:
			return object, name, nil
		case answered && time.Since(begin) > nmNews:
			err = fmt.Errorf("%w: %w", nic.ErrLinkGone, err)
			fallthrough
		case !answered:
			return "", "", fmt.Errorf("asking NetworkManager for link %s: %w", name, err)
		}
		select { // NetworkManager may not have heard of a new name yet
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return "", "", fmt.Errorf("asking NetworkManager for link %s: %w", name, ctx.Err())
		}
	}
}

// nmNews bounds the wait until NetworkManager hears of what the kernel and udev have done, or are
// about to do.
const nmNews = 2 * time.Second

// NMHold makes a checkpoint of the one link. If NMRelease does not come within 83 s, NetworkManager
// takes the link back to its state of now. This is a second net below our own journal, because
// NetworkManager loses it when it is killed. A checkpoint that we left earlier is removed first. A
// checkpoint of somebody else stays, and counts first. A link that somebody has taken from
// NetworkManager gets a checkpoint too; going back would leave that link alone again.
func (b *Bus) NMHold(ctx context.Context, index int, mac nic.MAC, taken bool) error {
	m, dev, name, err := b.nmDevice(ctx, index, mac)
	if err != nil {
		return err
	}
	defer m.close()
	if !taken {
		// a link that was just plugged in is managed as soon as udev has finished with it
		managed, err := m.managed(ctx, dev, true, nmNews)
		if err != nil {
			return err
		}
		if !managed {
			return fmt.Errorf("holding link %s: NetworkManager does not manage it; see nmcli device, and unmanaged-devices in its configuration", name)
		}
	}
	foreign, err := m.releaseOurs(ctx, dev)
	if err != nil {
		return err
	}
	// The flag is not DELETE_NEW_CONNECTIONS: that removes the profiles of all links that came
	// since, whoever made them (nm_checkpoint_rollback).
	flags := uint32(0)
	if foreign {
		flags = nmAllowOverlapping
	}
	var checkpoint dbus.ObjectPath
	if _, err := m.call(ctx, nmObject, nmService+".CheckpointCreate", []any{[]dbus.ObjectPath{dev}, nmHold, flags}, &checkpoint); err != nil {
		return fmt.Errorf("making a checkpoint of link %s: %w", name, err)
	}
	return nil
}

// NMManage makes NetworkManager manage a link, or leave it alone, as nmcli device set managed does.
// It waits until that is so, because NetworkManager may then put on the link what it has for it, or
// take that away.
func (b *Bus) NMManage(ctx context.Context, index int, mac nic.MAC, managed bool) error {
	m, dev, name, err := b.nmDevice(ctx, index, mac)
	if err != nil {
		return err
	}
	defer m.close()
	if _, err := m.call(ctx, dev, "org.freedesktop.DBus.Properties.Set", []any{nmDevice, "Managed", dbus.MakeVariant(managed)}); err != nil {
		return fmt.Errorf("telling NetworkManager whether to manage link %s (%t): %w", name, managed, err)
	}
	is, err := m.managed(ctx, dev, managed, nmActivateTimeout)
	if err == nil && is != managed {
		err = fmt.Errorf("telling NetworkManager whether to manage link %s (%t): it does not obey; see nmcli device, and unmanaged-devices in its configuration", name, managed)
	}
	return err
}

// managed says whether NetworkManager manages a device. It waits a while for the expected answer.
func (m nm) managed(ctx context.Context, dev dbus.ObjectPath, expected bool, patience time.Duration) (bool, error) {
	for begin := time.Now(); ; {
		var state uint32
		if err := m.get(ctx, dev, nmDevice, "State", &state); err != nil {
			return false, err
		}
		if is := state > nmUnmanaged; is == expected || time.Since(begin) > patience {
			return is, nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return false, fmt.Errorf("waiting for NetworkManager to manage a link, or not to: %w", ctx.Err())
		}
	}
}

// NMRelease removes our checkpoint, even if its link is gone. If there is none, that is no error.
func (b *Bus) NMRelease(ctx context.Context) error {
	m, err := b.nmAsk(ctx)
	if err != nil {
		return err
	}
	defer m.close()
	_, err = m.releaseOurs(ctx, "")
	return err
}

// releaseOurs removes all our checkpoints, and says whether somebody else has one that covers a
// device. There is one change at work at a time, so any other checkpoint of ours belongs to a change
// that is over, or to one that waits and holds its link anew when it goes on. If the link of such a
// one was unplugged, the checkpoint has no device any more; when its time is over, it would write the
// profile back as it was then, in a form of NetworkManager's own (nm_checkpoint_rollback in
// src/core/nm-checkpoint.c).
func (m nm) releaseOurs(ctx context.Context, dev dbus.ObjectPath) (foreign bool, err error) {
	var all []dbus.ObjectPath
	if err := m.get(ctx, nmObject, nmService, "Checkpoints", &all); err != nil {
		return false, err
	}
	const iface = nmService + ".Checkpoint"
	for _, c := range all {
		var devices []dbus.ObjectPath
		var timeout uint32
		if err := errors.Join(m.get(ctx, c, iface, "Devices", &devices), m.get(ctx, c, iface, "RollbackTimeout", &timeout)); err != nil {
			continue // its time has ended meanwhile
		}
		switch {
		case len(devices) <= 1 && timeout == nmHold:
			if answered, err := m.call(ctx, nmObject, nmService+".CheckpointDestroy", []any{c}); err != nil && !answered {
				return false, fmt.Errorf("taking checkpoint %s away: %w", c, err)
			}
		case slices.Contains(devices, dev):
			foreign = true
		}
	}
	return foreign, nil
}

// NMLoad makes NetworkManager read these profiles and no others (LoadConnections, see nm-settings).
// A profile whose file is gone is forgotten, and is no longer in force anywhere. Measured with 1.42
// and 1.52.
func (b *Bus) NMLoad(ctx context.Context, files []string) error {
	m, err := b.nmAsk(ctx)
	if err != nil {
		return err
	}
	defer m.close()
	var done bool
	var failed []string
	if _, err := m.call(ctx, nmSettings, nmService+".Settings.LoadConnections", []any{files}, &done, &failed); err != nil {
		return fmt.Errorf("loading %s into NetworkManager: %w", strings.Join(files, ", "), err)
	}
	failed = slices.DeleteFunc(failed, func(f string) bool { return !b.host.Exists(f) })
	if len(failed) > 0 {
		return fmt.Errorf("%w %s: journalctl -u NetworkManager says why", nic.ErrProfileRefused, strings.Join(failed, ", "))
	}
	return nil
}
