// Package kube_test runs internal/kube against a real API server, with the token of a ServiceAccount that may no more
// than a node may.
package kube_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/kube"
	"multinicd/test/bed"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/product"
)

func TestMain(m *testing.M) { os.Exit(bed.Main(m)) }

// cluster is a control plane with our CRDs and namespaces.
type cluster struct {
	*controlplane.Cluster
	t *testing.T
}

func prepare(t *testing.T, c *controlplane.Cluster) cluster {
	t.Helper()
	cl := cluster{c, t}
	cl.kubectl("apply", "-f", bed.Path(t, "deploy/crds.yaml"))
	if err := cl.Served(t.Context(), "multinicnodeconfigs.multinic.io"); err != nil {
		t.Fatal(err)
	}
	for _, ns := range []string{v1.SystemNamespace, v1.NodesNamespace} {
		cl.apply("{apiVersion: v1, kind: Namespace, metadata: {name: " + ns + "}}")
	}
	return cl
}

func (c cluster) kubectl(args ...string) string {
	c.t.Helper()
	out, err := c.Kubectl(c.t.Context(), args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func (c cluster) apply(yaml string) {
	c.t.Helper()
	if _, err := c.Apply(c.t.Context(), yaml); err != nil {
		c.t.Fatal(err)
	}
}

// put applies the object of a node, with one NIC of that MTU, and returns when it was accepted.
func (c cluster) put(node string, mtu int) time.Time {
	c.t.Helper()
	c.apply(fmt.Sprintf(`
apiVersion: multinic.io/v1
kind: MultiNicNodeConfig
metadata: {name: %[1]s, namespace: multinic-system}
spec:
  nodeName: %[1]s
  interfaces: [{id: 1, macAddress: "02:00:00:00:01:01", mtu: %[2]d}]
`, node, mtu))
	return time.Now()
}

func (c cluster) remove(node string) {
	c.t.Helper()
	c.kubectl("delete", "mnnc", "-n", v1.SystemNamespace, node)
}

// node makes what the bridge makes for a node, but for the report and the Lease, and returns its credential folder.
func (c cluster) node(node string) string {
	c.t.Helper()
	c.apply(product.Rights(node))
	// The API server takes rights into use a moment after it has them, and a node that is refused asks again some seconds later.
	for _, right := range []authorizationv1.ResourceAttributes{
		{Verb: "watch", Group: v1.GroupVersion.Group, Resource: "multinicnodeconfigs", Namespace: v1.SystemNamespace, Name: node},
		{Verb: "patch", Resource: "configmaps", Namespace: v1.NodesNamespace, Name: "multinic-report-" + node},
		{Verb: "patch", Group: "coordination.k8s.io", Resource: "leases", Namespace: v1.NodesNamespace, Name: "multinic-" + node},
	} {
		bed.Eventually(c.t, node+" may "+right.Verb+" "+right.Resource, "yes", func() string {
			review := authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: "system:serviceaccount:" + v1.NodesNamespace + ":" + v1.ServiceAccountName(node), Groups: []string{"system:serviceaccounts"}, ResourceAttributes: &right,
			}}
			if err := c.Post(c.t.Context(), "/apis/authorization.k8s.io/v1/subjectaccessreviews", &review); err != nil {
				return err.Error()
			}
			if !review.Status.Allowed {
				return "not yet: " + review.Status.Reason
			}
			return "yes"
		})
	}
	dir := c.t.TempDir()
	write(c.t, dir, "server", c.URL)
	write(c.t, dir, "ca.crt", string(c.CA))
	write(c.t, dir, "token", c.token(node))
	return dir
}

// letters makes the report and the Lease of a node.
func (c cluster) letters(node string) {
	c.t.Helper()
	c.apply(strings.NewReplacer("NODE", node).Replace(`
apiVersion: v1
kind: ConfigMap
metadata: {name: multinic-report-NODE, namespace: multinic-nodes}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: multinic-NODE, namespace: multinic-nodes}
spec: {}
`))
}

