package intake

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
)

func eventually(t *testing.T, what string, missing func() string) {
	t.Helper()
	bed.Eventually(t, what, "", missing)
}

// many are nodes with a number of ports each.
func many(prefix string, n, each int) []node {
	var out []node
	for i := range n {
		name := fmt.Sprintf("%s-%04d", prefix, i)
		out = append(out, node{NodeName: name, InstanceID: "instance-of-" + name, Interfaces: ports(i, each)})
	}
	return out
}

// generations are how many objects of a prefix have which generation.
func (c *cluster) generations(prefix string) map[int64]int {
	c.t.Helper()
	var list v1.MultiNicNodeConfigList
	if err := c.admin.List(c.t.Context(), &list, client.InNamespace(v1.SystemNamespace)); err != nil {
		c.t.Fatal(err)
	}
	out := map[int64]int{}
	for _, o := range list.Items {
		if strings.HasPrefix(o.Name, prefix) {
			out[o.Generation]++
		}
	}
	return out
}

// patientDoor takes any time for a request: a test does not fail because the machine is busy.
func (c *cluster) patientDoor() *door {
	c.t.Helper()
	return c.door("--unknown-nodes", "publish", "--timeout", "10m")
}

// begun waits until a door has stored some objects of a provider.
func (c *cluster) begun(provider string) {
	c.t.Helper()
	eventually(c.t, "some objects of "+provider+" are there", func() string {
		if n := c.stored(provider); n < 20 {
			return fmt.Sprintf("there are %d", n)
		}
		return ""
	})
}

// stored is how many objects a provider has.
func (c *cluster) stored(provider string) int {
	c.t.Helper()
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(v1.GroupVersion.WithKind(v1.NodeConfigKind + "List"))
	if err := c.admin.List(c.t.Context(), list, client.InNamespace(v1.SystemNamespace), client.MatchingFields{"spec.providerId": provider}); err != nil {
		c.t.Fatal(err)
	}
	return len(list.Items)
}

func (a answer) count(status string) int {
	n := 0
	for _, r := range a.Results {
		if r.Status == status {
			n++
		}
	}
	return n
}

// The largest batch of the field's client is of some 1,200 nodes: with ten NICs each, that many fit 4 MiB.
func TestTwelveHundredNodesInOneBatch(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	d := c.patientDoor()
	nodes := many("large", 1200, 2)
	begun := time.Now()
	a := d.publish(nodes...)
	if a.Status != http.StatusOK || a.Applied != 1200 || a.count("created") != 1200 || len(a.Errors) > 0 {
		t.Fatalf("%.300s", a.brief())
	}
	t.Logf("1,200 nodes were stored in %s", elapsed(begun))
	begun = time.Now()
	if a := d.publish(nodes...); a.Status != http.StatusOK || a.count("unchanged") != 1200 {
		t.Errorf("the same again: %.300s", a.brief())
	}
	t.Logf("the same again took %s", elapsed(begun))
	if got := c.generations("large-"); got[1] != 1200 || len(got) != 1 {
		t.Errorf("by generation there are %v, want 1,200 of the first", got)
	}
}

func TestOneBadNodeOfFiftyStopsNobody(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	d := c.patientDoor()
	nodes := many("fifty", 50, 2)
	nodes[17].Interfaces[1].MACAddress = "02-00-00"
	a := d.publish(nodes...)
	if a.Status != http.StatusOK || a.Applied != 49 || len(a.Errors) != 1 {
		t.Fatalf("%.300s", a.brief())
	}
	if e := a.Errors[0]; e.NodeName != "fifty-0017" || e.Code != "Invalid" || !strings.Contains(e.Message, "spec.interfaces[1].macAddress") {
		t.Errorf("the error is %+v", e)
	}
	if got := c.generations("fifty-"); got[1] != 49 {
		t.Errorf("by generation there are %v", got)
	}
	if log := d.Log(); !strings.Contains(log, `"node":"fifty-0017","object":"fifty-0017","provider":"provider-a","reason":"Invalid"`) || !strings.Contains(log, `"created":49`) {
		t.Errorf("the log does not name the node:\n%s", log)
	}
}

