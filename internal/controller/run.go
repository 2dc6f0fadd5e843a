package controller

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

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
	recorder := mgr.GetEventRecorder(v1.BridgeFieldOwner)
	loop := &statusLoop{
		client: mgr.GetClient(), log: o.Log, now: o.Now, silentAfter: o.SilentAfter,
		pulses: newPulses(),
		events: recorder, jobs: o.Jobs.Execution != ExecutionDaemon,
	}
	if err := indexRuns(mgr); err != nil {
		return fmt.Errorf("setting up the index of runs: %w", err)
	}
	if loop.jobs {
		if err := indexJobs(mgr); err != nil {
			return fmt.Errorf("setting up the index of Jobs: %w", err)
		}
	}
	loop.reachable = reachable(mgr.GetClient(), loop.pulses, o)
	if o.Rollout.On() {
		loop.rollout = &rollout{
			client: mgr.GetClient(), log: o.Log, events: recorder, options: o.Rollout, now: o.Now, reachable: loop.reachable,
			wake: make(chan event.TypedGenericEvent[*v1.MultiNicNodeConfig]),
		}
		if err := watchRollout(mgr, loop.rollout); err != nil {
			return fmt.Errorf("setting up the rollout brake: %w", err)
		}
	}
	var last func() Rollout
	if loop.rollout != nil {
		last = loop.rollout.last
	}
	m := newMeters(mgr.GetClient(), last)
	unregister, err := m.register(o.MetricsAddress != "")
	if err != nil {
		return err
	}
	defer unregister()
	loop.written, loop.outdated = m.writes, m.outdated
	if err := watch(mgr, loop, o.Now); err != nil {
		return fmt.Errorf("setting up the status loop: %w", err)
	}
	if err := watchRuns(mgr, &runLoop{client: mgr.GetClient(), reader: mgr.GetAPIReader(), events: recorder, log: o.Log, now: o.Now, ended: m.runs}); err != nil {
		return fmt.Errorf("setting up the loop of runs: %w", err)
	}
	policies, err := newPolicyGuard(deploy.Admission, mgr.GetAPIReader(), mgr.GetClient(), recorder, o.Log)
	if err != nil {
		return err
	}
	if err := mgr.Add(policies); err != nil {
		return fmt.Errorf("setting up the look at admission: %w", err)
	}
	creds := &credentialLoop{
		client: mgr.GetClient(), log: o.Log, now: o.Now, pulses: loop.pulses, inForce: policies.inForce,
		maker: &maker{client: mgr.GetClient(), now: time.Now},
	}
	requests := &requestLoop{
		client: mgr.GetClient(), reader: mgr.GetAPIReader(), events: recorder, log: o.Log, now: o.Now,
		identities: creds, inForce: policies.inForce,
	}
	if err := watchCredentials(mgr, creds); err != nil {
		return fmt.Errorf("setting up the credential loop: %w", err)
	}
	if err := watchRequests(mgr, requests); err != nil {
		return fmt.Errorf("setting up the loop of requests for tokens: %w", err)
	}
	if o.NodeLabel {
		// It looks before it labels, and else never: where there is no Node the policy cannot be tried.
		policy, err := newPolicyGuard(deploy.NodeLabel, mgr.GetAPIReader(), mgr.GetClient(), recorder, o.Log)
		if err != nil {
			return err
		}
		if err := watchLabels(mgr, &labelLoop{client: mgr.GetClient(), inForce: policy.inForce}); err != nil {
			return fmt.Errorf("setting up the loop of labels: %w", err)
		}
	}
	if o.Jobs.Execution != ExecutionDaemon {
		if err := runJobs(mgr, o, loop, recorder, m.jobs); err != nil {
			return fmt.Errorf("setting up the loop of Jobs: %w", err)
		}
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the bridge: %w", err)
	}
	return nil
}

// runJobs adds the loop of Jobs, with a look at the policies of its own: where
// they are missing no Job is made, and all else goes on.
func runJobs(mgr manager.Manager, o Options, status *statusLoop, recorder events.EventRecorder, counted *prometheus.CounterVec) error {
	policies, err := newPolicyGuard(deploy.Jobs, mgr.GetAPIReader(), mgr.GetClient(), recorder, o.Log)
	if err != nil {
		return err
	}
	if err := mgr.Add(policies); err != nil {
		return err
	}
	return watchJobs(mgr, &jobLoop{
		client: mgr.GetClient(), reader: mgr.GetAPIReader(), log: o.Log, now: o.Now, silentAfter: o.SilentAfter,
		pulses: status.pulses, inForce: policies.inForce, counted: counted, options: o.Jobs, braked: o.Rollout.On(),
	})
}

