// Package credential proves, against a real API server, who may do what: what
// the bridge hands out and to whom, what each identity can and cannot do with
// it, and when it ends.
//
// In go the CRDs and the manifests of deploy/, and requests of real identities:
// tokens, certificates, nobody. Out comes the table in docs/security.md. No host
// is booted: a node here is who holds its token.
//
// The tests share one control plane and run one after the other, each with a
// bridge and nodes of its own.
//
// Start reading at TestAKubeletGetsItsNodeAToken and the table in matrix_test.go.
package credential

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge"
	"multinicd/test/bed"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/product"
)

func TestMain(m *testing.M) {
	bed.InEachPart("TestTheMatrixIsTrue", "TestAMaliciousNodeHarmsNobodyElse")
	bridge.LogLibraries(slog.New(slog.DiscardHandler))
	os.Exit(bed.Main(m, awaitRefusals))
}

// cluster is the shared control plane with the product's manifests in it.
type cluster struct {
	*controlplane.Cluster
	t     *testing.T
	admin client.Client
	// tokens are those of the clients that have nothing else.
	tokens map[client.Client]string
	agent  string // the user agent of the bridges to come, "" for the library's own
}

// installed: the first test that gets the shared control plane fills it.
var installed sync.Once

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{Cluster: bed.New(t).Cluster(), t: t, tokens: map[client.Client]string{}}
	c.admin = newClient(t, c.Config())
	installed.Do(c.install)
	return c
}

func (c *cluster) install() {
	c.t.Helper()
	apply := func(file string) { c.kubectl("apply", "--server-side", "--force-conflicts", "-f", bed.Path(c.t, file)) }
	for _, file := range []string{"deploy/crds.yaml", "deploy/bridge.yaml", "deploy/publisher.yaml"} {
		apply(file)
	}
	for _, install := range []func(context.Context, *controlplane.Cluster) error{product.InstallIntake, product.InstallOpenStack, product.InstallLegacy} {
		if err := install(c.t.Context(), c.Cluster); err != nil {
			c.t.Fatal(err)
		}
	}
	c.workloads()
	apply("deploy/admission.yaml")
	if err := c.Served(c.t.Context(), "multinicnodeconfigs.multinic.io", "multinicbizconfigs.multinic.io", "nodetokenrequests.multinic.io",
		"multinicnoderuns.multinic.io"); err != nil {
		c.t.Fatal(err)
	}
	// The API server takes policies into use a moment after it has them. The bridge makes an identity when each has refused its probe.
	const node = "first"
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
	if err := c.admin.Create(c.t.Context(), n); err != nil {
		c.t.Fatal(err)
	}
	stop := c.bridge(nil)
	c.account(node)
	stop()
	c.delete(n)
}

// workloads makes the Pod and the Jobs of the matrix, which are older than the policies: those let nobody make one.
func (c *cluster) workloads() {
	c.t.Helper()
	pod := restricted()
	c.eventually("a Pod can be made", func() string { // its ServiceAccount is a controller's to make
		return may(client.IgnoreAlreadyExists(c.admin.Create(c.t.Context(), &corev1.Pod{ObjectMeta: inNodes("matrix-pod"), Spec: pod})))
	})
	for _, name := range []string{"matrix-job", bridgesJob} {
		job := &batchv1.Job{ObjectMeta: inNodes(name), Spec: batchv1.JobSpec{Suspend: new(true), Template: corev1.PodTemplateSpec{Spec: pod}}}
		if err := c.admin.Create(c.t.Context(), job); err != nil {
			c.t.Fatal(err)
		}
	}
}

// restricted is a Pod that the Pod security standard of that name lets through, and that no scheduler sees.
func restricted() corev1.PodSpec {
	container := corev1.Container{Name: "x", Image: "example.com/x", SecurityContext: &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), RunAsNonRoot: new(true), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}}
	return corev1.PodSpec{SchedulerName: "nobody", RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{container}}
}

