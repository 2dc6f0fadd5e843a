package chart

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/kube"
	"multinicd/test/bed"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/kubelet"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/product"
	"multinicd/test/bed/sandbox"
)

// The release before this one, so that the test needs no history of the repository: its charts as helm packs them, and what its bridge
// made for a node, as the API server gave it. A name says the version and the commit: the first that others had, and the last.
const (
	firstChart     = "test/suite/chart/testdata/multinic-0.1.0-f72722a.tgz"
	lastChart      = "test/suite/chart/testdata/multinic-0.1.0-59a7d29.tgz"
	formerIdentity = "test/suite/chart/testdata/identity-0.1.0.yaml"
)

// fifty are nodes without hosts: who holds their tokens acts as multinicd does, and goes round and round.
type fifty struct {
	*cluster
	box   *sandbox.Sandbox
	nodes []*member
}

// member is one of them. Each round is a renewal of its token, a Lease, and a report, by the newest token.
type member struct {
	name  string
	dir   string // of its credential
	kube  *kube.Client
	own   client.Client // what kube.Client does when it is time, by the same token
	mu    sync.Mutex
	round int
	wrong []string
}

// The chart of the release before is upgraded to this one under fifty nodes that have joined, and rolled back. No token stops working, no
// request of a node is refused, no object of a node is made anew, and no watch tells that an object is gone.
func TestFiftyNodesComeThroughAnUpgradeOfTheFormerChartAndBack(t *testing.T) {
	t.Parallel()
	for _, chart := range append([]string{firstChart}, prerequisite.Long(lastChart)...) {
		t.Run(filepath.Base(chart), func(t *testing.T) { upgradeAndBack(t, chart) })
	}
}

func upgradeAndBack(t *testing.T, chart string) {
	f := newFifty(t)
	f.runHelm("install", "multinic", chart, "--namespace", system, "--create-namespace")
	if err := f.Served(t.Context(), "multinicnodeconfigs.multinic.io", "nodetokenrequests.multinic.io"); err != nil {
		t.Fatal(err)
	}
	f.join(50)
	f.live()
	began := time.Now()
	f.rounds("with the former chart")
	before := f.objects()

	f.runHelm("upgrade", "multinic", "charts/multinic", "--namespace", system)
	bridge, err := product.StartBridge(t.Context(), f.box, f.Cluster, bed.Build(t, "./cmd/bridge"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bridge says of each node that it is configured", func(context.Context) string {
		if states := strings.Fields(f.print("/apis/multinic.io/v1/namespaces/"+system+"/multinicnodeconfigs", "{.items[*].status.state}")); strings.Count(strings.Join(states, " "), string(v1.StateConfigured)) < len(f.nodes) {
			return fmt.Sprintf("%d nodes: %v\n%s", len(states), states, bridge.Log())
		}
		return ""
	})
	f.rounds("after the upgrade")
	f.shared()
	f.rounds("with the rights that all share")
	f.sameObjects("after the upgrade", before)

	bridge.Stop()
	f.runHelm("rollback", "multinic", "1", "--namespace", system)
	f.rounds("after the way back")
	f.sameObjects("after the way back", before)
	f.noneWasRefused(began)
}

