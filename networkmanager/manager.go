package networkmanager

import (
	"context"
	"errors"
	"fmt"

	"multinicd/nic"
	"multinicd/plan"
)

// Bus asks NetworkManager. Each call has a deadline of its own, and answers nic.ErrNoManager where
// NetworkManager does not run and nic.ErrLinkGone where NetworkManager has no such link.
type Bus interface {
	// NMHold has NetworkManager take the link back to what it is now, unless NMRelease comes in
	// time. An error means that NetworkManager does not manage the link. That is no error for a
	// link that somebody has taken from NetworkManager, as taken says.
	NMHold(ctx context.Context, index int, mac nic.MAC, taken bool) error
	NMRelease(ctx context.Context) error
	// NMLoad has NetworkManager read these profiles, absolute paths, and forget those that are
	// gone. nic.ErrProfileRefused: NetworkManager does not accept one of them.
	NMLoad(ctx context.Context, files []string) error
	// NMManage has it manage the link, or leave it alone, and waits until it does.
	NMManage(ctx context.Context, index int, mac nic.MAC, managed bool) error
	// NMActivate brings a profile in force as NetworkManager read it last, and waits until it is in
	// force. known says whether there is such a profile.
	NMActivate(ctx context.Context, index int, mac nic.MAC, uuid string) (known bool, err error)
	// NMAwait waits, for a while, until it has done with what it does on the link by itself. Where
	// uuid names a profile, nic.ErrAnotherProfile says that another is in force on the link then.
	NMAwait(ctx context.Context, index int, mac nic.MAC, uuid string) error
	// NMLeft waits until a profile that NetworkManager was told to forget is no longer in force on
	// the link, and NetworkManager has left the link.
	NMLeft(ctx context.Context, index int, mac nic.MAC, uuid string) error
}

// Manager carries out what the steps ask of NetworkManager.
type Manager struct{ Bus Bus }

// Manage implements apply.Manager.
func (m Manager) Manage(ctx context.Context, what plan.Manage) error {
	switch what.Verb {
	case plan.Hold:
		return m.Bus.NMHold(ctx, what.Index, what.MAC, what.Taken)
	case plan.Release:
		return m.Bus.NMRelease(ctx)
	case plan.Await:
		if err := m.Bus.NMAwait(ctx, what.Index, what.MAC, what.UUID); errors.Is(err, nic.ErrAnotherProfile) {
			return err
		}
		return ctx.Err() // one that does not answer does nothing either
	case plan.Load:
		if err := m.Bus.NMLoad(ctx, what.Files); err != nil || what.UUID == "" {
			return err
		}
		return m.Bus.NMLeft(ctx, what.Index, what.MAC, what.UUID)
	case plan.Lend, plan.TakeBack:
		return m.Bus.NMManage(ctx, what.Index, what.MAC, what.Verb == plan.Lend)
	case plan.Activate:
		known, err := m.Bus.NMActivate(ctx, what.Index, what.MAC, what.UUID)
		if err == nil && !known {
			err = errors.New("NetworkManager does not take the profile: journalctl -u NetworkManager says why")
		}
		return err
	case plan.Restore:
		err := m.Bus.NMLoad(ctx, what.Files)
		if errors.Is(err, nic.ErrProfileRefused) {
			// The files are as they were: somebody has spoilt one before us, and the next change of
			// the NIC writes it anew.
			err = nil
		}
		if err != nil || what.UUID == "" {
			return err
		}
		// A profile that NetworkManager had made itself, of what it found on the link, is gone for
		// good. The kernel gets back what that profile stood for.
		_, err = m.Bus.NMActivate(ctx, what.Index, what.MAC, what.UUID)
		return err
	}
	return fmt.Errorf("asking NetworkManager: unknown verb %q", what.Verb)
}
