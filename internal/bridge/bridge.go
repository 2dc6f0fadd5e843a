package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
	"multinicd/internal/bridge/jobs"
	"multinicd/internal/bridge/rollout"
	"multinicd/internal/bridge/runs"
	"multinicd/internal/bridge/status"
)

// Options of the bridge. For each, except Log and Duty, the zero value is the default.
type Options struct {
	Log *slog.Logger
	// Duty is what this process does. It must be given.
	Duty Duty
	// LeaderElect lets several bridges stand by for each other.
	LeaderElect bool
	// HealthAddress serves /healthz and /readyz; MetricsAddress serves /metrics. Both are
	// host:port; "" or "0" serves nothing.
	HealthAddress, MetricsAddress string
	// PprofAddress serves Go's profiles to everybody who can reach it, host:port. "" serves none.
	PprofAddress string
	// SilentAfter overrides v1.SilentAfter. 0 means v1.SilentAfter.
	SilentAfter time.Duration
	// Jobs says whether and how nodes without a daemon get Jobs.
	Jobs jobs.Options
	// Rollout brakes changes of many nodes.
	Rollout rollout.Options
	// NodeLabel: the bridge keeps the v1.ReadyLabels of Nodes. This needs the rights of
	// deploy/nodelabel.yaml.
	NodeLabel bool
	// Now is the bridge's clock; nil means time.Now.
	Now func() time.Time
}

// Run runs the bridge until ctx ends, which is no error. Call LogLibraries before. Run returns
// earlier only if it cannot start, or loses the leadership that it had.
func Run(ctx context.Context, cfg *rest.Config, o Options) error {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SilentAfter == 0 {
		o.SilentAfter = v1.SilentAfter
	}
	if o.Jobs.Execution == "" {
		o.Jobs.Execution = jobs.ExecutionDaemon
	}
	mgr, err := newManager(cfg, o)
	if err != nil {
		return fmt.Errorf("setting up the bridge: %w", err)
	}
	b := &bridge{Options: o, mgr: mgr, client: mgr.GetClient(), events: mgr.GetEventRecorder(v1.BridgeFieldOwner), pulses: gather.NewPulses()}
	unregister, err := b.wire()
	defer unregister()
	if err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the bridge: %w", err)
	}
	return nil
}

// bridge is what the loops need.
type bridge struct {
	Options
	mgr    manager.Manager
	client client.Client // reads from the caches
	events events.EventRecorder
	pulses *gather.Pulses
	meters *meters
}

// jobs says whether the bridge makes Jobs.
func (b *bridge) jobs() bool { return b.Jobs.Execution != jobs.ExecutionDaemon }

// wire adds the loops of the duty to the manager. unregister takes the metrics off the page again;
// call it also after an error.
func (b *bridge) wire() (unregister func(), err error) {
	switch b.Duty {
	case Status:
		return b.wireStatus()
	case Credentials:
		return b.wireCredentials()
	}
	return func() {}, fmt.Errorf("setting up the bridge: there is no duty %q", b.Duty)
}

// wireStatus is wire for the duty Status.
func (b *bridge) wireStatus() (unregister func(), err error) {
	unregister = func() {}
	if err := gather.IndexRuns(b.mgr); err != nil {
		return unregister, fmt.Errorf("setting up the index of runs: %w", err)
	}
	if b.jobs() {
		if err := gather.IndexJobs(b.mgr, &batchv1.Job{}, &corev1.Pod{}); err != nil {
			return unregister, fmt.Errorf("setting up the index of Jobs: %w", err)
		}
	}
	reachable := jobs.Reachable(b.client, b.pulses, b.Jobs.Execution, b.Now, b.SilentAfter)
	loop := &status.Loop{
		Client: b.client, Log: b.Log, Now: b.Now, SilentAfter: b.SilentAfter, Pulses: b.pulses, Events: b.events,
		Jobs: b.jobs(), Reachable: reachable,
	}
	var last func() rollout.Out
	if b.Rollout.On() {
		freed := make(chan event.TypedGenericEvent[*v1.MultiNicNodeConfig])
		brake := &rollout.Loop{
			Client: b.client, Log: b.Log, Events: b.events, Options: b.Rollout, Now: b.Now, Reachable: reachable, Wake: freed,
		}
		if err := rollout.Watch(b.mgr, brake); err != nil {
			return unregister, fmt.Errorf("setting up the rollout brake: %w", err)
		}
		loop.Released, loop.MayAsk, loop.Freed, last = brake.Released, brake.MayAsk, freed, brake.Last
	}
	b.meters = newMeters(b.client, last)
	if unregister, err = b.meters.register(b.MetricsAddress != "", Status); err != nil {
		return func() {}, err
	}
	loop.Written, loop.Outdated = b.meters.writes, b.meters.outdated
	if err := status.Watch(b.mgr, loop); err != nil {
		return unregister, fmt.Errorf("setting up the status loop: %w", err)
	}
	err = runs.Watch(b.mgr, &runs.Loop{
		Client: b.client, Reader: b.mgr.GetAPIReader(), Events: b.events, Log: b.Log, Now: b.Now, Ended: b.meters.runs,
	})
	if err != nil {
		return unregister, fmt.Errorf("setting up the loop of runs: %w", err)
	}
	if b.NodeLabel {
		if err := b.wireLabels(); err != nil {
			return unregister, fmt.Errorf("setting up the loop of labels: %w", err)
		}
	}
	return unregister, nil
}
