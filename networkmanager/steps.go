package networkmanager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"

	"multinicd/internal/filestep"
	"multinicd/nic"
	"multinicd/plan"
)

// Backend makes the steps for hosts of NetworkManager. One goroutine uses it at a time.
type Backend struct {
	Files  filestep.Files
	Format ProfileFormat
	DAD    bool // ask neighbours before an IPv4 address is taken
	memo   filestep.Memo
}

// Steps turns an action into the steps of its change, each with its undo. There are none where the
// files have the same bytes and the kernel has the same state. Steps reads files and changes
// nothing; an error means that a file could not be read.
//
// Where a profile has to change, or ours is not in force, NetworkManager makes the change, and
// netlink only does what NetworkManager leaves undone: 1.42 loses the IPv6 addresses of a link
// whose IPv4 addresses it changes (November 2026). Where only the kernel has lost something,
// netlink puts it back: a Reapply of 1.42 does not.
func (b *Backend) Steps(_ context.Context, a plan.Action) ([]plan.Step, error) {
	a = Single(a)
	persist, profiles, err := b.files(a)
	if err != nil {
		return nil, err
	}
	if a.Link == nil {
		return b.unplugged(a, persist, profiles)
	}
	if Same(a) {
		names, others := apartNames(persist)
		persist = slices.Concat(others, names)
		if len(persist) > 0 {
			persist[len(persist)-1].Final = true
		}
		return append(b.Repair(a, ""), persist...), nil
	}
	active, err := ActiveProfile(b.Files, a.Link.Index)
	if err != nil {
		return nil, err
	}
	if len(profiles) > 0 || Lost(a, active) {
		return b.managed(a, persist, profiles, active)
	}
	return append(b.Repair(a, active), persist...), nil
}

// Lost says whether a link needs its profile brought in force. active is the profile in force by
// NetworkManager's own file. Without a carrier NetworkManager would not bring the profile in force.
// Of a link that is down, for example one that was just plugged in, nobody knows whether it has a
// carrier.
//
// Ten seconds after such a link has lost its carrier NetworkManager lets go of the profile, and
// leaves its own file as it was (1.42, November 2026). If only netlink put the link back,
// NetworkManager would take the link for somebody else's.
func Lost(a plan.Action, active string) bool {
	return a.Kind == plan.Configure && a.Link != nil && !a.Change.Empty() && (!a.Link.Up || active != UUID(a.NIC.MAC) && a.Link.Carrier)
}

// Repair has netlink put back what the kernel has lost. NetworkManager may be about to do the same,
// as for a link that was just plugged in again. Then it would have twice what netlink put back
// first. Or somebody has just told it to bring another profile in force: NetworkManager's own file,
// by which active is the profile in force, says so only once that is done. What netlink put back
// would then lie beside that profile's. Without a carrier NetworkManager takes even what netlink puts
// back for another profile.
func (b *Backend) Repair(a plan.Action, active string) []plan.Step {
	if a.Change.Empty() {
		return nil
	}
	await := plan.Manage{Verb: plan.Await, Index: a.Link.Index, MAC: a.NIC.MAC}
	if active == UUID(a.NIC.MAC) && a.Link.Carrier {
		await.UUID = active
	}
	steps := append([]plan.Step{{Kind: plan.StepAwait, Do: plan.Op{Manage: &await}}, check(plan.StepGuard, plan.CheckGuard)}, plan.Live(a.Change, b.DAD)...)
	return append(steps, check(plan.StepVerify, plan.CheckVerify), check(plan.StepProbe, plan.CheckProbe))
}

// Single adds to an action the removal of routes that are there twice: we have put them back, and a
// moment later NetworkManager has brought them too. IPv4 has both side by side, told apart by their
// protocol. NetworkManager's own route stays: it would bring the route again, and takes it away
// with its profile.
func Single(a plan.Action) plan.Action {
	if a.Kind != plan.Configure || a.Link == nil {
		return a
	}
	a.Change.DelRoutes = slices.Clone(a.Change.DelRoutes)
	for _, r := range a.Link.Routes {
		if r.Protocol == nic.RouteProtocol && slices.ContainsFunc(a.Link.Routes, func(o nic.Route) bool { return o.Protocol == nic.ProtocolStatic && o.Key() == r.Key() }) {
			a.Change.DelRoutes = append(a.Change.DelRoutes, r)
		}
	}
	return a
}

