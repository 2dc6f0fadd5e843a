package main

import (
	"context"
	"errors"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/kube"
)

// apiSource reads the object from the API server, by watch or by polling.
type apiSource struct{ *wired }

func (s apiSource) Run(ctx context.Context, notify func(asked.Wish)) error {
	tell := func(o kube.Observation) {
		w := asked.Wish{Object: o.Object, Gone: o.Absent, Err: o.Err, Contact: o.Contact}
		var e *kube.Error
		if errors.As(o.Err, &e) && e.Class == kube.Malformed && e.UID != "" {
			w.Unread = &asked.Unread{UID: e.UID, Generation: e.Generation, Message: e.Err.Error()}
		}
		notify(w)
	}
	if s.cfg.Source.Mode == "poll" {
		return s.api.Poll(ctx, s.cfg.Source.Interval, tell)
	}
	return s.api.Watch(ctx, tell)
}

// fileSource reads the object from a file, again and again.
type fileSource struct{ *wired }

func (s fileSource) Run(ctx context.Context, notify func(asked.Wish)) error {
	tick := time.NewTicker(s.cfg.Source.Interval)
	defer tick.Stop()
	for {
		obj, err := readObject(s.cfg.Source.File)
		if err != nil {
			notify(asked.Wish{Err: err})
		} else {
			notify(asked.Wish{Object: obj, Contact: time.Now()})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// idleSource waits for a credential. Until then the service is idle, which is no failure. Once
// there is a credential it ends the service, and the service manager starts the service again. So
// there is only one way to begin.
type idleSource struct {
	*wired
	end func()
}

// idleEvery is the time between two looks for a credential.
const idleEvery = 2 * time.Second

func (s idleSource) Run(ctx context.Context, notify func(asked.Wish)) error {
	notify(asked.Wish{Idle: s.idle})
	tick := time.NewTicker(idleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := &wired{cfg: s.cfg, node: s.node, log: s.log, host: s.host}
		switch err := now.wireAPI(); {
		case err != nil: // there is something, but it cannot be used
			notify(asked.Wish{Idle: err.Error()})
		case now.api == nil:
			notify(asked.Wish{Idle: now.idle})
		default:
			s.log.Info("there is a way to the API now; starting anew")
			s.end()
			return nil
		}
	}
}

// apiReporter writes the report and the Lease of this node.
type apiReporter struct {
	api  *kube.Client
	node string
}

func (r apiReporter) Report(ctx context.Context, data []byte) error {
	return r.api.PutReport(ctx, data)
}

// Beat renews the Lease and says by which request the node has joined. By this the bridge knows
// that its token has arrived.
func (r apiReporter) Beat(ctx context.Context) error {
	return r.api.RenewLease(ctx, v1.LeaseHolder(r.node, r.api.Request()))
}
