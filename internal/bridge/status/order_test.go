package status

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllertest"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

const (
	many  = 40
	alone = "alone"
	heard = time.Minute // ago, when the nodes have something
)

// fleet is many nodes and one more, with the loop as it is wired: its controller, its queue and its workers. The caches get the
// events that the test tells, and each status that is written waits at a gate.
type fleet struct {
	t                *testing.T
	client           client.Client
	pulses           *gather.Pulses
	objects, reports *controllertest.FakeInformer

	mu    sync.Mutex
	wrote []string // the nodes whose status a worker began to write
	gate  chan struct{}
}

func names() (all []string) {
	for i := range many {
		all = append(all, fmt.Sprintf("node-%03d", i))
	}
	return append(all, alone)
}

func uidOf(node string) types.UID { return types.UID("uid-" + node) }

// text is the report of a node about a generation.
func (f *fleet) text(node string, generation int64, said string) map[string]string {
	r := bridgetest.Report(generation, bridgetest.Configured(1), bridgetest.NIC(2, v1.StateConfigured, v1.ReasonConfigured, said))
	r.Node, r.UID = node, uidOf(node)
	return map[string]string{v1.ReportKey: bridgetest.Text(f.t, r)}
}

func newFleet(t *testing.T) *fleet {
	f := &fleet{t: t, pulses: gather.NewPulses(), gate: make(chan struct{})}
	builder := bridgetest.NewBuilder(t)
	for _, node := range names() {
		report := &corev1.ConfigMap{ObjectMeta: bridgetest.InNodes(v1.ReportName(node)), Data: f.text(node, 1, "")}
		builder = builder.WithObjects(report, bridgetest.Object(1, func(o *v1.MultiNicNodeConfig) {
			o.ObjectMeta = bridgetest.InSystem(node)
			o.UID, o.Spec.NodeName = uidOf(node), node
		}))
		f.pulses.Observe(node, "renewed", time.Now())
	}
	f.client = builder.WithInterceptorFuncs(interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
		f.mu.Lock()
		f.wrote = append(f.wrote, o.GetName())
		gate := f.gate
		f.mu.Unlock()
		<-gate
		return c.SubResource(sub).Patch(ctx, o, p, opts...)
	}}).Build()

	caches := &informertest.FakeInformers{Scheme: f.client.Scheme()}
	for o, to := range map[client.Object]**controllertest.FakeInformer{
		&v1.MultiNicNodeConfig{}: &f.objects, &corev1.ConfigMap{}: &f.reports, &v1.MultiNicNodeRun{}: nil, &coordinationv1.Lease{}: nil,
	} {
		informer, err := caches.FakeInformerFor(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if to != nil {
			*to = informer
		}
	}
	mgr, err := manager.New(&rest.Config{}, manager.Options{
		Scheme:         f.client.Scheme(),
		Metrics:        server.Options{BindAddress: "0"},
		NewCache:       func(*rest.Config, cache.Options) (cache.Cache, error) { return caches, nil },
		NewClient:      func(*rest.Config, client.Options) (client.Client, error) { return f.client, nil },
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return meta.NewDefaultRESTMapper(nil), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	loop := newLoop(bridgetest.World{Client: f.client, Now: time.Now, Pulses: f.pulses, Log: slog.New(slog.DiscardHandler)})
	loop.Jobs = false
	if err := Watch(mgr, loop); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return f
}

// shut has each status that is written from now on wait for a value of the channel, or its end.
func (f *fleet) shut() (gate chan<- struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrote, f.gate = nil, make(chan struct{})
	return f.gate
}

// reported puts a report into the store, and tells of it if the cache is to.
func (f *fleet) reported(node string, generation int64, said string, tell bool) {
	f.t.Helper()
	var before corev1.ConfigMap
	if err := f.client.Get(f.t.Context(), client.ObjectKey{Namespace: v1.NodesNamespace, Name: v1.ReportName(node)}, &before); err != nil {
		f.t.Fatal(err)
	}
	after := before.DeepCopy()
	after.Data = f.text(node, generation, said)
	if err := f.client.Update(f.t.Context(), after); err != nil {
		f.t.Fatal(err)
	}
	if tell {
		f.reports.Update(&before, after)
	}
}

// changed changes the spec of an object, and tells of it.
func (f *fleet) changed(node string) {
	f.t.Helper()
	var before v1.MultiNicNodeConfig
	if err := f.client.Get(f.t.Context(), client.ObjectKey{Namespace: v1.SystemNamespace, Name: node}, &before); err != nil {
		f.t.Fatal(err)
	}
	after := before.DeepCopy()
	after.Generation++
	after.Spec.SpecHash = fmt.Sprintf("hash-%d", after.Generation)
	if err := f.client.Update(f.t.Context(), after); err != nil {
		f.t.Fatal(err)
	}
	f.objects.Update(&before, after)
}

// Many nodes have something at the same time, and then one has news of its own.
func TestANodeWithNewsIsWorkedOnAheadOfMany(t *testing.T) {
	for sentence, row := range map[string]struct {
		others func(*fleet, string)
		after  time.Duration // they have it so much later
		one    func(*fleet)
	}{
		"whose objects were changed, while it reports": {
			others: (*fleet).changed,
			after:  quickChange,
			one:    func(f *fleet) { f.reported(alone, 1, "something else", true) },
		},
		"whose objects were changed, as its own was, for which its report waits": {
			others: (*fleet).changed,
			after:  quickChange,
			one: func(f *fleet) {
				f.reported(alone, 2, "", false) // the cache had this before the object
				f.changed(alone)
			},
		},
		"that fall silent, while it reports": {
			others: func(*fleet, string) {},
			after:  v1.SilentAfter - heard + time.Second,
			one:    func(f *fleet) { f.reported(alone, 1, "something else", true) },
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t)
				close(f.gate)
				for _, node := range names() {
					f.reported(node, 1, "for the first time", true)
				}
				synctest.Wait()
				if len(f.wrote) != many+1 {
					t.Fatalf("%d statuses were written before it begins, want %d", len(f.wrote), many+1)
				}
				time.Sleep(heard)
				f.pulses.Observe(alone, "renewed again", time.Now())
				gate := f.shut()
				for _, node := range names()[:many] {
					row.others(f, node)
				}
				time.Sleep(row.after)
				synctest.Wait()
				row.one(f)
				synctest.Wait()
				gate <- struct{}{}
				synctest.Wait() // a worker has taken up another
				if len(f.wrote) != gather.Workers+1 || f.wrote[gather.Workers] != alone {
					t.Errorf("a worker of %d takes up %q next, want %q", gather.Workers, f.wrote[min(gather.Workers, len(f.wrote)):], alone)
				}
				close(gate)
				synctest.Wait()
				slices.Sort(f.wrote)
				if all := slices.Compact(f.wrote); len(all) != many+1 {
					t.Errorf("statuses of %d nodes are written, want %d", len(all), many+1)
				}
			})
		})
	}
}
