package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"multinicd/host"
	"multinicd/ifcfg"
	"multinicd/internal/apply"
	"multinicd/internal/kube"
	"multinicd/netplan"
	"multinicd/nic"
	"multinicd/plan"
)

// machine shows the host to the planner, and is the one way to its links.
type machine struct {
	host  *host.Host
	api   *kube.Client // nil: no cluster
	deny  []string
	kinds []string
	plain bool          // NICs that share a subnet get no tables of their own
	dad   time.Duration // how long neighbours may take to claim an address

	mu        sync.Mutex
	endpoints []netip.Addr
	way       int         // ifindex of the link that led to the API server last
	reached   func() bool // the API server answered when it was last asked
	asked     time.Time
}

// endpointsAge is how long the addresses of the API server are taken for known.
const endpointsAge = 30 * time.Second

// Look reads what is there: the links, who claims them, and the paths that the node lives by.
func (m *machine) Look(ctx context.Context) (plan.Machine, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	links, err := m.host.Links(ctx)
	if err != nil {
		return plan.Machine{}, fmt.Errorf("reading the links: %w", err)
	}
	claims, err := m.host.Claims(ctx, links, ourFile)
	if err != nil {
		return plan.Machine{}, fmt.Errorf("reading who configures the links: %w", err)
	}
	formers, err := m.host.Formers(links)
	if err != nil {
		return plan.Machine{}, fmt.Errorf("looking for what the former agent left: %w", err)
	}
	for i := range links {
		links[i].Claim, links[i].Former = claims[links[i].Index], formers[links[i].Index]
	}
	return plan.Machine{Links: links, Paths: m.paths(ctx), Deny: m.deny, Kinds: m.kinds, SubnetsOff: m.plain}, nil
}

// ourFile says whether a file is ours, whatever backend wrote it.
func ourFile(file string) bool { return netplan.Owned(file) || ifcfg.Owned(file) }

func (m *machine) paths(ctx context.Context) []plan.Path {
	var out []plan.Path
	for _, to := range m.servers(ctx) {
		p := plan.Path{What: "the API server", To: to}
		p.Index, p.Source, p.Via, _ = m.host.RouteTo(ctx, to) // no way there now: an index of 0
		m.mu.Lock()
		if p.Index != 0 {
			m.way = p.Index
		}
		m.mu.Unlock()
		out = append(out, p)
	}
	for _, ip := range m.host.NodeIPs() {
		out = append(out, plan.Path{What: "kubelet's --node-ip", Source: ip})
	}
	return out
}

// ways gives the links by which the API server's addresses are reached now; those without a way are left out.
func (m *machine) ways(ctx context.Context) map[netip.Addr]way {
	out := map[netip.Addr]way{}
	for _, to := range m.servers(ctx) {
		index, _, _, err := m.host.RouteTo(ctx, to)
		if err != nil || index == 0 {
			continue
		}
		name := strconv.Itoa(index)
		if l, err := m.Link(ctx, index); err == nil {
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
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.asked) < endpointsAge {
		return m.endpoints
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	found, err := m.api.Endpoints(ctx)
	m.asked = time.Now()
	if err != nil {
		return m.endpoints
	}
	m.endpoints = nil
	for _, ap := range found {
		m.endpoints = append(m.endpoints, ap.Addr().Unmap())
	}
	return m.endpoints
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
	links, err := m.host.Links(ctx)
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

// Events wakes the loop; what is told about other links' addresses and routes does not concern it.
func (m *machine) Events(ctx context.Context, ours func(index int) bool, ready, wake chan<- struct{}) error {
	relevant := func(index int, link bool) bool {
		if !link && m.api != nil && m.leadsToAPI(index) {
			m.api.Reconnect() // an address or a route on the way there has changed: what waits on the old one waits in vain
		}
		return link || ours(index)
	}
	var once sync.Once
	return m.host.Events(ctx, relevant, wake, func() { once.Do(func() { close(ready) }) })
}

// leadsToAPI says whether a link is the way to the API server while that cannot be reached.
func (m *machine) leadsToAPI(index int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return index != 0 && index == m.way && !m.reached()
}

func (m *machine) Identity() []string { return m.host.InstanceIDs() }

// Link reads one link.
func (m *machine) Link(ctx context.Context, index int) (nic.Link, error) {
	links, err := m.host.Links(ctx)
	if err != nil {
		return nic.Link{}, fmt.Errorf("reading the links: %w", err)
	}
	for _, l := range links {
		if l.Index == index {
			return l, nil
		}
	}
	return nic.Link{}, fmt.Errorf("reading link %d: %w", index, nic.ErrLinkGone)
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
	holder, used, err := m.host.ProbeAddress(ctx, index, a, m.dad)
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
	links, err := m.host.Links(ctx)
	return err == nil && slices.ContainsFunc(links, func(l nic.Link) bool { return l.MAC == mac })
}

// Change changes a link, unless the whole guard forbids it.
func (m *machine) Change(ctx context.Context, c nic.Change) error {
	return m.host.Writer(func(l nic.Link) error {
		var err error
		if l.Former, err = m.host.Former(l); err != nil {
			return fmt.Errorf("looking for what the former agent left: %w", err)
		}
		return guardError(plan.Guard(l, plan.Machine{Links: []nic.Link{l}, Paths: m.paths(ctx), Deny: m.deny, Kinds: m.kinds}))
	}).Change(ctx, c)
}

// Restore undoes a change. What the change itself may have drawn to the link, a path or a default route, must not keep it from being undone.
func (m *machine) Restore(ctx context.Context, c nic.Change) error {
	return m.host.Writer(func(l nic.Link) error {
		return guardError(plan.NotOurs(l, plan.Machine{Deny: m.deny, Kinds: m.kinds}))
	}).Change(ctx, c)
}

func guardError(r *plan.Refusal) error {
	if r == nil {
		return nil
	}
	return &plan.RefusalError{Refusal: *r}
}
