package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"multinicd/host"
	"multinicd/nic"
	"multinicd/plan/lifeline"
)

// nodeAddrs gives the node's addresses as far as they may be on these links.
func (m *Machine) nodeAddrs(ctx context.Context, links []nic.Link) (out []lifeline.NodeAddr) {
	for _, a := range m.Kubelet.NodeAddrs(ctx, links) {
		out = append(out, lifeline.NodeAddr{Addr: a.Addr, Evidence: a.Evidence})
	}
	return out
}

// server is an API server.
type server struct {
	at   netip.AddrPort
	what string // "the API server", or "the API server behind the proxy on 127.0.0.1:6443 (/etc/nginx/nginx.conf)"
}

// endpointsAge is how long the addresses of the API server are taken for known.
const endpointsAge = 30 * time.Second

// soon is when they are looked for again where there may be more of them: the proxy on this host has no connection yet, say.
const soon = 2 * time.Second

// servers gives the API servers, each address once: those that the credential names and, where that is a proxy on this
// host or a Service, those behind it. Where a name cannot be resolved now, the last known addresses count.
func (m *Machine) servers(ctx context.Context) []server {
	if m.API == nil {
		return nil
	}
	m.asking.Lock()
	defer m.asking.Unlock()
	was, asked := m.known()
	if time.Since(asked) < endpointsAge {
		return was
	}
	look, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	now, asked := was, time.Now()
	if found, err := m.API.Endpoints(look); err == nil {
		now = nil
		for _, ap := range found {
			now = add(now, server{netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), "the API server"})
		}
		behind, whole := m.behindCalled(look, now)
		if !whole { // what is not seen just now has not gone away
			behind, asked = slices.Concat(behind, was), asked.Add(soon-endpointsAge)
		}
		for _, s := range behind {
			now = add(now, s)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endpoints = now
	if ctx.Err() == nil { // else the question was cut off, and is no answer for the next one who asks
		m.asked = asked
	}
	return now
}

// maxServers is how many are looked at. Each costs the guard a look, and whoever answers for a name
// could name thousands.
const maxServers = 64

// add adds a server of a new address, as long as there may be more. What was there is left alone:
// others may read it.
func add(to []server, s server) []server {
	if len(to) >= maxServers || slices.ContainsFunc(to, func(o server) bool { return o.at.Addr() == s.at.Addr() }) {
		return to
	}
	return append(slices.Clip(to), s)
}

// known gives the API servers as they were found last, and when that was. It never waits.
func (m *Machine) known() ([]server, time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.endpoints, m.asked
}

// behindCalled is behind on the links of now. It reads them only where one called may be a Service's.
func (m *Machine) behindCalled(ctx context.Context, called []server) (out []server, whole bool) {
	var links []nic.Link
	if slices.ContainsFunc(called, func(s server) bool { return !s.at.Addr().IsLoopback() }) {
		var err error
		if links, err = m.Kernel.Links(ctx); err != nil {
			return nil, false
		}
	}
	return m.behind(ctx, called, links)
}

// behind gives the servers that stand behind those called, where one of these is a loopback address or a Service's. whole: no
// more could have been found at another moment. It is false too where there must be one, and none is seen.
func (m *Machine) behind(ctx context.Context, called []server, links []nic.Link) (out []server, whole bool) {
	called = slices.DeleteFunc(slices.Clone(called), func(s server) bool { return !s.at.Addr().IsLoopback() && nearby(s.at.Addr(), links) })
	if len(called) == 0 {
		return nil, true
	}
	var ports []uint16
	for _, s := range called {
		ports = append(ports, s.at.Port())
	}
	found, err := m.Kubelet.APIServers(ctx, ports...)
	whole = ctx.Err() == nil && !host.Short(err)
	var kubelets []netip.Addr
	for _, f := range found {
		for _, a := range m.resolve(ctx, f.Host) {
			out = append(out, server{netip.AddrPortFrom(a, f.Port), f.Evidence})
			if f.Kubelet {
				kubelets = append(kubelets, a)
			}
		}
	}
	front := frontOf(called, kubelets)
	if front == "" {
		return nil, true
	}
	out = slices.DeleteFunc(out, func(s server) bool { return s.at.Addr().IsLoopback() || s.at.Addr().IsUnspecified() })
	for i, s := range out {
		out[i].what = fmt.Sprintf("the API server behind %s (%s)", front, s.what)
	}
	return out, whole && len(out) > 0
}

// nearby says whether a link leads to an address by more than a default route. Then the address is no Service's, unless the
// link is one that is made for them: kube-proxy's and others' of kind dummy, or the loopback.
func nearby(a netip.Addr, links []nic.Link) bool {
	return slices.ContainsFunc(links, func(l nic.Link) bool {
		if l.Kind == "dummy" || l.Name == "lo" {
			return false
		}
		return slices.ContainsFunc(l.Addresses, func(h nic.Address) bool { return h.Prefix.Contains(a) }) ||
			slices.ContainsFunc(l.Routes, func(r nic.Route) bool { return !r.IsDefault() && r.To.Contains(a) })
	})
}

// frontOf says in words which of the servers called only stands before the real one: one on the loopback, or one that
// the kubelet does not call, where it is known whom it calls. "" where none does.
func frontOf(called []server, kubelets []netip.Addr) string {
	for _, s := range called {
		if s.at.Addr().IsLoopback() {
			return "the proxy on " + s.at.String()
		}
		if len(kubelets) > 0 && !slices.Contains(kubelets, s.at.Addr()) {
			return "the Service " + s.at.String()
		}
	}
	return ""
}

// resolve gives the addresses of a name, or of an address itself; those of before where there is no answer now.
func (m *Machine) resolve(ctx context.Context, name string) []netip.Addr {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a.Unmap()}
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return m.resolved[name]
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	if m.resolved == nil {
		m.resolved = map[string][]netip.Addr{}
	}
	m.resolved[name] = found
	return found
}
