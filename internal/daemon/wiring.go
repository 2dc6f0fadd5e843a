package daemon

import (
	"context"
	"log/slog"
	"net"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/outbox"
	"multinicd/internal/daemon/status"
	"multinicd/nic"
	"multinicd/plan"
)

// Wiring is what a Daemon is made of, set before its first use and never changed. All fields but
// Source, Keeper, Reporter, Edits and Notify are needed.
type Wiring struct {
	Node string
	// NodeEvidence says why the node is called so, for status.
	NodeEvidence string
	// NodeDoubt says what speaks against the name now, and what to do; "": nothing does. A nil one
	// never says anything.
	NodeDoubt func() string
	Version   string
	Executor  v1.Executor
	Job       string // in which Once runs; empty: in none
	OnDelete  string // "retain" or "restore"
	// NoCleanup: no order of the cluster makes the node give its NICs back.
	NoCleanup bool
	Mode      string // of the source, for status: "watch", "poll", "file"
	Backend   string // for status
	Evidence  []string
	Dir       string // state folder, absolute
	Resync    time.Duration
	Instance  string // overrides Machine.Identity where set
	// Unsupported says why nothing at all can be done on this host now, "" where it can. nil: it
	// always can.
	Unsupported func(ctx context.Context) string

	Source   Source
	Keeper   Keeper // nil: there is no credential
	Reporter outbox.Reporter
	Notify   Notifier
	Applier  Applier
	Machine  Machine
	Files    Files
	Log      *slog.Logger
	// Edits calls changed whenever somebody other than this process has changed a file that may be
	// ours, and ready once nothing can be missed any more. It returns when ctx is done, or with an
	// error. A nil Edits watches nothing: such a change is seen with the next pass.
	Edits func(ctx context.Context, ready, changed func()) error
	// Whose returns, and forgets, the last process other than multinicd that changed something of a
	// link. what is what was changed: an address (netip.Prefix), a route (nic.Route) or a rule
	// (nic.Rule). index is the link's ifindex, 0 for a rule. "" means unknown. A nil Whose turns
	// the question off.
	Whose func(index int, what any) string
	// Namer says why a link will not be called want with the next boot either, and what to do; "": it
	// will. It is asked while a link has another name. A nil one never says anything.
	Namer func(l nic.Link, want string) string
	// Resting is called by the loop when a minute has passed since the last news that made it look,
	// once until the next news. A nil one does nothing.
	Resting func()
	// Socket makes the socket on which Serve answers, anew each time. nil: Run answers nobody.
	Socket func() (net.Listener, error)
	// Now is the clock of the host; nil means time.Now. Spans are told by its monotonic reading, which
	// setting the clock does not move.
	Now func() time.Time
}

// Source tells what is wanted. Run calls notify for each news, from one goroutine, until ctx is
// done.
type Source interface {
	Run(ctx context.Context, notify func(asked.Wish)) error
}

// Keeper keeps the credential good. Run calls notify for each news, from one goroutine, until ctx
// is done.
type Keeper interface {
	Run(ctx context.Context, notify func(status.Credential)) error
}

// Applier changes the host; internal/apply has the one.
type Applier interface {
	Changer
	Recoverer
}

// Changer carries actions out, and remembers what is ours.
type Changer interface {
	Do(ctx context.Context, a plan.Action) apply.Result
	// InTurns has changes wait together; see there.
	InTurns(ctx context.Context, actions []plan.Action, alone func(plan.Action) bool, do func(i int) (more bool)) (begun int)
	Record() plan.Record
	Complete() error // of the record, by what our files say
}

// Recoverer puts right what was cut off.
type Recoverer interface {
	Recover(ctx context.Context) ([]apply.Recovered, error)
	// Halfway lists the changes that could not be undone, and Resume tries that of one NIC again.
	Halfway() []apply.Half
	Resume(ctx context.Context, mac nic.MAC) error
}

// Machine shows what is there, and wakes on what the kernel says.
type Machine interface {
	// Wanted says which NICs the object names, before Look and what is changed after it.
	Wanted(named []nic.MAC)
	Look(ctx context.Context) (plan.View, error)
	// Events sends on wake, without waiting, when something may have changed on a link or, for what is
	// not a link, on one of those in ours; it closes ready once nothing can be missed any more, and
	// returns when ctx is done.
	Events(ctx context.Context, ours func(index int) bool, ready chan<- struct{}, wake chan<- struct{}) error
	// Settle waits, not for long, until the host's network manager has done by itself what our files
	// tell it.
	Settle(ctx context.Context, owned []nic.Config)
	Identity() []string // what instanceId may be compared with
}

// Notifier speaks to the service manager.
type Notifier interface {
	Starting(more time.Duration) // asks for more time until Ready
	Ready()
	Status(line string)
	Watchdog()
	Stopping()
	WatchdogInterval() time.Duration // 0: none wanted
}
