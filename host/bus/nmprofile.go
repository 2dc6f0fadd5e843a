package bus

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/godbus/dbus/v5"

	"multinicd/nic"
)

// NMActivate brings a profile into force on the link, as NetworkManager read it last. If an older
// form of the profile is in force, this is a Reapply, which changes only what differs; a second
// time it causes no event. known says whether NetworkManager has the profile.
//
// A link without a carrier is left alone: NetworkManager would wait for a carrier, and give up.
func (b *Bus) NMActivate(ctx context.Context, index int, mac nic.MAC, uuid string) (known bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, nmActivateTimeout)
	defer cancel()
	m, dev, name, err := b.nmDevice(ctx, index, mac)
	if err != nil {
		return false, err
	}
	defer m.close()
	var profile dbus.ObjectPath
	if answered, err := m.call(ctx, nmSettings, nmService+".Settings.GetConnectionByUuid", []any{uuid}, &profile); answered && err != nil {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("asking NetworkManager for profile %s: %w", uuid, err)
	}
	s, err := m.available(ctx, dev, index, mac)
	if err != nil {
		return true, err
	}
	if s.uuid == uuid && s.busy() && s.state != nmDeactivating {
		// The profile is already being activated, by NetworkManager itself or by somebody else. It
		// comes in the form that it had when that began.
		if err := m.await(ctx, dev, name, uuid, ""); err != nil {
			return true, err
		}
		s.state = nmActivated
	}
	if s.uuid == uuid && s.state == nmActivated {
		again, err := m.reapply(ctx, dev)
		if err != nil || !again {
			return true, err
		}
	} // else a Reapply cannot do it, and the profile has to be activated anew
	if s.state == nmUnavailable {
		return true, nil
	}
	var active dbus.ObjectPath
	if _, err := m.call(ctx, nmObject, nmService+".ActivateConnection", []any{profile, dev, dbus.ObjectPath("/")}, &active); err != nil {
		return true, fmt.Errorf("activating the profile of link %s: %w", name, err)
	}
	return true, m.await(ctx, dev, name, uuid, active)
}

// nmState is the state of a device, and the profile in force on it or about to be: an active
// connection, and the UUID of its profile.
type nmState struct {
	state  uint32
	active dbus.ObjectPath // "/": none
	uuid   string
}

// busy says whether a profile is being activated or deactivated.
func (s nmState) busy() bool {
	return s.state > nmDisconnected && s.state < nmActivated || s.state == nmDeactivating
}

func (m nm) state(ctx context.Context, dev dbus.ObjectPath) (s nmState, err error) {
	if err := m.get(ctx, dev, nmDevice, "State", &s.state); err != nil {
		return s, err
	}
	if err := m.get(ctx, dev, nmDevice, "ActiveConnection", &s.active); err != nil || s.active == "/" {
		return s, err
	}
	if err := m.get(ctx, s.active, nmActive, "Uuid", &s.uuid); err != nil {
		s.uuid = "" // the profile has gone meanwhile
	}
	return s, nil
}

// reapply changes what differs between the profile and what is in force. again says that this
// cannot be done by a Reapply.
func (m nm) reapply(ctx context.Context, dev dbus.ObjectPath) (again bool, err error) {
	var applied map[string]map[string]dbus.Variant
	var version uint64
	if _, err := m.call(ctx, dev, nmDevice+".GetAppliedConnection", []any{uint32(0)}, &applied, &version); err != nil {
		return false, fmt.Errorf("asking for what is in force: %w", err)
	}
	asSaved := map[string]map[string]dbus.Variant{}
	answered, err := m.call(ctx, dev, nmDevice+".Reapply", []any{asSaved, version, uint32(nmPreserveExternal)})
	if answered && err != nil { // there is no such flag before 1.42
		answered, err = m.call(ctx, dev, nmDevice+".Reapply", []any{asSaved, version, uint32(0)})
	}
	if answered && err != nil {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reapplying the profile: %w", err)
	}
	return false, nil
}

