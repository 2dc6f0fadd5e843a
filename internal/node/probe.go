package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"multinicd/internal/config"
)

// Prober asks, before and after each change, for what the node lives by: the API server, and what
// multinicd.toml names.
type Prober struct {
	probes []probe
	// ways gives the links by which the API server is reached now, by its address. A change that moves one to another link is not waited for.
	ways func(ctx context.Context) map[netip.Addr]way
	// moved is told where the path has moved to another link than that of the change, as it does when
	// the change takes a default route that does not count: connections by the old path are dead.
	moved func()
}

// NewProber gives a Prober for what the configuration names. m.Reached must be set where m.API is;
// contact says that the API server has answered a moment ago.
func NewProber(m *Machine, c config.Probe, contact func() bool) Prober {
	p := Prober{ways: m.ways, moved: func() { m.API.Reconnect() }}
	if c.API && m.API != nil {
		p.probes = append(p.probes, apiProbe(m.API.Ping, contact, m.Reached))
	}
	for _, address := range c.TCP {
		p.probes = append(p.probes, tcpProbe(address))
	}
	for _, a := range c.Neighbours {
		p.probes = append(p.probes, neighbourProbe(m, a))
	}
	return p
}

// way is the link by which an address is reached.
type way struct {
	index int
	link  string
}

// probe is one thing that must answer. known, if set and true, stands for an answer that came just now.
type probe struct {
	what  string
	ask   func(ctx context.Context) error
	known func() bool
}

// Limits of one question, and of the wait between two.
const (
	askBefore = 3 * time.Second
	askAfter  = 4 * time.Second
	askAgain  = 500 * time.Millisecond
)

// answerAge is how long an answer of the API server counts where it has not failed since.
const answerAge = 10 * time.Second

// apiProbe asks the API server by ping, which takes a connection of its own and half of the time that a small change takes: changes that are made one
// after the other ask once before. reached says that the object could be read when that was last tried, contact that this was a moment ago.
func apiProbe(ping func(ctx context.Context) error, contact, reached func() bool) probe {
	var mu sync.Mutex
	var answered time.Time // zero: it did not when it was last asked
	ask := func(ctx context.Context) error {
		err := ping(ctx)
		mu.Lock()
		defer mu.Unlock()
		if answered = time.Now(); err != nil {
			answered = time.Time{}
		}
		return err
	}
	known := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return contact() || reached() && !answered.IsZero() && time.Since(answered) < answerAge
	}
	return probe{what: "the API server", ask: ask, known: known}
}

func tcpProbe(address string) probe {
	return probe{what: address, ask: func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}}
}

func neighbourProbe(m *Machine, a netip.Addr) probe {
	return probe{what: a.String(), ask: func(ctx context.Context) error {
		index, _, via, err := m.Kernel.RouteTo(ctx, a)
		if err != nil {
			return err
		}
		if via.IsValid() {
			return fmt.Errorf("%s is no neighbour: the way there is by %s", a, via)
		}
		return m.Kernel.Neighbour(ctx, index, a)
	}}
}

// Before notes what answers now, within 6 seconds. The function that Before returns is called after the
// change: it waits, as long as its ctx lasts, until all that answered before answers again, and its error
// names what does not. What does not answer now is not held against the change.
func (p Prober) Before(ctx context.Context, link int) func(context.Context) error {
	was := p.where(ctx) // first: what is down may take all the time that the questions have
	answers := make([]bool, len(p.probes))
	ctx, cancel := context.WithTimeout(ctx, askBefore)
	defer cancel()
	var wg sync.WaitGroup
	for i, one := range p.probes {
		if one.known != nil && one.known() {
			answers[i] = true
			continue
		}
		wg.Go(func() { answers[i] = one.ask(ctx) == nil })
	}
	wg.Wait()
	return func(ctx context.Context) error {
		for to, is := range p.where(ctx) {
			old := was[to]
			if old.index == 0 || is.index == 0 || is.index == old.index {
				continue
			}
			if is.index == link {
				return fmt.Errorf("the way to the API server (%s) has moved from link %s to link %s: give the NIC a subnet that does not hold the API server", to, old.link, is.link)
			}
			p.moved()
		}
		for i, one := range p.probes {
			if answers[i] {
				if err := one.until(ctx); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// where gives the ways, within a time of its own.
func (p Prober) where(ctx context.Context) map[netip.Addr]way {
	ctx, cancel := context.WithTimeout(ctx, askBefore)
	defer cancel()
	return p.ways(ctx)
}

// until asks again and again, as long as ctx lasts.
func (p probe) until(ctx context.Context) error {
	for {
		try, cancel := context.WithTimeout(ctx, askAfter)
		err := p.ask(try)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s answered before the change and does not answer after it: %w", p.what, err)
		case <-time.After(askAgain):
		}
	}
}
