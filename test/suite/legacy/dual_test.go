package legacy

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
)

// The life of an older object beside others: what it is made of stands in the rows, one after the other.
func TestTheOlderObjectBecomesAnObjectForEachNode(t *testing.T) {
	c := newCluster(t, 5)
	c.theirs(4, "multinic-intake", 0x401)
	c.publisher()
	one, two := entry(1, 0x101, 0x102), entry(2, 0x201)

	c.write(one, two, entry(9, 0x901), entry(4, 0x402))
	c.are("worker-1 multinic-legacy g1 multinic0=0101 multinic1=0102", "worker-2 multinic-legacy g1 multinic0=0201", "worker-4 multinic-intake g1 multinic7=0401")
	c.says("InProgress 0/4; worker-1 Pending; worker-2 Pending; worker-9 Pending NodeUnknown; worker-4 Pending NotOurs")

	c.done(1)
	c.state(2, v1.StateFailed, metav1.ConditionFalse, "InterfacesFailed")
	c.done(4)
	c.says("InProgress 2/4; worker-2 Failed InterfacesFailed; worker-9 Pending NodeUnknown; worker-4 Configured NotOurs")

	// One entry changes: one object is written, and the others are not even read.
	before := c.requests()
	two.Interfaces = append(two.Interfaces, nic(0x202))
	c.write(one, two)
	c.are("worker-1 multinic-legacy g1 multinic0=0101 multinic1=0102", "worker-2 multinic-legacy g2 multinic0=0201 multinic1=0202", "worker-4 multinic-intake g1 multinic7=0401")
	c.says("Applied InProgress 1/2; worker-2 InProgress InterfacesFailed")
	c.asked(before, map[string]int{"get multinicnodeconfigs worker-2": 1, "patch multinicnodeconfigs worker-2": 1})
	c.done(2)
	c.says("Applied Ready 2/2")

	// A NIC leaves its entry and goes. A list without any NIC takes none away.
	one.Interfaces = one.Interfaces[1:]
	two.Interfaces = nil
	c.write(one, two)
	c.are("worker-1 multinic-legacy g2 multinic1=0102", "worker-2 multinic-legacy g2 multinic0=0201 multinic1=0202", "worker-4 multinic-intake g1 multinic7=0401")
	c.done(1)
	c.says("1/2; worker-2 Failed EmptyList")

	// Entries that are wrong hold no other one up.
	three := entry(3, 0x301)
	twin := entry(5, 0x301)
	c.write(one, entry(2, 0x201), entry(2, 0x202), three, twin)
	c.says("1/5; worker-2 Failed NamedTwice; worker-2 Failed NamedTwice; worker-3 Failed MACTwice; worker-5 Failed MACTwice")
	c.write(one, three)
	c.are("worker-1 multinic-legacy g2 multinic1=0102", "worker-2 multinic-legacy g2 multinic0=0201 multinic1=0202", "worker-3 multinic-legacy g1 multinic0=0301", "worker-4 multinic-intake g1 multinic7=0401")
	c.done(3)
	c.says("Applied Ready 2/2")

	// The end of the older object takes no NIC away.
	all := c.objects()
	c.must(c.admin.Delete(t.Context(), &v1.MultiNicBizConfig{ObjectMeta: metav1.ObjectMeta{Namespace: v1.SystemNamespace, Name: "production"}}))
	c.settled()
	if now := c.objects(); now != all {
		t.Errorf("without the older object the objects are\n%s\nand were\n%s", now, all)
	}
}

// theirs is an object that another publisher has made.
func (c *cluster) theirs(node int, publisher string, n int) {
	c.t.Helper()
	e := entry(node)
	b := nic(n)
	o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: e.AttachedNodeName, Namespace: v1.SystemNamespace}}
	if publisher != "" {
		o.Labels = map[string]string{v1.PublisherLabel: publisher}
	}
	o.Spec = v1.MultiNicNodeConfigSpec{NodeName: o.Name, InstanceID: e.AttachedNodeID, Interfaces: []v1.Interface{{ID: new(int32(7)), PortID: b.PortID, MACAddress: b.MACAddress, Address: b.Address, CIDR: b.CIDR}}}
	c.must(c.admin.Create(c.t.Context(), o, client.FieldOwner("theirs")))
}

