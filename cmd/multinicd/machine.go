package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"multinicd/host"
	"multinicd/host/kernel"
	"multinicd/host/survey"
	"multinicd/ifcfg"
	"multinicd/internal/apply"
	"multinicd/internal/config"
	"multinicd/internal/kube"
	"multinicd/netplan"
	"multinicd/nic"
	"multinicd/plan"
)

// machine shows the host to the planner, and is the one way to its links. The fields down to reached are set before the first use. Its methods may be
// called by several goroutines at once.
type machine struct {
	host   *host.Host
	kernel *kernel.Kernel
	survey *survey.Survey
	api    *kube.Client // nil: no cluster
	deny   []string
	kinds  []string
	plain  bool               // NICs that share a subnet get no tables of their own
	record func() plan.Record // what is ours; Change alone asks for it
	dad    time.Duration      // how long neighbours may take to claim an address; 0: as long as fastDAD

	reached func() bool // the API server answered when it was last asked; used only where api is set

	asking    sync.Mutex // held while the API server's name is looked up, which may take its time; before mu
	mu        sync.Mutex // guards what follows, and is held for moments only: the kernel's events wait for it
	endpoints []netip.Addr
	asked     time.Time
}

// endpointsAge is how long the addresses of the API server are taken for known.
const endpointsAge = 30 * time.Second

// Look reads what is there: the links, who claims them, and the paths that the node lives by.
func (m *machine) Look(ctx context.Context) (plan.Machine, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	links, err := m.kernel.Links(ctx)
	if err != nil {
		return plan.Machine{}, fmt.Errorf("reading the links: %w", err)
	}
	claims, err := m.survey.Claims(ctx, links, ourFile)
	if err != nil {
		return plan.Machine{}, fmt.Errorf("reading who configures the links: %w", err)
	}
	formers, err := m.survey.Formers(links)
	if err != nil {
		return plan.Machine{}, fmt.Errorf("looking for what the former agent left: %w", err)
	}
	for i := range links {
		links[i].Claim, links[i].Former = claims[links[i].Index], formers[links[i].Index]
	}
	return plan.Machine{Links: links, Paths: m.paths(ctx), Deny: m.deny, Kinds: m.kinds, SubnetsOff: m.plain, NoIPv6: m.kernel.NoIPv6()}, nil
}

// ourFile says whether a file is ours, whatever backend wrote it.
func ourFile(file string) bool { return netplan.Owned(file) || ifcfg.Owned(file) }

func (m *machine) paths(ctx context.Context) []plan.Path {
	var out []plan.Path
	for _, to := range m.servers(ctx) {
		p := plan.Path{What: "the API server", To: to}
		p.Index, p.Source, p.Via, _ = m.kernel.RouteTo(ctx, to) // no way there now: an index of 0
		out = append(out, p)
	}
	for _, ip := range m.survey.NodeIPs() {
		out = append(out, plan.Path{What: "kubelet's --node-ip", Source: ip})
	}
	return out
}

// ways gives the links by which the API server's addresses are reached now; those without a way are left out.
func (m *machine) ways(ctx context.Context) map[netip.Addr]way {
	out := map[netip.Addr]way{}
	for _, to := range m.servers(ctx) {
		index, _, _, err := m.kernel.RouteTo(ctx, to)
		if err != nil || index == 0 {
			continue
		}
		name := strconv.Itoa(index)
		if l, err := m.kernel.Link(ctx, index); err == nil {
			name = l.Name
		}
		out[to] = way{index, name}
	}
	return out
}

// servers gives the API server's addresses; the last known ones where its name cannot be resolved now.
func (m *machine) servers(ctx context.Context) []netip.Addr {
	if m.api == nil {
		return nil
	}
	m.asking.Lock()
	defer m.asking.Unlock()
	if known, asked := m.known(); time.Since(asked) < endpointsAge {
		return known
	}
	look, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	found, err := m.api.Endpoints(look)
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() == nil { // else the question was cut off, and is no answer for the next one who asks
		m.asked = time.Now()
	}
	if err != nil {
		return m.endpoints
	}
	m.endpoints = nil
	for _, ap := range found {
		m.endpoints = append(m.endpoints, ap.Addr().Unmap())
	}
	return m.endpoints
}

// known gives the API server's addresses as they were found last, and when that was. It never waits.
func (m *machine) known() ([]netip.Addr, time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.endpoints, m.asked
}

// Settle waits, at a start, until networkd, or NetworkManager, has done with the links that our files tell it of: what it is about to do by itself is no drift.
func (m *machine) Settle(ctx context.Context, owned []nic.Config) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for m.settling(ctx, owned) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// settleTimeout bounds the wait: a link without carrier may stay "configuring" for ever.
const settleTimeout = 5 * time.Second

