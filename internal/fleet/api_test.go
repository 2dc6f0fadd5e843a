package fleet

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/hosttest"
	"multinicd/internal/terminal/layout"
	"multinicd/internal/web"
	"multinicd/internal/web/webtest"
)

func ourScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// where says where the kinds are served: this API server does not tell.
func where() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	for kind, version := range map[string]schema.GroupVersion{v1.NodeConfigKind: v1.GroupVersion, v1.TokenRequestKind: v1.GroupVersion,
		"ConfigMap": corev1.SchemeGroupVersion, "ServiceAccount": corev1.SchemeGroupVersion, "Event": corev1.SchemeGroupVersion, "Lease": coordinationv1.SchemeGroupVersion} {
		m.Add(version.WithKind(kind), meta.RESTScopeNamespace)
		m.Add(version.WithKind(kind+"List"), meta.RESTScopeNamespace)
	}
	return m
}

// What `kubectl multinic node NAME` shows, of nodes of an API server.
func TestTheScreensOfANode(t *testing.T) {
	api := webtest.New(t)
	got := map[string]string{}
	c, err := client.New(api.Config(), client.Options{Scheme: ourScheme(t), Mapper: where()})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		api.Put(webtest.Node(t, i, noon)...)
	}
	name := webtest.NodeName(13)
	api.Put(webtest.Event(name, "a", "Normal", "Settled", "all NICs are as wanted", noon.Add(-time.Hour)), webtest.Event(name, "b", "Warning", "NameTaken", "another link is called multinic2", noon.Add(-5*time.Minute)),
		webtest.Event(webtest.NodeName(1), "c", "Warning", "NameTaken", "of another node", noon))
	for file, node := range map[string]string{"node-that-failed": name, "node-that-is-well": webtest.NodeName(1), "node-that-was-put-right": webtest.NodeName(1)} {
		d, missing, err := web.Look(t.Context(), c, node)
		if err != nil || len(missing) > 0 || !d.Known {
			t.Fatalf("%s: %v %v", node, missing, err)
		}
		if file == "node-that-was-put-right" {
			d.Interfaces[0].Repair = &web.Repair{At: noon.Add(-3 * time.Minute).Unix(), Count: 2, About: "mtu: want 1450, have 1300 (by unknown)"}
		}
		hosttest.Screens(t, file, got, func(p layout.Page) string { return NodeScreen(d, missing, p, noon) })
		delete(got, file+".80-v.txt")
	}
	hosttest.Golden(t, "testdata/node", got, *update)

	api.Refuse("list events", "list leases")
	_, missing, err := web.Look(t.Context(), c, name)
	if err != nil || len(missing) != 2 || !strings.Contains(strings.Join(missing, "\n"), "Events cannot be shown, because you may not read Events in "+v1.SystemNamespace) {
		t.Errorf("without the right to read some: %q, %v", missing, err)
	}
	api.Refuse("list multinicnodeconfigs")
	if _, _, err := web.Look(t.Context(), c, name); err == nil {
		t.Error("without the right to read objects it says nothing")
	}
	api.Allow()
	if d, _, err := web.Look(t.Context(), c, "nobody"); err != nil || d.Known {
		t.Errorf("a node that nobody knows: %+v, %v", d, err)
	}
}

// printed is a pipe that is looked into.
type printed struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *printed) Write(b []byte) (int, error) { p.mu.Lock(); defer p.mu.Unlock(); return p.b.Write(b) }
func (p *printed) has(words string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Contains(p.b.String(), words)
}

func TestAWatchedFleetSaysWhatIsNew(t *testing.T) {
	api := webtest.New(t)
	api.Put(webtest.Fleet(t, 3, time.Now())...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out printed
	ended := make(chan error, 1)
	go func() {
		ended <- Watch(ctx, &out, Cluster{api.Config(), ourScheme(t), where()}, labels.Everything(), func(from client.Reader) ([]Node, error) {
			return List(ctx, from, labels.Everything(), func(Node, []string) bool { return true })
		})
	}()
	eventually := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s is not seen:\n%s", what, out.b.String())
			}
		}
	}
	eventually("the first list", func() bool { return out.has(webtest.NodeName(2) + "  ") })
	o, ok := webtest.Node(t, 1, time.Now())[0].(*v1.MultiNicNodeConfig)
	if !ok {
		t.Fatal("the first is no object")
	}
	o.Status.State, o.Status.ReadyInterfaces = v1.StateFailed, "0/2"
	api.Put(o)
	eventually("the change", func() bool { return out.has("Z " + o.Name + "  Failed  ") })
	api.Stop()
	eventually("that the API server is away", func() bool { return out.has("what is shown may be old") })
	api.Start()
	o.Status.State = v1.StatePending
	api.Put(o)
	eventually("what came after that", func() bool { return out.has("Z " + o.Name + "  Pending  ") })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