// Same says whether the former agent's profile means what is wanted. That profile stays in force
// until the next boot, or until something has to change. For NetworkManager another profile is
// another life of the link, without addresses in between.
func Same(a plan.Action) bool {
	return a.Kind == plan.Configure && a.Link != nil && len(a.Link.Former) > 0 && plan.OnlyIPv6(a.Change)
}

// Validate has nobody to ask: NetworkManager judges a profile when it reads it.
func (b *Backend) Validate(context.Context, []plan.Step) error { return nil }

func check(kind plan.StepKind, c plan.Check) plan.Step {
	return plan.Step{Kind: kind, Do: plan.Op{Check: c}}
}

// managed is Managed with the files of this format.
func (b *Backend) managed(a plan.Action, persist []plan.Step, profiles []string, active string) ([]plan.Step, error) {
	if file := b.Format.File(a.NIC.Name); a.Kind == plan.Configure && !slices.Contains(profiles, file) {
		profiles = append(profiles, file)
	}
	names, persist := apartNames(persist)
	if len(names) > 0 {
		names[len(names)-1].Final = true
	}
	return b.Managed(a, persist, profiles, active, names)
}

// Managed has NetworkManager make the change of a link that is there. The files are put in place,
// NetworkManager reads the profiles among them, and the profile with the NIC's UUID is brought in
// force where active was before. late is put in place once all is verified.
//
// The undo stands in front, so that it comes when the files are as they were: NetworkManager reads
// the files again, and the kernel gets what NetworkManager does not put back.
func (b *Backend) Managed(a plan.Action, files []plan.Step, profiles []string, active string, late []plan.Step) ([]plan.Step, error) {
	ask := func(v plan.Verb, files []string, uuid string) *plan.Manage {
		return &plan.Manage{Verb: v, Index: a.Link.Index, MAC: a.NIC.MAC, Files: files, UUID: uuid}
	}
	back := plan.KernelBefore(a)
	whose := active
	if b.external(active) {
		whose = ""
	}
	before, after := b.around(a, files, whose)
	taken, err := Taken(b.Files, a.Link.Index)
	if err != nil {
		return nil, err
	}
	hold := ask(plan.Hold, nil, "")
	hold.Taken = taken
	steps := []plan.Step{check(plan.StepGuard, plan.CheckGuard), {Kind: plan.StepHold, Do: plan.Op{Manage: hold}, Undo: plan.Op{Manage: ask(plan.Release, nil, "")}}}
	steps = append(steps, before...)
	steps = append(steps, plan.Step{Kind: plan.StepKernel, Undo: plan.Op{Link: &back}})
	if !b.unapplied(a, profiles, active) {
		steps = append(steps, plan.Step{Kind: plan.StepProfile, Undo: plan.Op{Manage: ask(plan.Restore, profiles, active)}})
	}
	steps = append(steps, files...)
	// What NetworkManager does to the link when it lets go of a profile must not come after our
	// change: it sets a former MTU, for one.
	gone := ""
	if a.Kind == plan.Remove {
		gone = UUID(a.NIC.MAC) // also where active is another, or none: ours may just be coming in force
	}
	steps = append(steps, plan.Step{Kind: plan.StepLoad, Do: plan.Op{Manage: ask(plan.Load, profiles, gone)}})
	if a.Kind == plan.Configure && taken {
		// That NetworkManager manages the link is as much wanted as what it configures there. This
		// step comes behind the load, since NetworkManager brings in force what it finds. Its undo
		// comes first of all, since NetworkManager takes with it what it has brought.
		steps = append(steps, plan.Step{Kind: plan.StepLend, Do: plan.Op{Manage: ask(plan.Lend, nil, "")}, Undo: plan.Op{Manage: ask(plan.TakeBack, nil, "")}})
	}
	if a.Kind == plan.Configure {
		steps = append(steps, plan.Step{Kind: plan.StepActivate, Do: plan.Op{Manage: ask(plan.Activate, nil, UUID(a.NIC.MAC))}})
	}
	steps = append(steps, check(plan.StepSettle, plan.CheckSettle))
	steps = append(steps, after...)
	steps = append(steps, check(plan.StepVerify, plan.CheckVerify), check(plan.StepProbe, plan.CheckProbe), plan.Step{Kind: plan.StepRelease, Do: plan.Op{Manage: ask(plan.Release, nil, "")}})
	return append(steps, late...), nil
}