func newFifty(t *testing.T) *fifty {
	t.Helper()
	b := bed.New(t)
	c := &cluster{Cluster: b.OwnCluster(controlplane.Options{}), t: t, bed: b}
	var err error
	if c.helm, err = kubelet.Helm(t.Context(), t.Logf); err != nil {
		t.Fatal(err)
	}
	f := &fifty{cluster: c}
	if f.box, err = sandbox.New(context.WithoutCancel(t.Context()), t.Logf); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.box.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// join makes nodes with their objects, and gives each the identity that the former bridge would have given it.
func (f *fifty) join(count int) {
	f.t.Helper()
	ctx := f.t.Context()
	identity, err := os.ReadFile(bed.Path(f.t, formerIdentity))
	if err != nil {
		f.t.Fatal(err)
	}
	var all strings.Builder
	for i := range count {
		m := &member{name: fmt.Sprintf("fifty-%02d", i), dir: f.t.TempDir()}
		f.nodes = append(f.nodes, m)
		node := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: m.name}}
		if err := f.Post(ctx, "/api/v1/nodes", &node); err != nil {
			f.t.Fatal(err)
		}
		object := v1.MultiNicNodeConfig{
			TypeMeta:   metav1.TypeMeta{APIVersion: v1.GroupVersion.String(), Kind: "MultiNicNodeConfig"},
			ObjectMeta: metav1.ObjectMeta{Name: m.name, Namespace: system},
			Spec:       v1.MultiNicNodeConfigSpec{NodeName: m.name, Interfaces: []v1.Interface{{ID: new(int32(1)), MACAddress: "02:00:00:00:01:01"}}},
		}
		if err := f.Post(ctx, "/apis/multinic.io/v1/namespaces/"+system+"/multinicnodeconfigs", &object); err != nil {
			f.t.Fatal(err)
		}
		all.WriteString(strings.NewReplacer("NODE-UID", string(node.UID), "OBJECT-UID", string(object.UID), "NODE", m.name).Replace(string(identity)))
	}
	file := filepath.Join(f.t.TempDir(), "identities.yaml")
	if err := os.WriteFile(file, []byte(all.String()), 0o600); err != nil {
		f.t.Fatal(err)
	}
	// By the bridge's own rights, and in its name: an upgrade goes by who has written a field.
	f.kubectl("apply", "--server-side", "--field-manager="+v1.BridgeFieldOwner, "--as=system:serviceaccount:"+system+":multinic-bridge", "-f", file)
	for _, m := range f.nodes {
		cfg := &rest.Config{Host: f.URL, QPS: -1, TLSClientConfig: rest.TLSClientConfig{CAData: f.CA}}
		cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return newest{m.dir, next} })
		if m.own, err = product.Client(cfg); err != nil {
			f.t.Fatal(err)
		}
		token, err := product.AdmitAs(ctx, f.Cluster, v1.BridgeAccount, m.name) // the former bridge had one identity
		if err != nil {
			f.t.Fatal(err)
		}
		for name, text := range map[string]string{"server": f.URL, "ca.crt": string(f.CA), "token": token} {
			if err := product.Folder(m.dir).Write(name, []byte(text)); err != nil {
				f.t.Fatal(err)
			}
		}
		if m.kube, err = kube.New(kube.Options{Node: m.name, Version: "former", CredentialDir: m.dir, Log: slog.New(slog.DiscardHandler)}); err != nil {
			f.t.Fatal(err)
		}
	}
}

// again is how the API server's storage answers for a moment while a definition changes: 429, and come again. A node does.
func again(err error) bool { return kube.ClassOf(err) == kube.Throttled }

// live has the nodes act until the test ends. A node watches its object all the time.
func (f *fifty) live() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	var all sync.WaitGroup
	for _, m := range f.nodes {
		all.Go(func() {
			_ = m.kube.Watch(ctx, func(o kube.Observation) {
				if o.Err != nil && !again(o.Err) || o.Absent {
					m.say("its watch tells of its object: absent %v, %v", o.Absent, o.Err)
				}
			})
		})
		all.Go(func() {
			for ctx.Err() == nil {
				if err := m.goRound(ctx); err != nil && ctx.Err() == nil && !again(err) {
					m.say("%v", err)
				}
				select {
				case <-ctx.Done():
				case <-time.After(5 * time.Second):
				}
			}
		})
	}
	f.t.Cleanup(func() { cancel(); all.Wait() })
}

// newest puts the member's newest token into each request.
type newest struct {
	dir  string
	next http.RoundTripper
}

func (n newest) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := os.ReadFile(filepath.Join(n.dir, "token"))
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(token))
	return n.next.RoundTrip(r)
}

// goRound renews the token by itself, as multinicd does every 48 min, and uses it for all that a node writes.
func (m *member) goRound(ctx context.Context) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: v1.ServiceAccountName(m.name)}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(int64(3600)), BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Node", Name: m.name},
	}}
	if err := m.own.SubResource("token").Create(ctx, account, request); err != nil {
		return fmt.Errorf("renewing the token: %w", err)
	}
	if err := product.Folder(m.dir).Write("token", []byte(request.Status.Token)); err != nil {
		return err
	}
	o := m.kube.Get(ctx)
	if o.Err != nil {
		return o.Err
	}
	if o.Object == nil {
		return errors.New("reading its object: there is none")
	}
	report, err := v1.Report{Node: m.name, UID: o.Object.UID, Generation: o.Object.Generation, Phase: v1.PhaseDone, Executor: v1.ExecutorDaemon, Version: "former",
		Interfaces: []v1.InterfaceStatus{{ID: 1, Name: "multinic1", MACAddress: "02:00:00:00:01:01", Status: v1.StateConfigured, Reason: v1.ReasonConfigured}}}.Encode()
	if err != nil {
		return err
	}
	if err := m.kube.PutReport(ctx, report); err != nil {
		return err
	}
	if err := m.kube.RenewLease(ctx, m.name); err != nil {
		return err
	}
	m.mu.Lock()
	m.round++
	m.mu.Unlock()
	return nil
}

