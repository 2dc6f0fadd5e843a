package bus

import (
	"context"
	"errors"

	"github.com/godbus/dbus/v5"
)

// Device is a device as NetworkManager shows it (org.freedesktop.NetworkManager.Device).
type Device struct {
	Managed bool
	State   uint32 // NMDeviceState: 10 unmanaged, 20 unavailable, 30 disconnected, 100 activated
	Reason  uint32 // NMDeviceStateReason
	File    string // of the active profile; "": none
}

// ErrNoDevice: NetworkManager has no device of that name.
var ErrNoDevice = errors.New("NetworkManager has no such device")

// NMShows asks NetworkManager about a link, by name. ErrNoDevice means that NetworkManager knows no
// such link.
func (b *Bus) NMShows(ctx context.Context, link string) (Device, error) {
	ctx, cancel := context.WithTimeout(ctx, nmTimeout)
	defer cancel()
	bus, err := b.dial(ctx)
	if err != nil {
		return Device{}, err
	}
	defer bus.close()
	var device dbus.ObjectPath
	answered, err := bus.call(ctx, nmService, nmObject, nmService+".GetDeviceByIpIface", []any{link}, &device)
	if err != nil {
		if answered {
			err = ErrNoDevice
		}
		return Device{}, err
	}
	var d Device
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
	property(device, ".Device", "Managed", &d.Managed)
	property(device, ".Device", "State", &d.State)
	property(device, ".Device", "StateReason", &reason)
	property(device, ".Device", "ActiveConnection", &active)
	d.Reason = reason.Reason
	if err != nil || active == "/" {
		return d, err
	}
	property(active, ".Connection.Active", "Connection", &connection)
	property(connection, ".Settings.Connection", "Filename", &d.File)
	if err != nil { // the profile may have gone just now
		d.File = ""
	}
	return d, nil
}
