package apply

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"

	"multinicd/nic"
	"multinicd/plan"
)

// Backend turns an action into steps, and asks the host's own tool about the files among them. If
// the error is a plan.RefusalError, this host cannot have the NIC so, and nothing failed.
type Backend interface {
	Steps(ctx context.Context, a plan.Action) ([]plan.Step, error)
	Validate(ctx context.Context, steps []plan.Step) error
}

// Links is the only way to change a link. Change obeys the guard. Restore, which undoes, obeys only
// the part of the guard that counts for an undo. Both may be repeated without harm, and answer
// nic.ErrLinkGone, nic.ErrRenameBusy and nic.ErrNameTaken.
type Links interface {
	Link(ctx context.Context, index int) (nic.Link, error)
	// Look shows the whole machine: who claims each link, and the paths that must not be cut. LookAt
	// leaves out who claims the other links.
	Look(ctx context.Context) (plan.View, error)
	LookAt(ctx context.Context, index int) (plan.View, error)
	// Free asks the neighbours of a link for addresses that are not in force. If a neighbour has
	// one, the error names the neighbour and wraps ErrAddressInUse.
	Free(ctx context.Context, index int, addrs []netip.Addr) error
	// Duplicates listens until stop is called. found lists the IPv6 addresses that the kernel has
	// found in use by a neighbour of the link since then, also those that are gone from the link.
	Duplicates(index int) (found func() []netip.Addr, stop func(), err error)
	Change(ctx context.Context, c nic.Change) error
	Restore(ctx context.Context, c nic.Change) error
}

// ErrAddressInUse: a neighbour answers for an address.
var ErrAddressInUse = errors.New("address is in use")

// Files writes whole files, atomically and durably. After an error the file is as it was.
type Files interface {
	Read(name string) ([]byte, fs.FileMode, error)
	Write(name string, data []byte, mode fs.FileMode) error
	Remove(name string) error
	// Glob lists the files that match a pattern of path.Match, sorted. No match is no error.
	Glob(pattern string) ([]string, error)
}

// Manager asks the host's network manager over the bus. Every call has a deadline of its own.
// Answers are nic.ErrNoManager and nic.ErrLinkGone.
type Manager interface {
	Manage(ctx context.Context, m plan.Manage) error
}

// Prober says whether the node still reaches what it cannot do without. Before notes what answers
// now, and returns the check for after the change of the link with that index. That check asks only
// for what answered before, for as long as ctx lasts.
type Prober interface {
	Before(ctx context.Context, link int) (after func(ctx context.Context) error)
}

// Rememberer is a Backend that need not read the files of all NICs anew for each of them.
type Rememberer interface {
	// Remember has it forget what it has read, and remember what it reads from now on, or not.
	Remember(yes bool)
}

// FileReader is a Backend that can read its files back. It is needed after the record was lost.
type FileReader interface {
	ReadBack() ([]plan.Owned, error)
}