// apartNames parts two kinds of files from all others: those by which udev names links, and those
// of the former agent. They come last. At boot udev reads its files before anything of ours can put
// them right. And while the former agent's files are there, what it did may be taken back.
func apartNames(persist []plan.Step) (names, others []plan.Step) {
	for _, s := range persist {
		if f := s.Do.File; path.Dir(f.Path) == LinkDir || f.Absent && nic.FormerFile(f.Path) && !OurFile(f.Path) {
			names = append(names, s)
		} else {
			others = append(others, s)
		}
	}
	return names, others
}

// around splits the netlink steps of a change. before runs first: what NetworkManager does not do,
// or does badly when it applies our profile again. after runs once NetworkManager is done. Normally
// it finds nothing left to do.
func (b *Backend) around(a plan.Action, files []plan.Step, active string) (before, after []plan.Step) {
	var kept nic.Change
	more := false
	if active == "" || active == UUID(a.NIC.MAC) { // under another profile's all is that one's
		kept.Add, kept.AddRoutes, more = others(a, b.profiled())
	}
	if a.Kind == plan.Remove {
		kept.Index, kept.MAC, kept.Had = a.Link.Index, a.NIC.MAC, a.Link.Name
		for _, s := range slices.Concat(plan.Live(kept, false), plan.Live(a.Change, false)) {
			after = append(after, ownUndo(s))
		}
		return nil, after
	}
	steps := plan.Live(a.Change, b.DAD)
	for _, s := range steps {
		switch s.Kind {
		case plan.StepMakeWay, plan.StepRename, plan.StepUp, plan.StepFree, plan.StepConf, plan.StepConf6:
			before = append(before, s)
		case plan.StepMTU:
			after = append(after, s)
		}
	}
	for _, s := range steps {
		if s.Kind == plan.StepConf6 && len(after) > 0 { // below an MTU of 1280 there was nothing to set
			after = append(after, plan.Step{Kind: s.Kind, Do: s.Do})
		}
	}
	if active != "" && (len(kept.Add) > 0 || more) {
		// The kernel takes secondary addresses with the first, and routes with the last address:
		// our own writer knows how to keep them. New addresses are left to NetworkManager: 1.52
		// takes away again what it finds there already (November 2026).
		before = append(before, plan.Live(nic.Change{Index: a.Link.Index, MAC: a.NIC.MAC, Had: a.Change.Had, Del: a.Change.Del}, false)...)
	}
	whole := a.Change
	whole.Name, whole.MTU, whole.Up, whole.Conf, whole.Conf6, whole.Advertised, whole.AdvertisedRoutes = "", 0, false, nil, nil, nil, nil
	whole.Add, whole.AddRoutes, whole.AddRules = slices.Concat(a.NIC.Addresses, kept.Add), slices.Concat(a.NIC.Routes, kept.AddRoutes), a.NIC.Rules
	for _, s := range plan.Live(whole, false) {
		after = append(after, ownUndo(s))
	}
	return before, after
}

