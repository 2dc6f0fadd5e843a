package node

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"multinicd/host/kernel"
	"multinicd/nic"
	"multinicd/plan"
)

// Wanted says which NICs the object names. Look and Change go by that from then on: of equal default
// routes that of a link counts which the object does not name.
func (m *Machine) Wanted(named []nic.MAC) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wanted = slices.Clone(named)
}

// guarded is the machine as far as the guard looks at it.
func (m *Machine) guarded(ctx context.Context, links []nic.Link) plan.View {
	m.mu.Lock()
	named := m.wanted
	m.mu.Unlock()
	out := plan.View{Links: links, Lifelines: m.paths(ctx), NodeAddrs: m.nodeAddrs(ctx, links), Named: named, Deny: m.Deny, Kinds: m.Kinds}
	out.Answers = m.answers(ctx, out)
	return out
}

// answer is what the API server said through a link.
type answer struct {
	link string
	at   time.Time
	yes  bool
}

const (
	// answersAge is how long an answer through a link counts: for one pass and its changes.
	answersAge = 15 * time.Second
	// answersWait bounds all the questions of one look together.
	answersWait = 3 * time.Second
)

// answers asks the API server through the links that decide whether a NIC may be taken over, all at once,
// and lists those through which it answers. On most hosts there is no such link, and nothing is asked.
func (m *Machine) answers(ctx context.Context, now plan.View) (out []int) {
	if m.API == nil || m.Record == nil {
		return nil
	}
	links := plan.ToAsk(now, m.Record())
	if len(links) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answersWait)
	defer cancel()
	said := make([]bool, len(links))
	var asking sync.WaitGroup
	for i, index := range links {
		asking.Go(func() { said[i] = m.answersBy(ctx, index, now.Links) })
	}
	asking.Wait()
	for i, yes := range said {
		if yes {
			out = append(out, links[i])
		}
	}
	return out
}

func (m *Machine) answersBy(ctx context.Context, index int, links []nic.Link) bool {
	i := slices.IndexFunc(links, func(l nic.Link) bool { return l.Index == index })
	name := links[i].Name
	m.mu.Lock()
	known, ok := m.answered[index]
	m.mu.Unlock()
	if ok && known.link == name && time.Since(known.at) < answersAge {
		return known.yes
	}
	yes := m.API.PingBy(ctx, m.dialBy(name)) == nil
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answered == nil {
		m.answered = map[int]answer{}
	}
	m.answered[index] = answer{name, time.Now(), yes}
	return yes
}

// dialBy dials through one link. What listens on the loopback is a proxy on this host: the API servers
// behind it are dialled in its place, each in turn.
func (m *Machine) dialBy(link string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		to := []string{address}
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if at, failed := netip.ParseAddr(host); failed == nil && at.IsLoopback() || host == "localhost" {
			to, err = m.realServers(ctx), errNoServer
		}
		for i, one := range to {
			var conn net.Conn
			try, cancel := context.WithTimeout(ctx, share(ctx, len(to)-i))
			conn, err = kernel.Dialer(link).DialContext(try, network, one)
			cancel()
			if err == nil {
				return conn, nil
			}
		}
		return nil, err
	}
}

// share is the part of the time left that one of n tries may take.
func share(ctx context.Context, n int) time.Duration {
	until, ok := ctx.Deadline()
	if !ok {
		return answersWait
	}
	return time.Until(until) / time.Duration(n)
}

var errNoServer = errors.New("no API server is known behind the proxy on this host")

func (m *Machine) realServers(ctx context.Context) (out []string) {
	for _, s := range m.servers(ctx) {
		if !s.at.Addr().IsLoopback() {
			out = append(out, s.at.String())
		}
	}
	return out
}
