// Package node is the host's side of the daemon. A node is the machine as Kubernetes sees it, and the
// host is the same machine as its operating system sees it. This package decides what depends on the
// host: which backend writes a NIC, whose address is a conflict, what must answer after a change, and
// how the node's credential is kept.
//
// In go the windows on the host (host and the rooms below it), the client of the API server, and parts
// of multinicd.toml. Out come what internal/apply and internal/daemon ask their caller for: a Machine,
// a Dispatch (the backend of each NIC), a Prober and a Keeper.
//
// It parses no flags, prints nothing and knows no exit code. It has no loop over NICs: that is
// internal/daemon. It makes and undoes no change by itself: that is internal/apply.
//
// Start reading at Machine.Look, then Dispatch.Steps in backend.go and Prober.Before in probe.go.
package node

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"multinicd/host"
	"multinicd/host/kernel"
	"multinicd/host/kubelet"
	"multinicd/host/survey"
	"multinicd/ifcfg"
	"multinicd/internal/apply"
	"multinicd/internal/config"
	"multinicd/internal/kube"
	"multinicd/netplan"
	"multinicd/networkmanager"
	"multinicd/nic"
	"multinicd/plan"
	"multinicd/plan/lifeline"
)

// Machine shows the host to the planner, and is the one way to the host's links. The exported fields
// are set before the first use. Several goroutines may call the methods at once.
type Machine struct {
	Host    *host.Host
	Kernel  *kernel.Kernel
	Survey  *survey.Survey
	Kubelet *kubelet.Kubelet
	API     *kube.Client // nil: no cluster
	Deny    []string
	Kinds   []string
	Plain   bool           // NICs that share a subnet get no tables of their own
	Tables  []int          // that a route may name ([routing] allow_tables)
	Guards  []netip.Prefix // whose traffic no NIC of ours may draw ([routing] protect)
	// NoTakeOver and NoAdopt are those of plan.View.
	NoTakeOver, NoAdopt bool

	Record func() plan.Record // what is ours; nil where nothing is looked at or changed
	DAD    time.Duration      // how long neighbours may take to claim an address; 0: as long as fastDAD

	Reached func() bool // the API server answered when it was last asked; used only where api is set

	asking    sync.Mutex // held while the API server's name is looked up, which may take its time; before mu
	mu        sync.Mutex // guards what follows, and is held for moments only: the kernel's events wait for it
	endpoints []server
	resolved  map[string][]netip.Addr // of servers behind a proxy, by name; guarded by asking
	asked     time.Time
	wanted    []nic.MAC      // see Wanted
	named     map[int]bool   // the links of our NICs that udev has named, by ifindex; see namedByUdev
	answered  map[int]answer // by ifindex; see answers
}

// Look reads what is there: the links, who claims them, and the paths that the node lives by.
func (m *Machine) Look(ctx context.Context) (plan.View, error) {
	return m.look(ctx, func(nic.Link) bool { return false })
}

// LookAt is Look for who is about to change one link: it does not find out who claims the others.
func (m *Machine) LookAt(ctx context.Context, index int) (plan.View, error) {
	return m.look(ctx, func(l nic.Link) bool { return l.Index != index })
}

// look does not find out who claims the links of unasked.
func (m *Machine) look(ctx context.Context, unasked func(nic.Link) bool) (plan.View, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	links, err := m.Kernel.Links(ctx)
	if err != nil {
		return plan.View{}, fmt.Errorf("reading the links: %w", err)
	}
	if m.namedByUdev(ctx, links) {
		if links, err = m.Kernel.Links(ctx); err != nil {
			return plan.View{}, fmt.Errorf("reading the links: %w", err)
		}
	}
	claims, err := m.Survey.Claims(ctx, slices.DeleteFunc(slices.Clone(links), unasked), OurFile)
	if err != nil {
		return plan.View{}, fmt.Errorf("reading who configures the links: %w", err)
	}
	formers, err := m.Survey.Formers(links)
	if err != nil {
		return plan.View{}, fmt.Errorf("looking for what the former agent left: %w", err)
	}
	for i := range links {
		links[i].Claim, links[i].Former = claims[links[i].Index], formers[links[i].Index]
	}
	for _, o := range m.Record().NICs {
		for i := range links {
			if o.Applied && links[i].HasMAC(o.MAC) && !unasked(links[i]) {
				links[i].Written = written(m.Host, o.Config)
			}
		}
	}
	out := m.guarded(ctx, links)
	out.SubnetsOff, out.NoIPv6, out.Tables, out.Protect = m.Plain, m.Kernel.NoIPv6(), m.Tables, m.protected()
	out.NoTakeOver, out.NoAdopt = m.NoTakeOver, m.NoAdopt
	out.Elsewhere = m.elsewhere(links)
	return out, nil
}