// others is what others have put on the link of an action, as far as it can be put back. That is
// addresses, and routes by these addresses or by addresses of ours that are there already; more
// says that there are other routes. A profile that comes in force, or goes, takes all that it finds
// on the link. An address in one of the profiles comes and goes with that profile.
func others(a plan.Action, profiled []netip.Addr) (addresses []netip.Prefix, routes []nic.Route, more bool) {
	for _, h := range a.Link.Addresses {
		if h.Permanent && !h.Duplicate && !h.Prefix.Addr().IsLinkLocalUnicast() && !slices.Contains(a.NIC.Addresses, h.Prefix) && !slices.Contains(a.Change.Del, h.Prefix) && !slices.Contains(profiled, h.Prefix.Addr()) {
			addresses = append(addresses, h.Prefix)
		}
	}
	has := func(list []nic.Route, r nic.Route) bool {
		return slices.ContainsFunc(list, func(o nic.Route) bool { return o.Key() == r.Key() })
	}
	by := slices.Clone(addresses)
	for _, h := range a.Link.Addresses { // which stay, and were there before the profile
		if a.Kind == plan.Configure && slices.Contains(a.NIC.Addresses, h.Prefix) {
			by = append(by, h.Prefix)
		}
	}
	for _, r := range a.Link.Routes {
		if plan.Transient(r) || has(a.NIC.Routes, r) || has(a.Change.DelRoutes, r) {
			continue
		}
		if slices.ContainsFunc(by, func(p netip.Prefix) bool { return p.Contains(r.Via) && (!r.Source.IsValid() || r.Source == p.Addr()) }) {
			routes = append(routes, r)
		} else {
			more = true
		}
	}
	return addresses, routes, more
}

// ownUndo leaves a step its undo only where plan.KernelBefore does not do it.
func ownUndo(s plan.Step) plan.Step {
	switch s.Kind {
	case plan.StepAddresses, plan.StepRoutes, plan.StepRules, plan.StepRetire:
		s.Undo = plan.Op{}
	}
	return s
}

// unplugged gives the steps for a NIC that is not there, or whose link must not be touched.
// NetworkManager is told only if the profile is in force nowhere.
func (b *Backend) unplugged(a plan.Action, persist []plan.Step, profiles []string) ([]plan.Step, error) {
	states, err := b.Files.Glob(stateDir + "/*")
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", stateDir, err)
	}
	if len(profiles) == 0 {
		return persist, nil
	}
	for _, file := range states {
		active, err := profileIn(b.Files, file)
		if err != nil {
			return nil, err
		}
		if active == UUID(a.NIC.MAC) {
			return persist, nil
		}
	}
	load := func(v plan.Verb) plan.Op {
		return plan.Op{Manage: &plan.Manage{Verb: v, MAC: a.NIC.MAC, Files: profiles}}
	}
	steps := append([]plan.Step{{Kind: plan.StepProfile, Undo: load(plan.Restore)}}, persist...)
	return append(steps, plan.Step{Kind: plan.StepLoad, Do: load(plan.Load)}), nil
}

// stateDir is where NetworkManager (1.10 and later) writes what it has in force on each link, in a
// file named by its ifindex.
const stateDir = "/run/NetworkManager/devices"

// ActiveProfile is the UUID of the profile that NetworkManager has in force on a link; "" where
// there is none, or no NetworkManager. An error means that this cannot be told now: an undo would
// have nothing to bring back in force.
func ActiveProfile(f filestep.Files, index int) (string, error) {
	return profileIn(f, fmt.Sprintf("%s/%d", stateDir, index))
}

// Taken says whether somebody has told NetworkManager to leave a link alone (nmcli device set
// managed no). Where NetworkManager leaves a link alone by its configuration, or by udev, it writes
// neither "true" nor "false" (1.42 and 1.52). After a restart it keeps to what it has written.
func Taken(f filestep.Files, index int) (bool, error) {
	data, _, err := f.Read(fmt.Sprintf("%s/%d", stateDir, index))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("reading whether NetworkManager manages a link: %w", err)
	}
	return slices.Contains(strings.Split(string(data), "\n"), "managed=false"), nil
}

func profileIn(f filestep.Files, file string) (string, error) {
	data, _, err := f.Read(file)
	if errors.Is(err, fs.ErrNotExist) { // it goes with its link
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("reading what NetworkManager has in force: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if uuid, ok := strings.CutPrefix(line, "connection-uuid="); ok {
			return strings.TrimSpace(uuid), nil
		}
	}
	return "", nil
}

// external says whether NetworkManager itself wrote the profile, of what it found on a link. What
// it found is others', and goes with no profile.
func (b *Backend) external(uuid string) bool {
	files, err := b.Files.Glob(RuntimeDir + "/*")
	if err != nil || uuid == "" {
		return false
	}
	return slices.ContainsFunc(files, func(f string) bool {
		data, _, err := b.Files.Read(f)
		return err == nil && found(data) && slices.Contains(strings.Fields(string(data)), "uuid="+uuid)
	})
}
