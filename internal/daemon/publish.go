package daemon

import (
	"runtime"

	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/status"
)

// Status gives what the last pass found. It may be called from any goroutine.
func (d *Daemon) Status() status.Node {
	d.setUp()
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	s := d.state.status
	if s.State == "" { // the first pass has not ended yet
		s = d.whoAmI(status.Node{State: "Waiting", Message: "starting", Source: d.sourceStatus()})
	}
	s.Meters, s.Down = d.state.meters.Clone(), d.partsDown()
	s.Delivered = d.reports.Delivered()
	s.Goroutines = runtime.NumGoroutine()
	return s
}

func (d *Daemon) publish(s status.Node, w asked.Wish) {
	if d.NodeDoubt != nil {
		s.NodeDoubt = d.NodeDoubt() // which reads a file: not with the lock
	}
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	s = d.whoAmI(s)
	s.Source = d.sourceStatus()
	if w.Object != nil {
		s.UID, s.Generation, s.SpecHash = string(w.Object.UID), w.Object.Generation, w.Object.Spec.SpecHash
	}
	if w.Held {
		s.Held, s.InForce = true, w.Before.Generation
	}
	s.Credential = d.state.status.Credential
	d.state.status = s
}

func (d *Daemon) whoAmI(s status.Node) status.Node {
	s.Node, s.Version, s.Backend, s.Evidence = d.Node, d.Version, d.Backend, d.Evidence
	s.NodeEvidence = d.NodeEvidence
	return s
}

// known is what tells how the NICs are.
func (d *Daemon) known() status.Known {
	k := status.Known{Record: d.Applier.Record(), Pace: d.own.pace, Repairs: d.own.repairs, Namer: d.Namer}
	for _, h := range d.Applier.Halfway() {
		k.Halfway = append(k.Halfway, h.NIC.MAC)
	}
	return k
}