func (c cluster) token(node string) string {
	c.t.Helper()
	return c.kubectl("create", "token", "-n", v1.NodesNamespace, v1.ServiceAccountName(node), "--duration=1h")
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func client(t *testing.T, node, dir string) *kube.Client {
	t.Helper()
	c, err := kube.New(kube.Options{Node: node, Version: "test", CredentialDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return c
}

// observer keeps what a running Watch or Poll tells.
type observer struct {
	t  *testing.T
	ch chan kube.Observation
}

func observe(t *testing.T, run func(context.Context, func(kube.Observation)) error) *observer {
	t.Helper()
	o := &observer{t: t, ch: make(chan kube.Observation, 1000)}
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := run(ctx, func(seen kube.Observation) { o.ch <- seen }); !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	return o
}

// await waits until an observation is as wanted, and returns it.
func (o *observer) await(what string, wanted func(kube.Observation) bool) kube.Observation {
	o.t.Helper()
	deadline := time.After(bed.Patience)
	var last kube.Observation
	for {
		select {
		case last = <-o.ch:
			if wanted(last) {
				return last
			}
		case <-deadline:
			o.t.Fatalf("waited %s for %s; last: %+v", bed.Patience, what, last)
		}
	}
}

func mtu(want int32) func(kube.Observation) bool {
	return func(o kube.Observation) bool {
		return o.Object != nil && len(o.Object.Spec.Interfaces) == 1 && *o.Object.Spec.Interfaces[0].MTU == want
	}
}

func absent(o kube.Observation) bool { return o.Absent }

func class(want kube.Class) func(kube.Observation) bool {
	return func(o kube.Observation) bool { return kube.ClassOf(o.Err) == want }
}

func TestWatchOfTheOwnObject(t *testing.T) {
	c := prepare(t, bed.New(t).Cluster())
	api := client(t, "watched", c.node("watched"))
	c.put("another", 1300)
	o := observe(t, api.Watch)
	o.await("the absence", absent)
	for round := range int32(3) {
		began := c.put("watched", 1400+int(round))
		o.await("the change", mtu(1400+round))
		t.Logf("told %s after kubectl returned", time.Since(began).Round(100*time.Microsecond))
	}
	c.kubectl("label", "mnnc", "-n", v1.SystemNamespace, "watched", "a=b")
	o.await("the label", func(o kube.Observation) bool { return o.Object != nil && o.Object.Labels["a"] == "b" })
	c.remove("watched")
	o.await("the removal", absent)
	c.put("watched", 1500)
	seen := o.await("the new object", mtu(1500))
	if seen.Object.Generation != 1 || seen.Object.UID == "" || seen.Skew != 0 || time.Since(seen.Contact) > time.Minute {
		t.Errorf("got %+v", seen)
	}
}

func TestWatchOfAnotherNodeIsForbidden(t *testing.T) {
	c := prepare(t, bed.New(t).Cluster())
	dir := c.node("curious")
	c.node("victim")
	c.letters("victim")
	c.put("victim", 1400)
	api := client(t, "victim", dir)
	observe(t, api.Watch).await("the refusal", class(kube.Forbidden))
	if o := api.Get(t.Context()); kube.ClassOf(o.Err) != kube.Forbidden {
		t.Errorf("got %+v", o)
	}
	for _, err := range []error{api.PutReport(t.Context(), []byte("{}")), api.RenewLease(t.Context(), "x")} {
		if kube.ClassOf(err) != kube.Forbidden {
			t.Errorf("got %v", err)
		}
	}
	if err := api.Ping(t.Context()); err != nil {
		t.Errorf("a refusal is an answer, but: %v", err)
	}
}

func TestPollOfTheOwnObject(t *testing.T) {
	c := prepare(t, bed.New(t).Cluster())
	api := client(t, "polled", c.node("polled"))
	o := observe(t, func(ctx context.Context, notify func(kube.Observation)) error {
		return api.Poll(ctx, 300*time.Millisecond, notify)
	})
	o.await("the absence", absent)
	c.put("polled", 1400)
	o.await("the object", mtu(1400))
	c.put("polled", 1401)
	o.await("the change", mtu(1401))
	c.remove("polled")
	o.await("the removal", absent)
}

func TestReportAndLeaseAreOneRequestEach(t *testing.T) {
	c := prepare(t, bed.New(t).Cluster())
	api := client(t, "reporting", c.node("reporting"))
	report := `{"schema":"x","message":"<ü>"}`
	for _, err := range []error{api.PutReport(t.Context(), []byte(report)), api.RenewLease(t.Context(), "boot-1")} {
		// A Role with resourceNames lets one ask for what is not there yet.
		if !errors.Is(err, kube.ErrNotFound) {
			t.Errorf("before they are made: got %v", err)
		}
	}
	c.letters("reporting")
	before := requests(t, c, "reporting")
	if err := api.PutReport(t.Context(), []byte(report)); err != nil {
		t.Fatal(err)
	}
	if err := api.RenewLease(t.Context(), "boot-1"); err != nil {
		t.Fatal(err)
	}
	if n := requests(t, c, "reporting") - before; n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
	if got := c.kubectl("get", "configmap", "-n", v1.NodesNamespace, "multinic-report-reporting", "-o", `jsonpath={.data.report\.json}`); got != report {
		t.Errorf("got the report %s", got)
	}
	var lease struct {
		Spec struct {
			HolderIdentity       string
			LeaseDurationSeconds int
			RenewTime            time.Time
		}
	}
	if err := json.Unmarshal([]byte(c.kubectl("get", "lease", "-n", v1.NodesNamespace, "multinic-reporting", "-o", "json")), &lease); err != nil {
		t.Fatal(err)
	}
	if s := lease.Spec; s.HolderIdentity != "boot-1" || s.LeaseDurationSeconds != 360 || time.Since(s.RenewTime).Abs() > time.Minute {
		t.Errorf("got the lease %+v", s)
	}
}

func requests(t *testing.T, c cluster, node string) int {
	t.Helper()
	all, err := c.Requests()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range all {
		if r.User.Username == "system:serviceaccount:"+v1.NodesNamespace+":"+v1.ServiceAccountName(node) {
			n++
		}
	}
	return n
}

func TestANewTokenIsTakenUpSoon(t *testing.T) {
	c := prepare(t, bed.New(t).Cluster())
	dir := c.node("rotating")
	c.put("rotating", 1400)
	good := c.token("rotating")
	write(t, dir, "token", "not-a-token")
	o := observe(t, client(t, "rotating", dir).Watch)
	o.await("the refusal", class(kube.Unauthorized))
	write(t, dir, "token", good)
	o.await("the object", mtu(1400))
}

func TestOutage(t *testing.T) {
	b := bed.New(t)
	c := cluster{b.OwnCluster(controlplane.Options{WithoutControllers: true}), t}
	admin := func() *kube.Client {
		api, err := kube.New(kube.Options{Node: "cut-off", Version: "test", Kubeconfig: c.Kubeconfig})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(api.CloseIdle)
		return api
	}

	t.Run("without the CRD nothing is known, not even absence", func(t *testing.T) {
		observe(t, admin().Watch).await("the class", class(kube.NotServed))
		if o := admin().Get(t.Context()); kube.ClassOf(o.Err) != kube.NotServed {
			t.Errorf("got %+v", o)
		}
	})
	c = prepare(t, c.Cluster)
	c.put("cut-off", 1400)

	t.Run("a server that is killed and comes back", func(t *testing.T) {
		api := admin()
		o := observe(t, api.Watch)
		o.await("the object", mtu(1400))
		if err := c.APIServer.Kill(); err != nil {
			t.Fatal(err)
		}
		o.await("the outage", class(kube.Unreachable))
		if err := api.Ping(t.Context()); kube.ClassOf(err) != kube.Unreachable {
			t.Errorf("ping: got %v", err)
		}
		if err := c.Restart(t.Context(), c.APIServer); err != nil {
			t.Fatal(err)
		}
		began := c.put("cut-off", 1401)
		o.await("the change", mtu(1401))
		t.Logf("told %s after the change", time.Since(began).Round(time.Millisecond))
		c.remove("cut-off")
		o.await("the removal", absent)
	})

	t.Run("a server that hangs", func(t *testing.T) {
		c.put("cut-off", 1402)
		api := admin()
		o := observe(t, api.Watch)
		o.await("the object", mtu(1402))
		if err := c.APIServer.Pause(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		// It would never be answered.
		if err := api.Ping(t.Context()); kube.ClassOf(err) != kube.Unreachable || time.Since(began) > bed.Patience/2 {
			t.Errorf("ping: got %v after %s", err, time.Since(began))
		}
		o.await("the outage", class(kube.Unreachable))
		t.Logf("noticed after %s", time.Since(began).Round(time.Millisecond))
		if err := c.APIServer.Resume(); err != nil {
			t.Fatal(err)
		}
		began = c.put("cut-off", 1403)
		o.await("the change", mtu(1403))
		t.Logf("told %s after the change", time.Since(began).Round(time.Millisecond))
	})
}