func (c *cluster) kubectl(args ...string) string {
	c.t.Helper()
	out, err := c.Kubectl(c.t.Context(), args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// token asks for one of a ServiceAccount, as the administrator.
func (c *cluster) token(namespace, account string) string {
	c.t.Helper()
	token, err := product.Token(c.t.Context(), c.Cluster, namespace, account)
	if err != nil {
		c.t.Fatal(err)
	}
	return token
}

func newClient(t *testing.T, cfg *rest.Config) client.Client {
	t.Helper()
	cl, err := product.Client(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// bearer is a client that has a token and nothing else.
func (c *cluster) bearer(token string) client.Client {
	c.t.Helper()
	as := newClient(c.t, c.bearerConfig(token))
	c.tokens[as] = token
	return as
}

func (c *cluster) bearerConfig(token string) *rest.Config {
	return &rest.Config{Host: c.URL, BearerToken: token, QPS: -1, TLSClientConfig: rest.TLSClientConfig{CAData: c.CA}}
}

// kubelet is a client with the certificate of a node's kubelet.
func (c *cluster) kubelet(node string) client.Client {
	c.t.Helper()
	return newClient(c.t, c.kubeletConfig(node))
}

func (c *cluster) kubeletConfig(node string) *rest.Config {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "kubelet.conf")
	if err := c.WriteKubeconfig(path, "", "system:node:"+node, "system:nodes"); err != nil {
		c.t.Fatal(err)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		c.t.Fatal(err)
	}
	cfg.QPS = -1
	return cfg
}

// clock is a bridge's, which a test puts forward.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// wake makes the bridge look at an identity after its clock was put forward: its
// timers run by the real one. It may have looked by itself already.
func (c *cluster) wake(account string) {
	c.t.Helper()
	body := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"wake":"up"}}}`))
	if err := c.admin.Patch(c.t.Context(), &corev1.ServiceAccount{ObjectMeta: inNodes(account)}, body); client.IgnoreNotFound(err) != nil {
		c.t.Error(err)
	}
}

// bridge runs a bridge with the tokens of its ServiceAccounts until the test ends
// or stop is called. Its clock may be nil.
func (c *cluster) bridge(at *clock) (stop func()) {
	c.t.Helper()
	var o bridge.Options
	if at != nil {
		o.Now = at.now
	}
	return c.run(o)
}

func (c *cluster) run(o bridge.Options) (stop func()) {
	c.t.Helper()
	log := &spoken{to: c.t.Output()}
	o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	way := map[string]*rest.Config{}
	for _, account := range []string{v1.BridgeAccount, v1.CredentialsAccount} {
		token := c.token(v1.SystemNamespace, account)
		c.t.Cleanup(func() { log.mustHide(c.t, append(secret, token)...) })
		way[account] = c.bearerConfig(token)
		way[account].UserAgent = c.agent
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.t.Context()))
	done := make(chan error, 1)
	go func() { done <- product.RunBridge(ctx, func(account string) *rest.Config { return way[account] }, o) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("the bridge ended: %v", err)
		}
	})
	c.t.Cleanup(stop)
	return stop
}

// secret are the tokens that the tests know: nothing that is printed may hold
// one.
var secret []string

// spoken keeps what a program prints. What is for debugging is kept, not shown.
type spoken struct {
	mu  sync.Mutex
	all strings.Builder
	to  io.Writer
}

func (s *spoken) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all.Write(line)
	if !strings.Contains(string(line), "level=DEBUG") {
		_, _ = s.to.Write(line)
	}
	return len(line), nil
}

func (s *spoken) mustHide(t *testing.T, tokens ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, token := range tokens {
		// The signature alone would not be of use, but is as unique.
		for part := range strings.SplitSeq(token, ".") {
			if len(part) > 60 && strings.Contains(s.all.String(), part) {
				t.Errorf("a token is printed: %s...", part[:8])
			}
		}
	}
}

func inNodes(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: v1.NodesNamespace}
}

// node makes a Node, which is removed at the end.
func (c *cluster) node(name string) *corev1.Node {
	c.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	c.create(n)
	return n
}

// object publishes the object of a node, which is removed at the end.
func (c *cluster) object(name string) *v1.MultiNicNodeConfig {
	c.t.Helper()
	o := &v1.MultiNicNodeConfig{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: v1.SystemNamespace},
		Spec: v1.MultiNicNodeConfigSpec{
			NodeName:   name,
			Interfaces: []v1.Interface{{ID: new(int32(1)), MACAddress: "02:00:00:00:01:01"}},
		},
	}
	c.create(o)
	return o
}

func (c *cluster) create(o client.Object) {
	c.t.Helper()
	if err := c.admin.Create(c.t.Context(), o); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if err := client.IgnoreNotFound(c.admin.Delete(context.WithoutCancel(c.t.Context()), o)); err != nil {
			c.t.Error(err)
		}
	})
}

// ask makes a node's request through a door and waits for the answer.
func (c *cluster) ask(as client.Client, node string, door v1.Door, key *v1.SealKey) *v1.NodeTokenRequest {
	c.t.Helper()
	wish := v1.NodeTokenRequest{ObjectMeta: inNodes(node), Spec: v1.NodeTokenRequestSpec{Door: door, PublicKey: key.Public()}}
	r := &v1.NodeTokenRequest{ObjectMeta: inNodes(node)}
	// The right to make it comes with the identity. What was asked while the policies settle is
	// removed, and asked again, as multinicd does.
	c.eventually("the request is answered", func() string {
		if err := as.Create(c.t.Context(), wish.DeepCopy()); err != nil && !apierrors.IsAlreadyExists(err) {
			return err.Error()
		}
		return answered(c.t.Context(), as, r)
	})
	return r
}

// answered reads a request, and says what is missing of its answer.
func answered(ctx context.Context, as client.Client, r *v1.NodeTokenRequest) string {
	if err := as.Get(ctx, client.ObjectKeyFromObject(r), r); err != nil {
		return err.Error()
	}
	if r.Status.SealedAt == nil && r.Status.Reason == "" {
		return "it is not"
	}
	return ""
}

func (c *cluster) answer(as client.Client, node string) *v1.NodeTokenRequest {
	c.t.Helper()
	r := &v1.NodeTokenRequest{ObjectMeta: inNodes(node)}
	c.eventually("the request is answered", func() string { return answered(c.t.Context(), as, r) })
	return r
}

// open gives the token of an answer.
func open(t *testing.T, key *v1.SealKey, r *v1.NodeTokenRequest) string {
	t.Helper()
	token, err := key.Open(r.Status.SealedToken, r.Name, r.UID)
	if err != nil {
		t.Fatalf("%v; the request was refused: %s %s", err, r.Status.Reason, r.Status.Message)
	}
	secret = append(secret, token)
	return token
}

func newKey(t *testing.T) *v1.SealKey {
	t.Helper()
	key, err := v1.NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// renew renews the node's Lease as the daemon does.
func renew(ctx context.Context, as client.Client, node string, request types.UID) error {
	return patch(ctx, as, &coordinationv1.Lease{ObjectMeta: inNodes(v1.LeaseName(node))},
		fields{"spec": fields{"holderIdentity": v1.LeaseHolder(node, request), "renewTime": metav1.NowMicro()}})
}

// patch writes without a look, as the daemon does: a node has no right to read what it writes.
func patch(ctx context.Context, as client.Client, o client.Object, body fields) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return as.Patch(ctx, o, client.RawPatch(types.MergePatchType, data))
}

// shared waits until nodes have their rights by those that all share, and none by its own name.
func (c *cluster) shared(names ...string) {
	c.t.Helper()
	c.eventually("the rights are those that all nodes share", func() string {
		for _, name := range []string{v1.SharedNodes, v1.SharedKubelets} {
			if err := c.admin.Get(c.t.Context(), client.ObjectKey{Namespace: inside, Name: name}, &rbacv1.RoleBinding{}); err != nil {
				return err.Error()
			}
		}
		for _, node := range names {
			for _, o := range []client.Object{&rbacv1.Role{}, &rbacv1.RoleBinding{}} {
				if err := c.admin.Get(c.t.Context(), client.ObjectKey{Namespace: inside, Name: v1.ServiceAccountName(node)}, o); !apierrors.IsNotFound(err) {
					return node + " has its own: " + errorText(err)
				}
			}
		}
		return ""
	})
}

// gone waits until an object is not there any more.
func (c *cluster) gone(o client.Object) {
	c.t.Helper()
	c.eventually(o.GetName()+" is gone", func() string {
		if err := c.admin.Get(c.t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			return "it is there: " + errorText(err)
		}
		return ""
	})
}

// event waits for an Event about an object of that name.
func (c *cluster) event(namespace, name, reason, text string) {
	c.t.Helper()
	c.eventually("an Event "+reason+" about "+name, func() string {
		var list eventsv1.EventList
		if err := c.admin.List(c.t.Context(), &list, client.InNamespace(namespace)); err != nil {
			return err.Error()
		}
		var others []string
		for _, e := range list.Items {
			if e.Regarding.Name != name {
				continue
			}
			if e.Reason == reason && strings.Contains(e.Note, text) {
				return ""
			}
			others = append(others, e.Reason+": "+e.Note)
		}
		return "there are " + strings.Join(others, "; ")
	})
}

func errorText(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}

// refusedBy tells whether the API server refused by a policy, saying so.
func refusedBy(err error, text string) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && strings.Contains(status.Status().Message, text)
}

// eventually asks again until what says nothing is missing.
func (c *cluster) eventually(want string, missing func() string) {
	c.t.Helper()
	bed.Eventually(c.t, want, "", missing)
}