// Whoever writes an object of ours takes it over, also without a word about it; and gives it back.
func TestAnObjectIsTakenOverAndGivenBack(t *testing.T) {
	c := newCluster(t, 2)
	p := c.publisher()
	c.write(entry(1, 0x101), entry(2, 0x201))
	c.are("worker-1 multinic-legacy g1 multinic0=0101", "worker-2 multinic-legacy g1 multinic0=0201")

	// A publisher that knows nothing of the label.
	o := c.object(1)
	o.Spec.Interfaces[0].MTU = new(int32(9000))
	c.must(c.admin.Update(t.Context(), o, client.FieldOwner("viola")))
	c.says("InProgress 0/2; worker-1 Pending TakenOver; worker-2 Pending")
	c.write(entry(1, 0x101, 0x102), entry(2, 0x201))
	c.says("InProgress 0/2; worker-1 Pending TakenOver; worker-2 Pending")
	c.are("worker-1 multinic-legacy g2 multinic0=0101", "worker-2 multinic-legacy g1 multinic0=0201")
	p.Stop() // and one that begins anew knows it, too
	c.publisher()
	c.settled()
	c.are("worker-1 multinic-legacy g2 multinic0=0101", "worker-2 multinic-legacy g1 multinic0=0201")

	c.annotate(1, v1.PublisherLegacy)
	c.are("worker-1 multinic-legacy g3 multinic0=0101 multinic1=0102", "worker-2 multinic-legacy g1 multinic0=0201")
	c.says("Applied InProgress 0/2; worker-1 Pending; worker-2 Pending")
	if o := c.object(1); o.Annotations[v1.HandOverAnnotation] != "" || *o.Spec.Interfaces[0].MTU != 1450 {
		t.Errorf("%v %+v", o.Annotations, o.Spec.Interfaces[0])
	}

	// To another publisher of ours, node by node.
	c.annotate(2, v1.PublisherIntake)
	c.says("InProgress 0/2; worker-1 Pending; worker-2 Pending HandedOver")
	c.write(entry(1, 0x101, 0x102), entry(2, 0x202))
	c.says("InProgress 0/2; worker-1 Pending; worker-2 Pending HandedOver")
	c.are("worker-1 multinic-legacy g3 multinic0=0101 multinic1=0102", "worker-2 multinic-legacy g1 multinic0=0201")
}

func (c *cluster) annotate(node int, to string) {
	c.t.Helper()
	o := c.object(node)
	before := o.DeepCopy()
	metav1.SetMetaDataAnnotation(&o.ObjectMeta, v1.HandOverAnnotation, to)
	c.must(c.admin.Patch(c.t.Context(), o, client.MergeFrom(before)))
}

// requests is how many the publisher has sent so far.
func (c *cluster) requests() int {
	c.t.Helper()
	all, err := c.Cluster.Requests()
	c.must(err)
	return len(all)
}

// asked compares what the publisher has asked for about objects of nodes since then, whatever it reads in all and says of the older object.
func (c *cluster) asked(since int, want map[string]int) {
	c.t.Helper()
	all, err := c.Cluster.Requests()
	c.must(err)
	got := map[string]int{}
	for _, r := range all[since:] {
		if r.User.Username == "system:serviceaccount:multinic-system:"+v1.PublisherLegacy && r.Verb != "watch" && r.Verb != "list" && r.ObjectRef.Resource == "multinicnodeconfigs" {
			got[r.Verb+" "+r.ObjectRef.Resource+" "+r.ObjectRef.Name]++
		}
	}
	for what, n := range got {
		if want[what] != n {
			c.t.Errorf("it asked %d times: %s, want %d", n, what, want[what])
		}
	}
	for what := range want {
		if got[what] == 0 {
			c.t.Errorf("it did not ask: %s", what)
		}
	}
}

// settled waits until the publisher has made passes over a world in which nothing changes: a Node that comes shows in its status.
func (c *cluster) settled() {
	c.t.Helper()
	probe := &v1.MultiNicBizConfig{ObjectMeta: metav1.ObjectMeta{Name: "probe", Namespace: v1.SystemNamespace}}
	c.must(c.admin.Create(c.t.Context(), probe))
	bed.Eventually(c.t, "the status of another older object", "1", func() string {
		c.must(c.admin.Get(c.t.Context(), client.ObjectKeyFromObject(probe), probe))
		if probe.Status.ObservedGeneration == probe.Generation {
			return "1"
		}
		return ""
	})
	c.must(c.admin.Delete(c.t.Context(), probe))
}