func newManager(cfg *rest.Config, o Options) (manager.Manager, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	// The API server's own priority and fairness holds us back, not a limiter
	// of ours: a thousand nodes may report at once.
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	marked, err := labels.NewRequirement(v1.ComponentLabel, selection.In, []string{v1.ComponentNode, v1.ComponentJoin})
	if err != nil {
		return nil, err
	}
	ours := labels.NewSelector().Add(*marked)
	// Jobs and Pods are asked for only where the loops of Jobs are there: else the
	// bridge may not see them.
	ofJobs := labels.SelectorFromSet(labels.Set{v1.ComponentLabel: v1.ComponentJob})
	mgr, err := manager.New(cfg, manager.Options{
		Scheme: scheme, Logger: libraryLog(o.Log),
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&v1.MultiNicNodeConfig{}: {
				Namespaces: map[string]cache.Config{v1.SystemNamespace: {}},
				Transform:  cache.TransformStripManagedFields(),
			},
			&corev1.ConfigMap{}: {
				Namespaces: map[string]cache.Config{v1.NodesNamespace: {}},
				Label:      labels.SelectorFromSet(labels.Set{v1.ComponentLabel: v1.ComponentReport}),
				Transform:  slimReport,
			},
			&coordinationv1.Lease{}: {
				Namespaces: map[string]cache.Config{v1.NodesNamespace: {}},
				Label:      labels.SelectorFromSet(labels.Set{v1.ComponentLabel: v1.ComponentLease}),
				Transform:  cache.TransformStripManagedFields(),
			},
			&v1.MultiNicNodeRun{}: {
				Namespaces: map[string]cache.Config{v1.SystemNamespace: {}},
				Transform:  cache.TransformStripManagedFields(),
			},
			&v1.NodeTokenRequest{}: {
				Namespaces: map[string]cache.Config{v1.NodesNamespace: {}},
				Transform:  cache.TransformStripManagedFields(),
			},
			&corev1.ServiceAccount{}: {
				Namespaces: map[string]cache.Config{v1.NodesNamespace: {}},
				Label:      ours,
				Transform:  cache.TransformStripManagedFields(),
			},
			&rbacv1.Role{}: {
				Namespaces: map[string]cache.Config{v1.SystemNamespace: {}, v1.NodesNamespace: {}},
				Label:      ours,
				Transform:  cache.TransformStripManagedFields(),
			},
			&rbacv1.RoleBinding{}: {
				Namespaces: map[string]cache.Config{v1.SystemNamespace: {}, v1.NodesNamespace: {}},
				Label:      ours,
				Transform:  cache.TransformStripManagedFields(),
			},
			nodeShell(): {Transform: slimNode},
			&batchv1.Job{}: {
				Namespaces: map[string]cache.Config{v1.NodesNamespace: {}},
				Label:      ofJobs,
				Transform:  cache.TransformStripManagedFields(),
			},
			&corev1.Pod{}: {
				Namespaces: map[string]cache.Config{v1.NodesNamespace: {}},
				Label:      ofJobs,
				Transform:  cache.TransformStripManagedFields(),
			},
		}},
		HealthProbeBindAddress: orNone(o.HealthAddress), Metrics: server.Options{BindAddress: orNone(o.MetricsAddress)},
		PprofBindAddress: o.PprofAddress,
		LeaderElection:   o.LeaderElect, LeaderElectionID: "multinic-bridge", LeaderElectionNamespace: v1.SystemNamespace,
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return nil, err
	}
	if err := mgr.AddHealthzCheck("running", func(*http.Request) error { return nil }); err != nil {
		return nil, err
	}
	return mgr, mgr.AddReadyzCheck("caches", func(req *http.Request) error {
		ctx, cancel := context.WithTimeout(req.Context(), time.Second)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return fmt.Errorf("the caches are not filled yet")
		}
		return nil
	})
}

func orNone(address string) string {
	if address == "" {
		return "0"
	}
	return address
}

// slimReport keeps of a ConfigMap what the bridge reads. A node may write
// whatever fits into an object; the cache holds no more than would be parsed.
func slimReport(o any) (any, error) {
	cm, ok := o.(*corev1.ConfigMap)
	if !ok {
		return o, nil
	}
	text := cm.Data[v1.ReportKey]
	if len(text) > v1.MaxReportSize {
		text = text[:v1.MaxReportSize+1]
	}
	cm.ManagedFields, cm.Annotations, cm.BinaryData, cm.Data = nil, nil, nil, nil
	if text != "" {
		cm.Data = map[string]string{v1.ReportKey: string([]byte(text))}
	}
	return cm, nil
}

// slimNode keeps of a Node's metadata what the bridge reads.
func slimNode(o any) (any, error) {
	n, ok := o.(*metav1.PartialObjectMetadata)
	if !ok {
		return o, nil
	}
	label, labelled := n.Labels[v1.ReadyLabel]
	n.ManagedFields, n.Labels, n.Annotations, n.OwnerReferences, n.Finalizers = nil, nil, nil, nil, nil
	if labelled {
		n.Labels = map[string]string{v1.ReadyLabel: label}
	}
	return n, nil
}
