package testhost

import (
	"context"
	"fmt"
	"net/netip"

	"multinicd/test/bed/monitor"
)

// MonitorKernel records what the kernel announces on the host. What happens after it has returned is not missed. It
// ends with the host's network, or by Stop.
func (h *Host) MonitorKernel() (*monitor.Kernel, error) {
	m, err := monitor.NewKernel(func(f func() error) error { return inNetns(h.NetNS(), f) })
	if err != nil {
		return nil, fmt.Errorf("on %s: %w", h.Name, err)
	}
	h.world.box.OnClose(m.Stop)
	return m, nil
}

// MonitorBus records what is called on the host's system bus, likewise.
func (h *Host) MonitorBus(ctx context.Context) (*monitor.Bus, error) {
	m, err := monitor.NewBus(ctx, h)
	if err != nil {
		return nil, fmt.Errorf("on %s: %w", h.Name, err)
	}
	h.world.box.OnClose(m.Stop)
	return m, nil
}

// Ping asks hosts for echoes from the switch: the targets are IPv4 addresses. It ends with the world, or by Stop.
func (w *World) Ping(targets ...netip.Addr) (*monitor.Pings, error) {
	p, err := monitor.NewPings(w.Inside, targets...)
	if err != nil {
		return nil, err
	}
	w.box.OnClose(p.Close)
	return p, nil
}