// The door is killed while it works on a batch. The client gets no answer, and sends the same to the next door.
func TestADoorThatIsKilledInMidBatchWritesNothingTwice(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	d := c.patientDoor()
	nodes, token := many("killed", 200, 2), c.token(viola)
	request := d.request(token, "provider-killed", nodes)
	answered := make(chan error, 1)
	go func() {
		_, err := d.try(request)
		answered <- err
	}()
	c.begun("provider-killed")
	d.Kill()
	if err := <-answered; err == nil {
		t.Fatal("the door had answered before it was killed: this shows nothing")
	}
	before := c.generations("killed-")[1]
	next := c.patientDoor()
	a := next.send(next.request(token, "provider-killed", nodes))
	// The API server may have had some more in hand as the door was killed, and have stored them since.
	if a.Status != http.StatusOK || a.Applied != 200 || a.count("unchanged") < before || a.count("created") == 0 || a.count("created")+a.count("unchanged") != 200 {
		t.Errorf("%d were there: %d created, %d unchanged, %d changed; %v", before, a.count("created"), a.count("unchanged"), a.count("changed"), a.Errors)
	}
	if got := c.generations("killed-"); got[1] != 200 || len(got) != 1 {
		t.Errorf("by generation there are %v", got)
	}
	t.Logf("killed after %d of 200 nodes", before)
}

// A door that is told to stop answers what it has begun.
func TestADoorThatIsStoppedAnswersFirst(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	d := c.patientDoor()
	request := d.request(c.token(viola), "provider-stopped", many("stopped", 200, 2))
	answered := make(chan answer, 1)
	go func() {
		a, err := d.try(request)
		if err != nil {
			t.Error(err)
		}
		answered <- a
	}()
	c.begun("provider-stopped")
	d.Stop()
	if a := <-answered; a.Status != http.StatusOK || a.Applied != 200 {
		t.Errorf("%.300s", a.brief())
	}
}

// The time ends in the middle of a batch, because the API server hangs. What the answer calls stored is, and the same again does the rest.
func (c *cluster) cutOff() {
	c.t.Helper()
	d, next := c.door("--unknown-nodes", "publish", "--body-timeout", "1s", "--timeout", "5s"), c.patientDoor()
	const provider = "provider-cut"
	nodes, token := many("cut", 400, 1), c.token(viola)
	request := d.request(token, provider, nodes)
	answered := make(chan answer, 1)
	go func() {
		a, err := d.try(request)
		if err != nil {
			c.t.Error(err)
		}
		answered <- a
	}()
	c.begun(provider)
	if err := c.APIServer.Pause(); err != nil {
		c.t.Fatal(err)
	}
	a := <-answered
	if err := c.APIServer.Resume(); err != nil {
		c.t.Fatal(err)
	}
	if a.Status != http.StatusServiceUnavailable || a.Applied+len(a.Errors) != len(nodes) || a.Applied == 0 {
		c.t.Fatalf("cut off: %d stored, %d not: %.300s", a.Applied, len(a.Errors), a.brief())
	}
	for _, e := range a.Errors {
		if e.Code != "NotWritten" || strings.Contains(e.Message, "127.0.0.1") {
			c.t.Fatalf("cut off: %+v", e)
		}
	}
	there := map[string]bool{}
	for _, r := range a.Results {
		there[r.Object] = true
	}
	for _, n := range nodes {
		if there[n.NodeName] {
			c.object(n.NodeName)
		}
	}
	if b := next.send(next.request(token, provider, nodes)); b.Status != http.StatusOK || b.count("unchanged") < a.Applied || b.count("created")+b.count("unchanged") != len(nodes) {
		c.t.Errorf("the same again: %.300s", b.brief())
	}
	if got := c.generations("cut-"); got[1] != len(nodes) || len(got) != 1 {
		c.t.Errorf("by generation there are %v", got)
	}
	c.t.Logf("cut off after %d of %d nodes", a.Applied, len(nodes))
}

// Both may publish, and neither has the nodes yet: each node has one of the two, and the other is told so.
func TestTwoProvidersRaceForNodes(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	d := c.patientDoor()
	nodes, token := many("race", 40, 1), c.token(viola)
	var got [2]answer
	var all sync.WaitGroup
	for i, provider := range []string{providerA, providerB} {
		request := d.request(token, provider, nodes)
		all.Go(func() {
			var err error
			if got[i], err = d.try(request); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	owner := map[string]string{}
	for i, provider := range []string{providerA, providerB} {
		for _, r := range got[i].Results {
			if owner[r.Object] != "" || r.Status != "created" {
				t.Errorf("%s was %s for %s, and is that of %s", r.Object, r.Status, provider, owner[r.Object])
			}
			owner[r.Object] = provider
		}
		for _, e := range got[i].Errors {
			if e.Code != "AnotherProvider" {
				t.Errorf("%s: %+v", provider, e)
			}
		}
	}
	for _, n := range nodes {
		if o := c.object(n.NodeName); o.Spec.ProviderID != owner[n.NodeName] || o.Generation != 1 {
			t.Errorf("%s is that of %q, generation %d; %q was told so", n.NodeName, o.Spec.ProviderID, o.Generation, owner[n.NodeName])
		}
	}
	t.Logf("provider A has %d nodes, B has %d", got[0].Applied, got[1].Applied)
}
