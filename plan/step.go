package plan

import (
	"io/fs"
	"net/netip"
	"slices"

	"multinicd/nic"
)

// Step is one part of a change, made together with its undo. Steps are data, so that a journal can hold them and a daemon that
// was killed can undo, or finish, what it began. Both Do and Undo may be run again without harm.
type Step struct {
	Kind StepKind `json:"Name"`      // as journals have called it from the first version on
	Do   Op       `json:",omitzero"` // zero: nothing to do; the step is there for its undo
	Undo Op       `json:",omitzero"` // zero: nothing to undo
	// Final: once this step is done the change is in force at the next boot too, and recovery goes on with it instead of back.
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
	Index int      // ifindex of the link
	MAC   nic.MAC  // of the NIC; finds the link where the ifindex is of another boot
	Files []string `json:",omitempty"` // profiles that are to be read anew, or forgotten where they are gone; absolute, sorted
	// UUID depends on the verb. For most verbs it is the profile that is to be in force on the
	// link. For Load it is a profile that is not to be. For Reload and Apply it is a mark of this
	// change, by which Undo knows it.
	UUID string `json:",omitempty"`
	// Name is what the link has to be called for Reload and Apply, which then see to it that networkd has it by the one file in Files. Empty: networkd need not have it.
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
	Load     Verb = "load"     // to read Files, and nothing else; then to have done with UUID on the link, where it is not empty
	Lend     Verb = "lend"     // to manage the link again, which somebody has told it to leave alone
	TakeBack Verb = "takeback" // to leave it alone again. Of no meaning after a boot, which makes it forget that it was told
	Activate Verb = "activate" // to bring UUID in force on the link as it was read last
	Await    Verb = "await"    // to have done with what it does on the link by itself; changes nothing
	Restore  Verb = "restore"  // Load, and Activate where UUID is not empty. For an undo: a manager that does not run has nothing to restore
	Reload   Verb = "reload"   // networkd, to read its files again, if that can touch no other link
	Apply    Verb = "apply"    // netplan, to bring all its files in force, on all links
)

// Check is a look at the world that may end a change.
type Check string

// The checks.
const (
	CheckGuard    Check = "guard"    // the link may still be touched: rule 1 again, right before the change
	CheckFree     Check = "free"     // no neighbour has the addresses that are to be added
	CheckVerify   Check = "verify"   // the kernel shows what is wanted
	CheckSettle   Check = "settle"   // the same, waited for a while; never fails
	CheckProbe    Check = "probe"    // what answered before the change still answers
	CheckValidate Check = "validate" // the host's own tool accepts the files that are to be put in place
)

// File is a file as it is to be: whole, or absent.
type File struct {
	Path   string // absolute, as the host sees it
	Data   []byte
	Mode   fs.FileMode // permission bits only
	Absent bool
}

// Live gives the steps that make a change in the kernel, each with its undo, in an order in which no step undoes another and what comes is there
// before what it takes the place of goes: name and MTU while the link may still be down, addresses before the routes that need them, a table
// before the rules that lead there; what is retired last. A link that is to go down does so behind that.
// With dad, neighbours are asked for new addresses first; IPv6 has the kernel's own detection as well, which CheckVerify waits for.
func Live(c nic.Change, dad bool) []Step {
	var steps []Step
	add := func(kind StepKind, part nic.Change) {
		part.Index, part.MAC, part.Had = c.Index, c.MAC, c.Had
		if slices.ContainsFunc(steps, func(s Step) bool { return s.Kind == StepRename }) {
			part.Had = c.Name
		}
		if part.Empty() {
			return
		}
		inverse := part.Inverse()
		steps = append(steps, Step{Kind: kind, Do: Op{Link: &part}, Undo: Op{Link: &inverse}})
	}
	rename := nic.Change{Name: c.Name}
	mtu := nic.Change{MTU: c.MTU, HadMTU: c.HadMTU}
	conf := nic.Change{Conf: c.Conf, HadConf: c.HadConf}
	conf6 := nic.Change{Conf6: c.Conf6, HadConf6: c.HadConf6, Advertised: c.Advertised, AdvertisedRoutes: c.AdvertisedRoutes}
	if c.Down {
		add(StepRules, nic.Change{AddRules: c.AddRules, DelRules: c.DelRules})
		add(StepRoutes, nic.Change{AddRoutes: c.AddRoutes, DelRoutes: c.DelRoutes, Theirs: c.Theirs})
		add(StepAddresses, nic.Change{Add: c.Add, Del: c.Del, Terms: c.Terms})
		add(StepConf, conf)
		add(StepDown, nic.Change{Down: true})
		add(StepConf6, conf6) // a link that is down makes nothing of an advertisement that is let in again
		add(StepRename, rename)
		add(StepMTU, mtu) // behind the rename, since udev may set the MTU then
		return steps
	}
	if c.Name != "" && c.Way != nil {
		inverse := c.Way.Inverse()
		steps = append(steps, Step{Kind: StepMakeWay, Do: Op{Link: c.Way}, Undo: Op{Link: &inverse}})
	}
	add(StepRename, rename)
	add(StepMTU, mtu)
	add(StepConf6, conf6) // before the link is up: a router advertises at once. Behind the MTU: below 1280 a link has no IPv6
	add(StepUp, nic.Change{Up: c.Up})
	if free := newAddresses(c); dad && len(free) > 0 {
		steps = append(steps, Step{Kind: StepFree, Do: Op{Check: CheckFree, Addresses: free}})
	}
	addresses, delLater := apart(c.Del, func(old netip.Prefix) bool {
		return slices.ContainsFunc(c.Add, func(a netip.Prefix) bool { return a.Addr() == old.Addr() && a.Addr().Is6() })
	})
	later, terms := apart(c.Terms, func(t nic.Term) bool { return slices.Contains(delLater, t.Address) })
	routes, delRoutesLater := apart(c.DelRoutes, func(old nic.Route) bool {
		return slices.ContainsFunc(c.AddRoutes, old.Excludes)
	})
	add(StepConf, conf)
	add(StepAddresses, nic.Change{Add: c.Add, Del: addresses, Terms: terms})
	add(StepRoutes, nic.Change{AddRoutes: c.AddRoutes, DelRoutes: routes, Theirs: c.Theirs})
	add(StepRules, nic.Change{AddRules: c.AddRules})
	retire := nic.Change{Del: delLater, Terms: later, DelRoutes: delRoutesLater, Theirs: c.Theirs, DelRules: c.DelRules}
	if len(delLater) > 0 {
		retire.AddRoutes = c.AddRoutes // the kernel's own route may have stood in for one, and goes with its address
	}
	if !retire.Empty() {
		add(StepRetire, retire)
	}
	return steps
}

// apart parts a list by what f says.
func apart[T any](list []T, f func(T) bool) (yes, no []T) {
	for _, x := range list {
		if f(x) {
			yes = append(yes, x)
		} else {
			no = append(no, x)
		}
	}
	return yes, no
}

// newAddresses lists the addresses that neighbours are asked for: not those that only get another length. Another link of this host would answer for them.
func newAddresses(c nic.Change) []netip.Addr {
	var out []netip.Addr
	for _, p := range c.Add {
		if !slices.ContainsFunc(c.Del, func(d netip.Prefix) bool { return d.Addr() == p.Addr() }) {
			out = append(out, p.Addr())
		}
	}
	return out
}
