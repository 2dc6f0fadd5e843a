package legacy

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	v1 "multinicd/api/v1"
)

// Options of the publisher.
type Options struct {
	Log *slog.Logger
	// ReadOnly: no object of a node is written, and the status of older objects goes on.
	ReadOnly bool
	// StatusInterval is the least pause between two writes of one older object's status, which has
	// all nodes.
	StatusInterval time.Duration
	// HealthAddress serves /healthz and /readyz; MetricsAddress serves /metrics. Both are host:port;
	// "" or "0" serves nothing.
	HealthAddress, MetricsAddress string
}

const (
	// settle is how long a pass waits for what comes together with its cause.
	settle = 200 * time.Millisecond
	// resync is the longest pause between two passes.
	resync = 5 * time.Minute
	// retry is the pause after a pass that failed, or that found the cache behind.
	retry = 2 * time.Second
	// passTime bounds a pass.
	passTime = 2 * time.Minute
)

// Run publishes until ctx ends, which is no error. Run returns earlier only if it cannot start.
func Run(ctx context.Context, cfg *rest.Config, o Options) error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, admissionv1.AddToScheme, v1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1 // the API server's own priority and fairness holds us back
	direct, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("setting up the publisher: %w", err)
	}
	mgr, err := manager.New(cfg, manager.Options{
		Scheme: scheme,
		Cache: cache.Options{
			DefaultNamespaces: map[string]cache.Config{v1.SystemNamespace: {}},
			ByObject:          map[client.Object]cache.ByObject{&corev1.Node{}: {Transform: slimNode}},
		},
		// The older objects are read as they are: a document of the field gives them another group.
		Client:                 client.Options{Cache: &client.CacheOptions{Unstructured: true}},
		HealthProbeBindAddress: orNone(o.HealthAddress), Metrics: server.Options{BindAddress: orNone(o.MetricsAddress)},
	})
	if err != nil {
		return fmt.Errorf("setting up the publisher: %w", err)
	}
	m := newMeters()
	if orNone(o.MetricsAddress) != "0" {
		if err := m.register(metrics.Registry); err != nil {
			return err
		}
	}
	if err := mgr.AddHealthzCheck("running", func(*http.Request) error { return nil }); err != nil {
		return err
	}
	guard, err := newPolicies(o, direct)
	if err != nil {
		return fmt.Errorf("setting up the look at admission: %w", err)
	}
	l := &loop{policies: guard, Options: o, meters: m, cache: mgr.GetCache(), mapper: mgr.GetRESTMapper(), direct: direct, wake: make(chan struct{}, 1)}
	if err := mgr.Add(manager.RunnableFunc(l.run)); err != nil {
		return fmt.Errorf("setting up the publisher: %w", err)
	}
	o.Log.Info("publishing", "readOnly", o.ReadOnly, "statusInterval", o.StatusInterval.String())
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the publisher: %w", err)
	}
	return nil
}

func orNone(address string) string {
	if address == "" {
		return "0"
	}
	return address
}

// slimNode keeps only what is read of a Node.
func slimNode(o any) (any, error) {
	n, ok := o.(*corev1.Node)
	if !ok {
		return o, nil
	}
	slim := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name, UID: n.UID, ResourceVersion: n.ResourceVersion}}
	slim.Spec.ProviderID, slim.Status.NodeInfo.SystemUUID = n.Spec.ProviderID, n.Status.NodeInfo.SystemUUID
	return slim, nil
}

// run makes a pass whenever something has changed.
func (l *loop) run(ctx context.Context) error {
	for _, o := range []client.Object{&corev1.Node{}, &v1.MultiNicNodeConfig{}} {
		if err := l.watch(ctx, o); err != nil {
			return err
		}
	}
	for {
		soon, cancel := context.WithTimeout(ctx, passTime)
		next, err := l.pass(soon, time.Now())
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		result := "whole"
		if err != nil {
			l.Log.Warn("a pass failed", "err", err.Error())
			result, next = "failed", retry
		}
		l.meters.passes.WithLabelValues(result).Inc()
		if !l.sleep(ctx, next) {
			return nil
		}
	}
}

// sleep waits for the next pass; false at the end of ctx. A cause that comes at once has others with
// it.
func (l *loop) sleep(ctx context.Context, next time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-l.wake:
	case <-time.After(max(next, time.Second)): // the rest of an interval may be next to nothing
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(settle):
		return true
	}
}

// news says whether there is something new in an object for us. A Node changes with each of its
// heartbeats: with thousands of them there would be a pass after a pass.
func news(was, is any) bool {
	a, ok := was.(*corev1.Node)
	b, same := is.(*corev1.Node)
	return !ok || !same || MachineOf(a) != MachineOf(b)
}

// watch wakes the loop whenever an object of a kind changes.
func (l *loop) watch(ctx context.Context, o client.Object) error {
	informer, err := l.cache.GetInformer(ctx, o)
	if err != nil {
		return fmt.Errorf("watching: %w", err)
	}
	wake := func() {
		select {
		case l.wake <- struct{}{}:
		default: // it is awake
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { wake() }, DeleteFunc: func(any) { wake() },
		UpdateFunc: func(was, is any) {
			if news(was, is) {
				wake()
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watching: %w", err)
	}
	return nil
}
