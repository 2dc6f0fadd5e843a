package host

import (
	"context"
	"errors"

	"github.com/godbus/dbus/v5"
)

// managedDevice is a device as NetworkManager shows it (org.freedesktop.NetworkManager.Device).
type managedDevice struct {
	managed bool
	state   uint32 // NMDeviceState: 10 unmanaged, 20 unavailable, 30 disconnected, 100 activated
	reason  uint32 // NMDeviceStateReason
	file    string // of the active profile; "": none
}

// errNoDevice: NetworkManager has no device of that name.
var errNoDevice = errors.New("NetworkManager has no such device")

// NMShows asks NetworkManager what it shows of a link. errNoDevice: it knows no such link.
func (b *Bus) NMShows(ctx context.Context, link string) (managedDevice, error) {
	ctx, cancel := context.WithTimeout(ctx, nmTimeout)
	defer cancel()
	bus, err := b.dial(ctx)
	if err != nil {
		return managedDevice{}, err
	}
	defer bus.close()
	var device dbus.ObjectPath
	answered, err := bus.call(ctx, nmService, nmObject, nmService+".GetDeviceByIpIface", []any{link}, &device)
	if err != nil {
		if answered {
			err = errNoDevice
		}
		return managedDevice{}, err
	}
	var d managedDevice
	var active, connection dbus.ObjectPath
	property := func(object dbus.ObjectPath, of, name string, into any) {
		if err != nil {
			return
		}
		var v dbus.Variant
		if _, err = bus.call(ctx, nmService, object, "org.freedesktop.DBus.Properties.Get", []any{nmService + of, name}, &v); err == nil {
			err = v.Store(into)
		}
	}
	var reason struct{ State, Reason uint32 }
	property(device, ".Device", "Managed", &d.managed)
	property(device, ".Device", "State", &d.state)
	property(device, ".Device", "StateReason", &reason)
	property(device, ".Device", "ActiveConnection", &active)
	d.reason = reason.Reason
	if err != nil || active == "/" {
		return d, err
	}
	property(active, ".Connection.Active", "Connection", &connection)
	property(connection, ".Settings.Connection", "Filename", &d.file)
	if err != nil { // the profile may just have gone
		d.file = ""
	}
	return d, nil
}
