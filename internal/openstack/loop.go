package openstack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	v1 "multinicd/api/v1"
	"multinicd/internal/publish"
)

const (
	// pollTime bounds a walk and what follows from it.
	pollTime = 15 * time.Minute
	// slowest is by how much the pause grows while walks fail.
	slowest = 8
	// eventsEach bounds the Events about one node after one walk.
	eventsEach = 5
)

// Run publishes until ctx ends, which is no error. A walk that has begun is given up then. Run
// returns earlier only if it cannot start.
func Run(ctx context.Context, cfg *rest.Config, o Options) error {
	m := newMeters()
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	direct, err := newClient(cfg, scheme)
	if err != nil {
		return fmt.Errorf("setting up the publisher: %w", err)
	}
	mgr, err := manager.New(cfg, manager.Options{
		Scheme: scheme,
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&corev1.Node{}:           {Transform: slimNode},
			&v1.MultiNicNodeConfig{}: {Namespaces: map[string]cache.Config{v1.SystemNamespace: {}}},
		}},
		HealthProbeBindAddress: orNone(o.HealthAddress), Metrics: server.Options{BindAddress: orNone(o.MetricsAddress)},
	})
	if err != nil {
		return fmt.Errorf("setting up the publisher: %w", err)
	}
	if orNone(o.MetricsAddress) != "0" {
		if err := m.register(metrics.Registry); err != nil {
			return err
		}
	}
	if err := mgr.AddHealthzCheck("running", func(*http.Request) error { return nil }); err != nil {
		return err
	}
	l := &loop{
		poller: newPoller(o, m, mgr.GetClient(), direct),
		events: mgr.GetEventRecorder(v1.PublisherOpenStack), said: map[string]string{},
	}
	if err := mgr.Add(manager.RunnableFunc(l.run)); err != nil {
		return fmt.Errorf("setting up the publisher: %w", err)
	}
	o.Log.Info("publishing", "clouds", o.Clouds, "interval", o.Interval.String(), "networks", len(o.Rules.Networks), "subnets", len(o.Rules.Subnets), "tags", len(o.Rules.Tags))
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the publisher: %w", err)
	}
	return nil
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return scheme, nil
}

func newClient(cfg *rest.Config, scheme *runtime.Scheme) (client.Client, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1 // the API server's own priority and fairness holds us back
	return client.New(cfg, client.Options{Scheme: scheme})
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
	slim.Spec.ProviderID, slim.Status.NodeInfo.SystemUUID, slim.Status.Addresses = n.Spec.ProviderID, n.Status.NodeInfo.SystemUUID, n.Status.Addresses
	if ip, is := n.Annotations[providedIP]; is {
		slim.Annotations = map[string]string{providedIP: ip}
	}
	return slim, nil
}

// loop is what runs for ever. It is for one goroutine.
type loop struct {
	*poller
	events events.EventRecorder
	// said is what was last said about a node.
	said map[string]string
}

func (l *loop) run(ctx context.Context) error {
	failed := 0
	for {
		soon, cancel := context.WithTimeout(ctx, pollTime)
		begun := time.Now()
		v, results, err := l.poll(soon, false)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			failed++
			l.Log.Warn("a walk was not whole", "err", err.Error())
		} else {
			failed = 0
		}
		if v.Nodes == nil && err != nil {
			l.meters.polls.WithLabelValues("failed").Inc()
		} else {
			l.meters.count(v, results, err == nil, time.Now(), time.Since(begun))
			l.tell(v, results, err == nil)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause(l.Interval, failed, rand.Float64())):
		}
	}
}

// pause is how long to wait after a walk; chance is between 0 and 1.
func pause(interval time.Duration, failed int, chance float64) time.Duration {
	d := interval * time.Duration(min(1<<min(failed, 3), slowest))
	return d + time.Duration((chance-0.5)*0.4*float64(d))
}

// tell logs what was written, and says in Events and the log what is new about a node. After a walk
// that was not whole, nothing is over, and a node without ports is no news.
func (l *loop) tell(v Verdict, results []publish.Result, whole bool) {
	if was := l.said[""]; v.Held > 0 && was != v.Word {
		l.Log.Warn("removals are held", "held", v.Held, "annotation", v1.ConfirmRemovalsAnnotation+"="+v.Word)
		l.said[""] = v.Word
	}
	next := map[string]string{"": l.said[""]}
	for n, result := range v.with(results) {
		text := l.about(n, result)
		if !whole && (text == "" || n.Frozen == NoPrimary) {
			text = l.said[n.Node]
		}
		if text == l.said[n.Node] {
			next[n.Node] = text
			continue
		}
		next[n.Node] = text
		if text != "" {
			l.Log.Warn("a node needs attention", "node", n.Node, "reason", text)
		}
		l.record(n, result)
	}
	l.said = next
}

// about logs what was written for a node, and gives what is to be said about it; "" for nothing.
func (l *loop) about(n NodeVerdict, result *publish.Result) string {
	var words []string
	if n.Frozen != "" && n.Frozen != NotOfCloud {
		words = append(words, string(n.Frozen)+": "+n.Message)
	}
	for _, r := range n.Remarks {
		if r.Reason.quiet() {
			continue
		}
		words = append(words, r.String())
	}
	if result == nil {
		return strings.Join(words, "; ")
	}
	switch result.Action {
	case publish.Created, publish.Changed:
		l.Log.Info("wrote the object", "node", n.Node, "generation", result.Generation, "action", string(result.Action), "diff", result.Diff)
	case publish.Refused:
		if result.Reason == publish.Outdated {
			break // the next walk decides anew
		}
		words = append(words, string(result.Reason)+": "+result.Message)
	}
	return strings.Join(words, "; ")
}

// quiet are the reasons for which nobody has to do anything.
func (r Reason) quiet() bool {
	return r == Primary || r == NotAllowed || r == Subport || r == RemovalPending
}

// record makes Events on the node's object, if there is one.
func (l *loop) record(n NodeVerdict, result *publish.Result) {
	object := &v1.MultiNicNodeConfig{}
	key := client.ObjectKey{Namespace: v1.SystemNamespace, Name: n.Node}
	if l.cluster.Get(context.Background(), key, object) != nil {
		return // from the cache: there is none
	}
	left := eventsEach
	say := func(reason, message string) {
		if left--; left >= 0 {
			l.events.Eventf(object, nil, corev1.EventTypeWarning, reason, "Publish", "%s", message)
		}
	}
	if n.Frozen != "" && n.Frozen != NotOfCloud {
		say(string(n.Frozen), n.Message)
	}
	if result != nil && result.Action == publish.Refused && result.Reason != publish.Outdated {
		say(string(result.Reason), result.Message)
	}
	for _, r := range n.Remarks {
		if !r.Reason.quiet() {
			say(string(r.Reason), strings.TrimSpace(r.Name+" port "+r.PortID)+": "+r.Message)
		}
	}
}