// elsewhere lists the NICs that somebody has moved into another network namespace.
func (m *Machine) elsewhere(links []nic.Link) (out []nic.MAC) {
	for _, o := range m.Record().NICs {
		here := slices.ContainsFunc(links, func(l nic.Link) bool { return l.HasMAC(o.MAC) })
		if !here && o.Device != "" && m.Kernel.Elsewhere(o.Device) {
			out = append(out, o.MAC)
		}
	}
	return out
}

// protected are the destinations that the host must reach as it does now.
func (m *Machine) protected() []lifeline.Protected {
	var out []lifeline.Protected
	for _, p := range m.Guards {
		out = append(out, lifeline.Protected{To: p, What: "protected by [routing] protect in multinicd.toml"})
	}
	for file, servers := range m.Survey.NameServers() {
		for _, a := range servers {
			out = append(out, lifeline.Protected{To: netip.PrefixFrom(a, a.BitLen()), What: "a name server of this host (" + file + ")", Here: true})
		}
	}
	return out
}

func (m *Machine) paths(ctx context.Context) []lifeline.Path {
	var out []lifeline.Path
	for _, one := range m.servers(ctx) {
		p := lifeline.Path{What: one.what, To: one.at.Addr()}
		p.Index, p.Source, p.Via, _ = m.Kernel.RouteTo(ctx, p.To) // no way there now: an index of 0
		out = append(out, p)
	}
	return out
}

// ways gives the links by which the API server's addresses are reached now; those without a way are left out.
func (m *Machine) ways(ctx context.Context) map[netip.Addr]way {
	out := map[netip.Addr]way{}
	for _, one := range m.servers(ctx) {
		to := one.at.Addr()
		index, _, _, err := m.Kernel.RouteTo(ctx, to)
		if err != nil || index == 0 {
			continue
		}
		name := cmp.Or(m.Kernel.Name(ctx, index), strconv.Itoa(index))
		out[to] = way{index, name}
	}
	return out
}

// Settle waits, at a start, until networkd, or NetworkManager, has done with the links that our files tell it of: what it is about to do by itself is no drift.
func (m *Machine) Settle(ctx context.Context, owned []nic.Config) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	await(ctx, func() bool { return !m.settling(ctx, owned) })
}

// settleTimeout bounds the wait: a link without carrier may stay "configuring" for ever.
const settleTimeout = 5 * time.Second

func (m *Machine) settling(ctx context.Context, owned []nic.Config) bool {
	links, err := m.Kernel.Links(ctx)
	if err != nil {
		return false
	}
	for _, c := range owned {
		for _, l := range links {
			if l.HasMAC(c.MAC) && busy(m.Host, c, l) {
				return true
			}
		}
	}
	return false
}

// busy says whether a network manager is about to do by itself what a file of ours tells it of a NIC.
func busy(h *host.Host, c nic.Config, l nic.Link) bool {
	for _, d := range []networkmanager.ProfileFormat{networkmanager.Keyfile{}, ifcfg.Format{}} {
		if networkmanager.Settling(h, d.File(c.Name), c, l) {
			return true
		}
	}
	if netplan.Settling(h, c, l) {
		return true
	}
	if !netplan.KnownToNetworkd(h, c) {
		return false
	}
	switch state, _, err := h.NetworkdLink(l.Index); {
	case err != nil || state == "":
		return true
	case l.Up && !l.Carrier:
		return false // without a carrier networkd may stay at it for ever
	default:
		return state.Busy()
	}
}

// Events wakes the loop; what is told about other links' addresses and routes does not concern it. Each event may have changed the way to the API server.
func (m *Machine) Events(ctx context.Context, ours func(index int) bool, ready, wake chan<- struct{}) error {
	changed := make(chan struct{}, 1)
	relevant := func(index int, link bool) bool {
		select {
		case changed <- struct{}{}:
		default:
		}
		return link || ours(index)
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	if m.API != nil {
		u := uplink{route: m.route, reached: m.Reached, reconnect: m.API.Reconnect}
		wg.Go(func() { u.follow(ctx, changed) })
		wg.Go(func() { relay(ctx, m.API.StoodStill(), wake) })
	}
	var once sync.Once
	return m.Kernel.Events(ctx, relevant, wake, func() { once.Do(func() { close(ready) }) })
}

// relay passes on what comes, without waiting, until ctx is done.
func relay(ctx context.Context, from <-chan struct{}, to chan<- struct{}) {
	for {
		select {
		case <-from:
		case <-ctx.Done():
			return
		}
		select {
		case to <- struct{}{}:
		default:
		}
	}
}

// route says, as a text to be compared, by which ways the kernel would reach the API server now; "" where there is none. It asks the kernel only.
func (m *Machine) route(ctx context.Context) string {
	var out strings.Builder
	known, _ := m.known()
	servers := anywhere
	if len(known) > 0 {
		servers = nil
	}
	for _, one := range known {
		servers = append(servers, one.at.Addr())
	}
	for _, to := range servers {
		if index, source, via, err := m.Kernel.RouteTo(ctx, to); err == nil {
			fmt.Fprintf(&out, "%s: link %d from %s by %s\n", to, index, source, via)
		}
	}
	return out.String()
}

// anywhere are addresses for documentation (RFC 5737, RFC 3849): where the API server's name could not be resolved yet, the way there is that of the rest of the world.
var anywhere = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}