// available gives the state of a device. If the link has a carrier, it waits until NetworkManager
// has seen the carrier, as a rule milliseconds after the kernel.
func (m nm) available(ctx context.Context, dev dbus.ObjectPath, index int, mac nic.MAC) (nmState, error) {
	for begin := time.Now(); ; {
		s, err := m.state(ctx, dev)
		if err != nil || s.state != nmUnavailable || time.Since(begin) > nmNews {
			return s, err
		}
		links, err := m.kernel.Links(ctx)
		if err != nil {
			return s, fmt.Errorf("reading the links: %w", err)
		}
		if !slices.ContainsFunc(links, func(l nic.Link) bool { return l.Index == index && l.HasMAC(mac) && l.Carrier }) {
			return s, nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return s, fmt.Errorf("waiting for NetworkManager to see a carrier: %w", ctx.Err())
		}
	}
}

// await waits until the profile is in force. If active is not empty, it must be by that activation:
// the profile from before, which is to go, may be in force until then. A newer activation by
// somebody else is as good.
func (m nm) await(ctx context.Context, dev dbus.ObjectPath, name, uuid string, active dbus.ObjectPath) error {
	begin := time.Now()
	return m.until(ctx, dev, name, func(s nmState) (bool, error) {
		if s.state == nmFailed || s.state <= nmDisconnected && time.Since(begin) > time.Second {
			var reason struct{ State, Reason uint32 }
			_ = m.get(ctx, dev, nmDevice, "StateReason", &reason)
			return false, fmt.Errorf("activating the profile of link %s: NetworkManager gave up (state %d, reason %d of NMDeviceStateReason); journalctl -u NetworkManager says why", name, s.state, reason.Reason)
		}
		if s.state != nmActivated || s.uuid != uuid || active == "" || s.active == active {
			return s.state == nmActivated && s.uuid == uuid, nil
		}
		var still uint32
		return m.get(ctx, active, nmActive, "State", &still) != nil, nil
	})
}

// until asks for the state of a device until done says that the state is as it should be: often at
// first, since most of what is waited for comes within milliseconds.
func (m nm) until(ctx context.Context, dev dbus.ObjectPath, name string, done func(nmState) (bool, error)) error {
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		s, err := m.state(ctx, dev)
		if err != nil {
			return fmt.Errorf("waiting for the profile of link %s: %w", name, err)
		}
		if ok, err := done(s); ok || err != nil {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("waiting for the profile of link %s: NetworkManager has it in state %d with profile %q: %w", name, s.state, s.uuid, ctx.Err())
		}
	}
}

// NMAwait waits until NetworkManager has finished what it does on the link, or 5 s have passed. If
// uuid is not empty, nic.ErrAnotherProfile says that another profile is in force on the link then.
func (b *Bus) NMAwait(ctx context.Context, index int, mac nic.MAC, uuid string) error {
	ctx, cancel := context.WithTimeout(ctx, nmTimeout)
	defer cancel()
	m, dev, name, err := b.nmDevice(ctx, index, mac)
	if err != nil {
		return err
	}
	defer m.close()
	return m.until(ctx, dev, name, func(s nmState) (bool, error) {
		if uuid == "" || s.uuid == "" || s.uuid == uuid || s.state != nmActivated {
			return !s.busy(), nil
		}
		id := s.uuid
		_ = m.get(ctx, s.active, nmActive, "Id", &id) // or it has gone already
		return false, fmt.Errorf("%w on link %s: %q, and not ours", nic.ErrAnotherProfile, name, id)
	})
}

// NMLeft waits until a profile that NetworkManager was told to forget is no longer in force on the
// link. First NetworkManager runs the administrator's pre-down scripts
// (/etc/NetworkManager/dispatcher.d/pre-down.d). Then it takes addresses away, and sets the MTU
// that the link had when the profile came. What is done to the link before that does not last.
func (b *Bus) NMLeft(ctx context.Context, index int, mac nic.MAC, uuid string) error {
	ctx, cancel := context.WithTimeout(ctx, nmLeaveTimeout)
	defer cancel()
	m, dev, name, err := b.nmDevice(ctx, index, mac)
	if err != nil {
		return err
	}
	defer m.close()
	return m.until(ctx, dev, name, func(s nmState) (bool, error) {
		return s.uuid != uuid && s.state != nmDeactivating, nil
	})
}
