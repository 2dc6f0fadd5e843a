package kernel

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"multinicd/host/neighbour"
	"multinicd/nic"
)

// carrierTimeout is how long a link that was just set up may take until it has a carrier; nobody
// can be asked before. A card and a switch that agree on 1 Gbit/s need two to three seconds.
const carrierTimeout = 4 * time.Second

// ProbeAddress is neighbour.Probe for a link of the kernel's. It first waits for a carrier, without
// which nobody can answer. nic.ErrLinkGone: there is no such link.
func (k *Kernel) ProbeAddress(ctx context.Context, index int, a netip.Addr, wait time.Duration) (holder nic.MAC, inUse bool, err error) {
	l, err := k.carrier(ctx, index)
	if err != nil {
		return nic.MAC{}, false, fmt.Errorf("probing %s: %w", a.Unmap(), err)
	}
	return neighbour.Probe(ctx, l, a, wait)
}

// Neighbour is neighbour.Ask for a link of the kernel's. nic.ErrLinkGone: there is no such link.
func (k *Kernel) Neighbour(ctx context.Context, index int, a netip.Addr) error {
	links, _, err := k.look(ctx, 0, 0)
	if err != nil {
		return err
	}
	l := find(links, index)
	if l == nil {
		return fmt.Errorf("asking for neighbour %s: %w", a, nic.ErrLinkGone)
	}
	return neighbour.Ask(ctx, *l, a)
}

// carrier waits until a link that is up has a carrier, or has had the time to get one.
func (k *Kernel) carrier(ctx context.Context, index int) (nic.Link, error) {
	ctx, cancel := context.WithTimeout(ctx, carrierTimeout)
	defer cancel()
	for {
		links, err := k.single(context.WithoutCancel(ctx), index)
		if err != nil {
			return nic.Link{}, err
		}
		if len(links) == 0 {
			return nic.Link{}, nic.ErrLinkGone
		}
		l := links[0]
		if l.Carrier || !l.Up {
			return l, nil
		}
		select {
		case <-ctx.Done():
			return l, nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}
