package controller

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	v1 "multinicd/api/v1"
	"multinicd/deploy"
)

// Options of the bridge. The zero value of each is its default, but for Log.
type Options struct {
	Log *slog.Logger
	// LeaderElect lets several bridges stand by for each other.
	LeaderElect bool
	// HealthAddress serves /healthz and /readyz, MetricsAddress /metrics, both
	// host:port; "" or "0" serves nothing.
	HealthAddress, MetricsAddress string
	// PprofAddress serves Go's profiles, host:port, to whoever can reach it; ""
	// serves none.
	PprofAddress string
	// SilentAfter; 0 means the constant.
	SilentAfter time.Duration
	// Jobs says whether and how nodes without a daemon get Jobs.
	Jobs JobOptions
	// Rollout brakes changes of many nodes.
	Rollout RolloutOptions
	// NodeLabel: the label v1.ReadyLabel of Nodes is kept, which takes the rights of
	// deploy/nodelabel.yaml.
	NodeLabel bool
	// Now is the bridge's clock; nil means time.Now.
	Now func() time.Time
}

// Run runs the bridge, after LogLibraries, until ctx ends, which is no error. It comes back early
// only where it cannot start, or loses the leadership it had.
func Run(ctx context.Context, cfg *rest.Config, o Options) error {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SilentAfter == 0 {
		o.SilentAfter = SilentAfter
	}
	if o.Jobs.Execution == "" {
		o.Jobs.Execution = ExecutionDaemon
	}
	mgr, err := newManager(cfg, o)
	if err != nil {
		return fmt.Errorf("setting up the bridge: %w", err)
	}
	b := &bridge{Options: o, mgr: mgr, client: mgr.GetClient(), events: mgr.GetEventRecorder(v1.BridgeFieldOwner), pulses: newPulses()}
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

// bridge is what the loops are made of.
type bridge struct {
	Options
	mgr    manager.Manager
	client client.Client // reads from the caches
	events events.EventRecorder
	pulses *pulses
	meters *meters
}

// jobs: there are Jobs.
func (b *bridge) jobs() bool { return b.Jobs.Execution != ExecutionDaemon }

// policyGuard looks for the policies of a manifest.
func (b *bridge) policyGuard(manifest string) (*policyGuard, error) {
	return newPolicyGuard(manifest, b.mgr.GetAPIReader(), b.client, b.events, b.Log)
}

// wire adds all loops to the manager. The function that it gives takes the metrics off
// the page again, also after an error.
func (b *bridge) wire() (unregister func(), err error) {
	unregister = func() {}
	if err := indexRuns(b.mgr); err != nil {
		return unregister, fmt.Errorf("setting up the index of runs: %w", err)
	}
	if b.jobs() {
		if err := indexJobs(b.mgr); err != nil {
			return unregister, fmt.Errorf("setting up the index of Jobs: %w", err)
		}
	}
	reachable := reachable(b.client, b.pulses, b.Jobs.Execution, b.Now, b.SilentAfter)
	loop := &statusLoop{
		client: b.client, log: b.Log, now: b.Now, silentAfter: b.SilentAfter, pulses: b.pulses, events: b.events,
		jobs: b.jobs(), reachable: reachable,
	}
	var last func() Rollout
	if b.Rollout.On() {
		freed := make(chan event.TypedGenericEvent[*v1.MultiNicNodeConfig])
		brake := &rollout{
			client: b.client, log: b.Log, events: b.events, options: b.Rollout, now: b.Now, reachable: reachable, wake: freed,
		}
		if err := watchRollout(b.mgr, brake); err != nil {
			return unregister, fmt.Errorf("setting up the rollout brake: %w", err)
		}
		loop.released, loop.freed, last = brake.released, freed, brake.last
	}
	b.meters = newMeters(b.client, last)
	if unregister, err = b.meters.register(b.MetricsAddress != ""); err != nil {
		return func() {}, err
	}
	loop.written, loop.outdated = b.meters.writes, b.meters.outdated
	if err := watch(b.mgr, loop); err != nil {
		return unregister, fmt.Errorf("setting up the status loop: %w", err)
	}
	err = watchRuns(b.mgr, &runLoop{
		client: b.client, reader: b.mgr.GetAPIReader(), events: b.events, log: b.Log, now: b.Now, ended: b.meters.runs,
	})
	if err != nil {
		return unregister, fmt.Errorf("setting up the loop of runs: %w", err)
	}
	if err := b.wireIdentities(); err != nil {
		return unregister, err
	}
	if b.NodeLabel {
		if err := b.wireLabels(); err != nil {
			return unregister, fmt.Errorf("setting up the loop of labels: %w", err)
		}
	}
	if b.jobs() {
		if err := b.wireJobs(); err != nil {
			return unregister, fmt.Errorf("setting up the loop of Jobs: %w", err)
		}
	}
	return unregister, nil
}

// wireIdentities adds the loops of identities and of requests for tokens.
func (b *bridge) wireIdentities() error {
	policies, err := b.policyGuard(deploy.Admission)
	if err != nil {
		return err
	}
	if err := b.mgr.Add(policies); err != nil {
		return fmt.Errorf("setting up the look at admission: %w", err)
	}
	identities := &credentialLoop{
		client: b.client, log: b.Log, now: b.Now, pulses: b.pulses, inForce: policies.inForce,
		maker: &maker{client: b.client, now: time.Now},
	}
	if err := watchCredentials(b.mgr, identities); err != nil {
		return fmt.Errorf("setting up the credential loop: %w", err)
	}
	requests := &requestLoop{
		client: b.client, reader: b.mgr.GetAPIReader(), events: b.events, log: b.Log, now: b.Now,
		identities: identities, inForce: policies.inForce,
	}
	if err := watchRequests(b.mgr, requests); err != nil {
		return fmt.Errorf("setting up the loop of requests for tokens: %w", err)
	}
	return nil
}

// wireJobs adds the loop of Jobs, with a look at the policies of its own: where
// they are missing no Job is made, and all else goes on.
func (b *bridge) wireJobs() error {
	policies, err := b.policyGuard(deploy.Jobs)
	if err != nil {
		return err
	}
	if err := b.mgr.Add(policies); err != nil {
		return err
	}
	return watchJobs(b.mgr, &jobLoop{
		client: b.client, reader: b.mgr.GetAPIReader(), log: b.Log, now: b.Now, silentAfter: b.SilentAfter,
		pulses: b.pulses, inForce: policies.inForce, counted: b.meters.jobs, options: b.Jobs, braked: b.Rollout.On(),
	})
}

// wireLabels adds the loop of labels. It looks at its policy before it labels, and else
// never: where there is no Node the policy cannot be tried.
func (b *bridge) wireLabels() error {
	policies, err := b.policyGuard(deploy.NodeLabel)
	if err != nil {
		return err
	}
	return watchLabels(b.mgr, &labelLoop{client: b.client, inForce: policies.inForce})
}
