package intake

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

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

// exists waits until a door has come to the object of a node.
func (c *cluster) exists(name string) {
	c.t.Helper()
	eventually(c.t, "the object "+name+" is there", func() string {
		o := &v1.MultiNicNodeConfig{}
		if err := c.admin.Get(c.t.Context(), client.ObjectKey{Namespace: v1.SystemNamespace, Name: name}, o); err != nil {
			return err.Error()
		}
		return ""
	})
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
	request := d.request(token, providerA, nodes)
	answered := make(chan error, 1)
	go func() {
		_, err := d.try(request)
		answered <- err
	}()
	c.exists("killed-0050")
	d.Kill()
	if err := <-answered; err == nil {
		t.Fatal("the door had answered before it was killed: this shows nothing")
	}
	before := c.generations("killed-")[1]
	next := c.patientDoor()
	a := next.send(next.request(token, providerA, nodes))
	if a.Status != http.StatusOK || a.Applied != 200 || a.count("created") != 200-before {
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
	request := d.request(c.token(viola), providerA, many("stopped", 200, 2))
	answered := make(chan answer, 1)
	go func() {
		a, err := d.try(request)
		if err != nil {
			t.Error(err)
		}
		answered <- a
	}()
	c.exists("stopped-0050")
	d.Stop()
	if a := <-answered; a.Status != http.StatusOK || a.Applied != 200 {
		t.Errorf("%.300s", a.brief())
	}
}
