package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/product"
	"multinicd/test/bed/sandbox"
	"multinicd/test/bed/testhost"
)

// What a publisher posts becomes NICs of a host, and what it posts no more is given back there.
func TestARequestToTheDoorBecomesNICs(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	c := newCluster(t, b)
	if err := product.InstallIntake(t.Context(), c.Cluster.Cluster); err != nil {
		t.Fatal(err)
	}
	box, err := sandbox.New(context.WithoutCancel(t.Context()), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := box.Close(); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
	const name = "posted"
	n := c.newMember(t, name, "", "", testhost.Options{})
	door, err := product.StartIntake(t.Context(), box, c.Cluster.Cluster, bed.Build(t, "./cmd/bridge"), "--plain-http", "--allow-anonymous", "--removals", "apply")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(door.Stop)
	post := func(nics ...string) {
		t.Helper()
		body := fmt.Sprintf(`[{"nodeName":%q,"interfaces":[%s]}]`, name, strings.Join(nics, ","))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+door.Address+"//v1/k8s/multinic/node-configs", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Provider-Id", "provider-a")
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if said, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("the door answers %s: %s, %v", response.Status, said, err)
		}
	}
	first := fmt.Sprintf(`{"portId":"p1","id":1,"name":"multinic1","macAddress":%q,"address":"192.168.100.10","cidr":"192.168.100.0/24","mtu":1500}`, mac1)
	second := fmt.Sprintf(`{"portId":"p2","id":2,"name":"multinic2","macAddress":%q,"address":"192.168.200.10","cidr":"192.168.200.10/24"}`, mac2)
	post(first, second)
	c.wantState(name, "Configured", "2/2")
	n.wantLink(mac1, "multinic1 up mtu 1500 192.168.100.10/24")
	n.wantLink(mac2, example2)

	post(first)
	c.wantState(name, "Configured", "1/1")
	n.wantNICs("multinic1 Configured Configured")
	if got := n.link(mac2); strings.Contains(got, "192.168.200.10") || strings.HasPrefix(got, "multinic") {
		t.Errorf("the second NIC was not given back: %s", got)
	}
	n.wantLink(mac1, "multinic1 up mtu 1500 192.168.100.10/24")

	// The node has said that it gave the NIC back: its id is free for another one.
	post(first, strings.NewReplacer(mac2, "02:00:00:00:01:03", `"p2"`, `"p3"`, "192.168.200.10", "192.168.201.10").Replace(second))
	if got := c.get(name, "{.spec.interfaces[1].id}"); got != "2" {
		t.Errorf("the next NIC has the id %s", got)
	}
}
