package credential

import (
	"context"
	"testing"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/kube"
	"multinicd/test/bed"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/product"
)

// The API server authorises a watch when it begins and not again: after a revocation ours must end by itself. By a fake server's clock this
// is shown in internal/kube; here it takes the minutes that it takes.
func TestOurWatchIsGoneFiveMinutesAfterARevocation(t *testing.T) {
	for _, most := range prerequisite.Long(5 * time.Minute) {
		watchIsGone(t, most)
	}
}

func watchIsGone(t *testing.T, most time.Duration) {
	c := newCluster(t)
	c.bridge(nil)
	const node = "watching"
	c.node(node)
	o := c.object(node)
	key := newKey(t)
	token := open(t, key, c.ask(c.kubelet(node), node, v1.DoorKubelet, key))
	dir := product.Folder(t.TempDir())
	for name, text := range map[string]string{"server": c.URL, "ca.crt": string(c.CA), "token": token} {
		if err := dir.Write(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	as, err := kube.New(kube.Options{Node: node, CredentialDir: string(dir)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	seen, done := make(chan kube.Observation, 100), make(chan struct{})
	go func() { defer close(done); _ = as.Watch(ctx, func(o kube.Observation) { seen <- o }) }()
	defer func() { cancel(); <-done; as.CloseIdle() }()
	next := func(most time.Duration) kube.Observation {
		t.Helper()
		select {
		case o := <-seen:
			return o
		case <-time.After(most):
			t.Fatalf("it is told nothing for %s", most)
			return kube.Observation{}
		}
	}
	if first := next(bed.Patience); first.Object == nil {
		t.Fatalf("it begins with %+v", first)
	}
	c.must("token", "revoke", "--node", node)
	began := time.Now()
	c.kubectl("patch", "mnnc", node, "-n", v1.SystemNamespace, "--type=merge", "-p", `{"spec":{"specHash":"after"}}`)
	if after := next(bed.Patience); after.Object != nil && after.Object.UID == o.UID {
		t.Log("an open watch goes on, as docs/security.md says")
	}
	for {
		if end := next(most - time.Since(began)); kube.ClassOf(end.Err) == kube.Unauthorized {
			break
		}
	}
	t.Logf("it was gone after %s", time.Since(began).Round(time.Second))
}