func (m *machine) settling(ctx context.Context, owned []nic.Config) bool {
	links, err := m.kernel.Links(ctx)
	if err != nil {
		return false
	}
	for _, c := range owned {
		if slices.ContainsFunc(links, func(l nic.Link) bool {
			return l.HasMAC(c.MAC) && (ifcfg.Keyfile.Settling(m.host, c, l) || ifcfg.Ifcfg.Settling(m.host, c, l) || netplan.Settling(m.host, c, l))
		}) {
			return true
		}
		if !netplan.KnownToNetworkd(m.host, c) {
			continue
		}
		for _, l := range links {
			if !l.HasMAC(c.MAC) {
				continue
			}
			data, _, err := m.host.Read(fmt.Sprintf("/run/systemd/netif/links/%d", l.Index))
			if err != nil || unsettled.Match(data) && !(l.Up && !l.Carrier) {
				return true // but without a carrier it may stay so for ever
			}
		}
	}
	return false
}

// unsettled are the states of networkd in which it is about to do something by itself (systemd src/network/networkd-link.c).
var unsettled = regexp.MustCompile(`(?m)^ADMIN_STATE=(pending|initialized|configuring)$`)

// Events wakes the loop; what is told about other links' addresses and routes does not concern it. Each event may have changed the way to the API server.
func (m *machine) Events(ctx context.Context, ours func(index int) bool, ready, wake chan<- struct{}) error {
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
	if m.api != nil {
		u := uplink{route: m.route, reached: m.reached, reconnect: m.api.Reconnect}
		wg.Go(func() { u.follow(ctx, changed) })
		wg.Go(func() { relay(ctx, m.api.StoodStill(), wake) })
	}
	var once sync.Once
	return m.kernel.Events(ctx, relevant, wake, func() { once.Do(func() { close(ready) }) })
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
func (m *machine) route(ctx context.Context) string {
	var out strings.Builder
	servers, _ := m.known()
	if len(servers) == 0 {
		servers = anywhere
	}
	for _, to := range servers {
		if index, source, via, err := m.kernel.RouteTo(ctx, to); err == nil {
			fmt.Fprintf(&out, "%s: link %d from %s by %s\n", to, index, source, via)
		}
	}
	return out.String()
}

// anywhere are addresses for documentation (RFC 5737, RFC 3849): where the API server's name could not be resolved yet, the way there is that of the rest of the world.
var anywhere = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}

func (m *machine) Identity() []string { return m.survey.InstanceIDs() }

// Link reads one link.
func (m *machine) Link(ctx context.Context, index int) (nic.Link, error) {
	return m.kernel.Link(ctx, index)
}

// Free asks the neighbours for all addresses at once. Its error is that of the first one that is not free.
func (m *machine) Free(ctx context.Context, index int, addrs []netip.Addr) error {
	errs := make([]error, len(addrs))
	var asking sync.WaitGroup
	for i, a := range addrs {
		asking.Go(func() { errs[i] = m.free(ctx, index, a) })
	}
	asking.Wait()
	return cmp.Or(errs...)
}

func (m *machine) free(ctx context.Context, index int, a netip.Addr) error {
	holder, used, err := m.kernel.ProbeAddress(ctx, index, a, cmp.Or(m.dad, fastDAD)) // also who asks nobody beforehand asks who it was
	if err != nil {
		return fmt.Errorf("asking whether %s is free: %w", a, err)
	}
	if used && !m.own(ctx, holder) {
		return fmt.Errorf("%w: %s is held by the neighbour with MAC %s; give the NIC another address, or free this one", apply.ErrAddressInUse, a, holder)
	}
	return nil
}

// own says whether a MAC is that of a link of this host. Such a one answers for the addresses of all others until it is told not to, also for one that
// is just being moved to another NIC; the plan has seen to it that it may be.
func (m *machine) own(ctx context.Context, mac nic.MAC) bool {
	links, err := m.kernel.Bare(ctx)
	return err == nil && slices.ContainsFunc(links, func(l nic.Link) bool { return l.MAC == mac })
}

// Change changes a link, unless the whole guard forbids it.
func (m *machine) Change(ctx context.Context, c nic.Change) error {
	return m.kernel.Writer(func(l nic.Link) error {
		// Whose a default route is in a table that the former agent may have used is all that its files decide here.
		if slices.ContainsFunc(l.Routes, func(r nic.Route) bool { return r.IsDefault() && nic.FormerTable(r.Table) }) {
			var err error
			if l.Former, err = m.survey.Former(l); err != nil {
				return fmt.Errorf("looking for what the former agent left: %w", err)
			}
		}
		return guardError(plan.GuardOf(m.record(), l, plan.Machine{Links: []nic.Link{l}, Paths: m.paths(ctx), Deny: m.deny, Kinds: m.kinds}))
	}).Change(ctx, c)
}

// Restore undoes a change. What the change itself may have drawn to the link, a path or a default route, must not keep it from being undone.
func (m *machine) Restore(ctx context.Context, c nic.Change) error {
	return m.kernel.Writer(func(l nic.Link) error {
		return guardError(plan.NotOurs(l, plan.Machine{Deny: m.deny, Kinds: m.kinds}))
	}).Change(ctx, c)
}

const fastDAD = 200 * time.Millisecond

// dad is how long neighbours may take to claim an address; 0: they are not asked. RFC 5227 sends three probes, one to two seconds apart; the kernel, of RFC 4862, one.
func dad(c config.Backend) time.Duration {
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
