package networkmanager

import (
	"context"
	"errors"
	"fmt"

	"multinicd/nic"
	"multinicd/plan"
)

// Bus asks NetworkManager. Each call has a deadline of its own, and answers nic.ErrNoManager where NetworkManager does not run and nic.ErrLinkGone where
// it has no such link.
type Bus interface {
	// NMHold has NetworkManager take the link back to what it is now, if it hears no NMRelease. An error: it does not manage the link; one that somebody
	// has taken from it, as taken says, it need not.
	NMHold(ctx context.Context, index int, mac nic.MAC, taken bool) error
	NMRelease(ctx context.Context) error
	// NMLoad has it read these profiles, absolute paths, and forget those that are gone. nic.ErrProfileRefused: it takes one of them not.
	NMLoad(ctx context.Context, files []string) error
	// NMManage has it manage the link, or leave it alone, and waits until it does.
	NMManage(ctx context.Context, index int, mac nic.MAC, managed bool) error
	// NMActivate brings a profile in force as it was read last, and waits until it is; known says whether there is such a profile.
	NMActivate(ctx context.Context, index int, mac nic.MAC, uuid string) (known bool, err error)
	// NMAwait waits, for a while, until it has done with what it does on the link by itself.
	NMAwait(ctx context.Context, index int, mac nic.MAC) error
	// NMLeft waits until a profile that it was told to forget is in force on the link no more, and the link as NetworkManager leaves it.
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
		_ = m.Bus.NMAwait(ctx, what.Index, what.MAC) // one that does not answer does nothing either
		return ctx.Err()
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
			err = nil // the files are as they were: somebody has spoilt one before us, and the next change of the NIC writes it anew
		}
		if err != nil || what.UUID == "" {
			return err
		}
		// One that NetworkManager had made itself, for what it found on the link, is gone for good; the kernel gets what it stood for.
		_, err = m.Bus.NMActivate(ctx, what.Index, what.MAC, what.UUID)
		return err
	}
	return fmt.Errorf("asking NetworkManager: unknown verb %q", what.Verb)
}
