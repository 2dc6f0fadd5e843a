package daemon

import (
	"runtime"

	"multinicd/internal/daemon/asked"
)

// Status gives what the last pass found. It may be called from any goroutine.
func (d *Daemon) Status() Status {
	d.setUp()
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	s := d.state.status
	if s.State == "" { // the first pass has not ended yet
		s = d.whoAmI(Status{State: "Waiting", Message: "starting", Source: d.sourceStatus()})
	}
	s.Meters, s.Down = d.state.meters.clone(), d.partsDown()
	s.Delivered = d.reports.delivered()
	s.Goroutines = runtime.NumGoroutine()
	return s
}

func (d *Daemon) publish(s Status, w asked.Wish) {
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

func (d *Daemon) whoAmI(s Status) Status {
	s.Node, s.Version, s.Backend, s.Evidence = d.Node, d.Version, d.Backend, d.Evidence
	s.NodeEvidence = d.NodeEvidence
	return s
}

// known is what tells how the NICs are.
func (d *Daemon) known() known {
	k := known{record: d.Applier.Record(), pace: d.own.pace, namer: d.Namer}
	for _, h := range d.Applier.Halfway() {
		k.halfway = append(k.halfway, h.NIC.MAC)
	}
	return k
}
