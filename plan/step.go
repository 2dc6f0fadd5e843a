package plan

import (
	"io/fs"
	"net/netip"

	"multinicd/nic"
)

// Step is one part of a change, made together with its undo. Steps are data, so that a journal can
// hold them and a daemon that was killed can undo, or finish, what it began. Both Do and Undo may
// be run again without harm.
type Step struct {
	Kind StepKind `json:"Name"`      // as journals have called it from the first version on
	Do   Op       `json:",omitzero"` // zero: nothing to do; the step is there for its undo
	Undo Op       `json:",omitzero"` // zero: nothing to undo
	// Final: once this step is done the change is in force at the next boot too, and recovery goes
	// on with it instead of back.
	Final bool `json:",omitempty"`
}

// StepKind says what a step is for, in the words of the log and of the result.
type StepKind string

// The kinds of step. Of some a change may have several.
const (
	StepGuard     StepKind = "guard"
	StepHold      StepKind = "hold"
	StepMakeWay   StepKind = "makeway" // another NIC's link gives up the name
	StepRename    StepKind = "rename"
	StepMTU       StepKind = "mtu"
	StepUp        StepKind = "up"
	StepFree      StepKind = "free"
	StepConf      StepKind = "conf"
	StepConf6     StepKind = "conf6" // also takes away what router advertisements brought
	StepAddresses StepKind = "addresses"
	StepRoutes    StepKind = "routes"
	StepRules     StepKind = "rules"
	StepRetire    StepKind = "retire" // what goes behind what takes its place
	StepDown      StepKind = "down"
	StepKernel    StepKind = "kernel"  // for its undo: what a network manager may have taken
	StepProfile   StepKind = "profile" // a profile's file, or the undo that has it read again
	StepPersist   StepKind = "persist"
	StepLoad      StepKind = "load"
	StepLend      StepKind = "lend" // a link that somebody has taken from its manager is managed again
	StepActivate  StepKind = "activate"
	StepAwait     StepKind = "await"
	StepSettle    StepKind = "settle"
	StepVerify    StepKind = "verify"
	StepProbe     StepKind = "probe"
	StepRelease   StepKind = "release"
	StepValidate  StepKind = "validate"
	StepService   StepKind = "service" // for its undo: the service is asked again
	StepRuntime   StepKind = "runtime" // a network manager's own copy of a file
)

// Op is one thing to do. At most one of Link, File, Check and Manage is set.
type Op struct {
	Link   *nic.Change `json:",omitempty"`
	File   *File       `json:",omitempty"`
	Check  Check       `json:",omitempty"`
	Manage *Manage     `json:",omitempty"`
	// Addresses are what CheckFree asks about, and set only with it.
	Addresses []netip.Addr `json:",omitempty"`
}

// Zero says that there is nothing to do.
func (o Op) Zero() bool { return o.Link == nil && o.File == nil && o.Check == "" && o.Manage == nil }

// Manage is something that the host's network manager is asked for.
type Manage struct {
	Verb  Verb
	Index int     // ifindex of the link
	MAC   nic.MAC // of the NIC; finds the link where the ifindex is of another boot
	// Files are profiles to be read anew, or forgotten where they are gone; absolute, sorted.
	Files []string `json:",omitempty"`
	// UUID depends on the verb. For most verbs it is the profile that is to be in force on the
	// link. For Load it is a profile that is not to be. For Reload and Apply it is a mark of this
	// change, by which Undo knows it.
	UUID string `json:",omitempty"`
	// Name is what the link has to be called for Reload and Apply, which then see to it that
	// networkd has it by the one file in Files. Empty: networkd need not have it.
	Name string `json:",omitempty"`
	Undo bool   `json:",omitempty"` // of Reload and Apply: only if this change came as far before
	// Taken, of Hold: somebody has taken the link from the manager, see Lend.
	Taken bool `json:",omitempty"`
}

// Verb says what a network manager is asked for.
type Verb string

// The verbs. Each may be asked again without harm.
const (
	Hold     Verb = "hold"     // to go back by itself if it does not hear from us
	Release  Verb = "release"  // not to, any more
	Load     Verb = "load"     // to read Files alone; then to have done with UUID, if any, on the link
	Lend     Verb = "lend"     // to manage the link again, which somebody has told it to leave alone
	TakeBack Verb = "takeback" // to leave it alone again; a boot makes it forget that it was told
	Activate Verb = "activate" // to bring UUID in force on the link as it was read last
	Await    Verb = "await"    // to have done with what it does on the link by itself; changes nothing
	// Restore is Load, and Activate where UUID is not empty. It is for an undo: a manager that does
	// not run has nothing to restore.
	Restore Verb = "restore"
	Reload  Verb = "reload" // networkd, to read its files again, if that can touch no other link
	Apply   Verb = "apply"  // netplan, to bring all its files in force, on all links
)

// Check is a look at the world that may end a change.
type Check string

// The checks.
const (
	CheckGuard    Check = "guard"    // the link may still be touched, right before the change
	CheckFree     Check = "free"     // no neighbour has the addresses that are to be added
	CheckVerify   Check = "verify"   // the kernel shows what is wanted
	CheckSettle   Check = "settle"   // the same, waited for a while; never fails
	CheckProbe    Check = "probe"    // what answered before the change still answers
	CheckValidate Check = "validate" // the host's own tool accepts the files to come
)

// File is a file as it is to be: whole, or absent.
type File struct {
	Path   string // absolute, as the host sees it
	Data   []byte
	Mode   fs.FileMode // permission bits only
	Absent bool
}