func (m *member) say(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

// rounds waits until each node has begun and ended a round from now on, and looks whether anything went wrong in any.
func (f *fifty) rounds(when string) {
	f.t.Helper()
	at := map[string]int{}
	for _, m := range f.nodes {
		m.mu.Lock()
		at[m.name] = m.round + 2 // one may be under way
		m.mu.Unlock()
	}
	eventually(f.t, "each node has gone round "+when, func(context.Context) string {
		for _, m := range f.nodes {
			m.mu.Lock()
			round, wrong := m.round, m.wrong
			m.mu.Unlock()
			if len(wrong) > 0 {
				f.t.Fatalf("%s, %s: %s", m.name, when, strings.Join(wrong, "\n"))
			}
			if round < at[m.name] {
				return m.name + " has not"
			}
		}
		return ""
	})
}

// objects are all that the nodes have in the cluster, with their uids, except what this release gives all of them together.
func (f *fifty) objects() map[string]string {
	f.t.Helper()
	out := map[string]string{}
	for _, args := range [][]string{
		{"serviceaccounts,configmaps,leases", "-n", v1.NodesNamespace}, {"roles,rolebindings,multinicnodeconfigs", "-n", system},
		{"namespaces,customresourcedefinitions,nodes"},
	} {
		text := f.kubectl(append([]string{"get", "-o", `jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.uid}{"\n"}{end}`}, args...)...)
		for line := range strings.Lines(text) {
			i := strings.LastIndex(strings.TrimSpace(line), " ")
			out[line[:i]] = strings.TrimSpace(line[i:])
		}
	}
	if len(out) < 7*len(f.nodes) {
		f.t.Fatalf("there are %d objects of %d nodes", len(out), len(f.nodes))
	}
	return out
}

// sameObjects fails the test where one of them is gone, or another one.
func (f *fifty) sameObjects(when string, before map[string]string) {
	f.t.Helper()
	now := f.objects()
	for what, uid := range before {
		if now[what] != uid {
			f.t.Errorf("%s: %s had uid %s, has %q", when, what, uid, now[what])
		}
	}
}

// shared waits until the nodes share their rights in multinic-nodes: the former bridge had given two Roles and RoleBindings to each.
func (f *fifty) shared() {
	f.t.Helper()
	eventually(f.t, "the nodes have no rights of their own in multinic-nodes", func(context.Context) string {
		names := f.kubectl("get", "roles,rolebindings", "-n", v1.NodesNamespace, "-o", "name")
		if n := strings.Count(names, "fifty-"); n > 0 {
			return fmt.Sprintf("there are %d", n)
		}
		for _, name := range []string{v1.SharedNodes, v1.SharedKubelets} {
			if !strings.Contains(names, "rolebinding.rbac.authorization.k8s.io/"+name) {
				return name + " is missing"
			}
		}
		return ""
	})
}

// noneWasRefused reads the audit log: of the nodes' requests all were answered well, and nobody has deleted anything of theirs.
func (f *fifty) noneWasRefused(since time.Time) {
	f.t.Helper()
	requests, err := f.Requests()
	if err != nil {
		f.t.Fatal(err)
	}
	answered := 0
	for _, r := range requests {
		ofNode := strings.HasPrefix(r.User.Username, "system:serviceaccount:"+v1.NodesNamespace+":multinic-node-fifty-")
		if ofNode && r.ResponseStatus.Code < 400 {
			answered++
		}
		if r.Received.Before(since) {
			continue
		}
		if ofNode && r.ResponseStatus.Code >= 400 && r.ResponseStatus.Code != http.StatusTooManyRequests { // see again
			f.t.Errorf("%s %s by %s: %d", r.Verb, r.RequestURI, r.User.Username, r.ResponseStatus.Code)
		}
		own := r.ObjectRef.Namespace == v1.NodesNamespace && (r.ObjectRef.Resource == "roles" || r.ObjectRef.Resource == "rolebindings") // see shared
		if (r.Verb == "delete" || r.Verb == "deletecollection") && strings.Contains(r.ObjectRef.Name, "fifty-") && !own {
			f.t.Errorf("%s deleted %s", r.User.Username, r.RequestURI)
		}
	}
	f.t.Logf("%d requests of %d nodes were answered", answered, len(f.nodes))
	if answered < 5*len(f.nodes)*3 {
		f.t.Errorf("%d requests of nodes only", answered)
	}
}