// Identity gives the instance ids that the host has from its cloud, nil where there are none.
func (m *Machine) Identity() []string { return m.Survey.InstanceIDs() }

// Link reads one link.
func (m *Machine) Link(ctx context.Context, index int) (nic.Link, error) {
	return m.Kernel.Link(ctx, index)
}

// Free asks the neighbours on a link for all addresses at once. Its error is that of the first address that
// is not free; apply.ErrAddressInUse: a neighbour holds the address.
func (m *Machine) Free(ctx context.Context, index int, addrs []netip.Addr) error {
	errs := make([]error, len(addrs))
	var asking sync.WaitGroup
	for i, a := range addrs {
		asking.Go(func() { errs[i] = m.free(ctx, index, a) })
	}
	asking.Wait()
	return cmp.Or(errs...)
}

func (m *Machine) free(ctx context.Context, index int, a netip.Addr) error {
	holder, used, err := m.Kernel.ProbeAddress(ctx, index, a, cmp.Or(m.DAD, fastDAD)) // also who asks nobody beforehand asks who it was
	if err != nil {
		return fmt.Errorf("asking whether %s is free: %w", a, err)
	}
	if used && !m.own(ctx, holder) {
		return fmt.Errorf("%w: %s is held by the neighbour with MAC %s; give the NIC another address, or free this one", apply.ErrAddressInUse, a, holder)
	}
	return nil
}

// Duplicates notes which addresses of a link the kernel finds in use, see kernel.Kernel.
func (m *Machine) Duplicates(index int) (found func() []netip.Addr, stop func(), err error) {
	return m.Kernel.Duplicates(index)
}

// own says whether a MAC is that of a link of this host. Such a one answers for the addresses of all others until it is told not to, also for one that
// is just being moved to another NIC; the plan has seen to it that it may be.
func (m *Machine) own(ctx context.Context, mac nic.MAC) bool {
	links, err := m.Kernel.Bare(ctx)
	return err == nil && slices.ContainsFunc(links, func(l nic.Link) bool { return l.MAC == mac })
}

// Change changes a link, unless the whole guard forbids it: the error then wraps a plan.RefusalError, and
// the link is as it was. The guard sees the links as the writer has just read them.
func (m *Machine) Change(ctx context.Context, c nic.Change) error {
	if err := m.spare(ctx, &c); err != nil {
		return err
	}
	return m.Kernel.Writer(func(l nic.Link, all []nic.Link) error {
		// Whose a default route is in a table that the former agent may have used is all that its files decide here.
		if slices.ContainsFunc(l.Routes, func(r nic.Route) bool { return r.IsDefault() && nic.FormerTable(r.Table) }) {
			var err error
			if l.Former, err = m.Survey.Former(l); err != nil {
				return fmt.Errorf("looking for what the former agent left: %w", err)
			}
		}
		return guardError(plan.GuardOf(m.Record(), l, m.guarded(ctx, all)))
	}).Change(ctx, c)
}

// spare leaves out of a change what would hurt links that have come to lie on the link since the change was planned.
func (m *Machine) spare(ctx context.Context, c *nic.Change) error {
	if c.MTU == 0 && !c.Down {
		return nil
	}
	links, err := m.Kernel.Bare(ctx)
	if err != nil {
		return fmt.Errorf("looking for what lies on link %s: %w", c.Had, err)
	}
	if i := slices.IndexFunc(links, func(l nic.Link) bool { return l.Index == c.Index }); i >= 0 {
		plan.Spare(c, links[i], links)
	}
	return nil
}

// Restore undoes a change. What the change itself may have drawn to the link, a path or a default route, must not keep it from being undone.
func (m *Machine) Restore(ctx context.Context, c nic.Change) error {
	if err := m.spare(ctx, &c); err != nil {
		return err
	}
	return m.Kernel.Undoer(func(l nic.Link) error {
		return guardError(plan.NotOurs(l, plan.View{Deny: m.Deny, Kinds: m.Kinds}))
	}).Change(ctx, c)
}

const fastDAD = 200 * time.Millisecond

// DAD is how long neighbours may take to claim an address, by backend.dad of multinicd.toml; 0: they are
// not asked. RFC 5227 sends three probes, one to two seconds apart; the kernel, by RFC 4862, one.
func DAD(c config.Backend) time.Duration {
	switch c.DAD {
	case "fast":
		return fastDAD
	case "rfc5227":
		return 6 * time.Second
	}
	return 0
}

func guardError(r *plan.Refusal) error {
	if r == nil {
		return nil
	}
	return &plan.RefusalError{Refusal: *r}
}
