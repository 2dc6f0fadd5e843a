package bridge

import (
	"context"
	"fmt"
	"net/http"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

func newManager(cfg *rest.Config, o Options) (manager.Manager, error) {
	scheme, err := gather.Scheme()
	if err != nil {
		return nil, err
	}
	// The API server's own priority and fairness holds us back, not a limiter of ours. A thousand
	// nodes may report at once.
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	marked, err := labels.NewRequirement(v1.ComponentLabel, selection.In, []string{v1.ComponentNode, v1.ComponentJoin})
	if err != nil {
		return nil, err
	}
	ours := labels.NewSelector().Add(*marked)
	// Jobs and Pods are listed only if the loops of Jobs are there. Otherwise the bridge may not
	// see them.
	ofJobs := labels.SelectorFromSet(labels.Set{v1.ComponentLabel: v1.ComponentJob})
	mgr, err := manager.New(cfg, manager.Options{
		Scheme: scheme, Logger: libraryLog(o.Log),
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&v1.MultiNicNodeConfig{}: {
				Namespaces: map[string]cache.Config{v1.SystemNamespace: {}},
				Transform:  slim,
			},
			&corev1.ConfigMap{}: {
				Namespaces: map[string]cache.Config{v1.NodesNamespace: {}},
				Label:      labels.SelectorFromSet(labels.Set{v1.ComponentLabel: v1.ComponentReport}),
				Transform:  slim,
			},
			&coordinationv1.Lease{}: {
				Namespaces: map[string]cache.Config{v1.NodesNamespace: {}},
				Label:      labels.SelectorFromSet(labels.Set{v1.ComponentLabel: v1.ComponentLease}),
				Transform:  slim,
			},
			&v1.MultiNicNodeRun{}: {
				Namespaces: map[string]cache.Config{v1.SystemNamespace: {}},
				Transform:  slim,
			},
			&v1.NodeTokenRequest{}: {
				Namespaces: map[string]cache.Config{v1.NodesNamespace: {}},
				Transform:  slim,
			},
			&corev1.ServiceAccount{}: {
				Namespaces: map[string]cache.Config{v1.NodesNamespace: {}},
				Label:      ours,
				Transform:  slim,
			},
			&rbacv1.Role{}: {
				Namespaces: map[string]cache.Config{v1.SystemNamespace: {}, v1.NodesNamespace: {}},
				Label:      ours,
				Transform:  slim,
			},
			&rbacv1.RoleBinding{}: {
				Namespaces: map[string]cache.Config{v1.SystemNamespace: {}, v1.NodesNamespace: {}},
				Label:      ours,
				Transform:  slim,
			},
			gather.NodeShell(): {Transform: slim},
			&batchv1.Job{}: {
				Namespaces: map[string]cache.Config{v1.NodesNamespace: {}},
				Label:      ofJobs,
				Transform:  slim,
			},
			&corev1.Pod{}: {
				Namespaces: map[string]cache.Config{v1.NodesNamespace: {}},
				Label:      ofJobs,
				Transform:  slim,
			},
		}},
		HealthProbeBindAddress: orNone(o.HealthAddress), Metrics: server.Options{BindAddress: orNone(o.MetricsAddress)},
		PprofBindAddress: o.PprofAddress,
		LeaderElection:   o.LeaderElect, LeaderElectionID: o.Duty.Account(), LeaderElectionNamespace: v1.SystemNamespace,
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
