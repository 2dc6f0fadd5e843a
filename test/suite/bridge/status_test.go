package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
)

const (
	unheard = "Pending Ready=Unknown NoReport 0/2 generation 1"
	done    = "Configured Ready=True AllInterfacesConfigured 2/2 generation 1"
)

func quote(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err) // of a string: never
	}
	return string(data)
}

func TestStatusFollowsTheReports(t *testing.T) {
	c := newCluster(t)
	n := c.node("follows")
	c.startBridge(v1.SilentAfter)
	o := n.publish()
	n.becomes(unheard)
	n.say(n.report(o, v1.StateConfigured, v1.ReasonConfigured))
	n.becomes(done)
	if _, err := c.Kubectl(t.Context(), "wait", "--for=condition=Ready", "--timeout=10s", "-n", v1.SystemNamespace, "mnnc/"+n.name); err != nil {
		t.Error(err)
	}

	o = n.change("two")
	n.becomes("InProgress Ready=False Applying 0/2 generation 2")
	waits := n.report(o, v1.StateConfigured, v1.ReasonConfigured)
	waits.Interfaces[1].Status, waits.Interfaces[1].Reason = v1.StatePending, v1.ReasonWaitingForNIC
	n.say(waits)
	n.becomes("Pending Ready=False InterfacesWaiting 1/2 generation 2")
	n.say(n.report(o, v1.StateConfigured, v1.ReasonConfigured))
	n.becomes("Configured Ready=True AllInterfacesConfigured 2/2 generation 2")
	refused := n.report(o, v1.StateConfigured, v1.ReasonConfigured)
	refused.Interfaces[0].Status, refused.Interfaces[0].Reason = v1.StateFailed, v1.ReasonProtectedLink
	n.say(refused)
	n.becomes("Failed Ready=False InterfacesFailed 1/2 generation 2")

	s := n.status()
	if s.ReportLevel != v1.ReportLevel {
		t.Errorf("the bridge says that it reads reports up to level %d", s.ReportLevel)
	}
	undone := n.report(o, v1.StateFailed, v1.ReasonApplyFailed)
	undone.Interfaces[1].Outcome = v1.OutcomeRolledBack
	n.say(undone)
	n.becomes("Failed Ready=False InterfacesFailed 0/2 generation 2")
	if got := n.status().InterfaceStatuses; got[0].Outcome != "" || got[1].Outcome != v1.OutcomeRolledBack {
		t.Errorf("the outcomes are %q and %q", got[0].Outcome, got[1].Outcome)
	}
	noted := n.report(o, v1.StateConfigured, v1.ReasonConfigured)
	noted.Degraded = &v1.Remark{Reason: v1.ReasonIdentityUnverified, Message: "nothing to compare"}
	n.say(noted)
	n.becomes("Configured Ready=True AllInterfacesConfigured 2/2 generation 2")
	for _, c := range n.status().Conditions {
		if c.Type == v1.ConditionDegraded && (c.Status != metav1.ConditionFalse || c.Message != "IdentityUnverified: nothing to compare") {
			t.Errorf("with a note Degraded is %s %s: %s", c.Status, c.Reason, c.Message)
		}
	}
	n.say(refused)
	n.becomes("Failed Ready=False InterfacesFailed 1/2 generation 2")
	s = n.status()
	if s.ObservedSpecHash != "two" || s.LastProcessed == nil {
		t.Errorf("observedSpecHash %q, lastProcessed %v", s.ObservedSpecHash, s.LastProcessed)
	}
	table, err := c.Kubectl(t.Context(), "get", "mnnc", "-n", v1.SystemNamespace, n.name)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NODE", "STATE", "READY", "INTERFACES", "AGE", "Failed", "False", "1/2"} {
		if !strings.Contains(table, want) {
			t.Errorf("kubectl get shows no %s:\n%s", want, table)
		}
	}
}

// A change that the node reports within a second costs the bridge one request, and another two. This test does not ask the machine to be fast: where a
// change took longer than that second, it may have cost two.
func TestAChangeCostsTheBridgeOneRequestOrTwo(t *testing.T) {
	c := newCluster(t)
	n := c.node("cheap")
	c.startBridge(v1.SilentAfter)
	n.say(n.report(n.publish(), v1.StateConfigured, v1.ReasonConfigured))
	n.becomes(done)

	const changes = 10
	before, most := len(c.requestsSoFar()), 0
	for i := range changes {
		slow, begin := i%5 == 4, time.Now()
		o := n.change(fmt.Sprint("hash-", i))
		if slow {
			n.becomes(fmt.Sprintf("InProgress Ready=False Applying 0/2 generation %d", o.Generation))
		}
		n.say(n.report(o, v1.StateConfigured, v1.ReasonConfigured))
		n.becomes(fmt.Sprintf("Configured Ready=True AllInterfacesConfigured 2/2 generation %d", o.Generation))
		if most++; slow || time.Since(begin) >= time.Second {
			most++
		}
	}
	requests := slices.DeleteFunc(c.requestsSoFar()[before:], func(r string) bool {
		// The look at the policies, and what tries them, every two minutes.
		return strings.HasPrefix(r, "get configmaps multinic-") || strings.Contains(r, " multinic-probe-")
	})
	if len(requests) > most {
		t.Errorf("%d requests for %d changes, want at most %d", len(requests), changes, most)
	}
	for _, r := range requests {
		if r != "patch multinicnodeconfigs/status cheap" {
			t.Errorf("a change costs: %s", r)
		}
	}

	// The same said again, and what says nothing about the NICs, costs nothing.
	o := n.change("last")
	n.say(n.report(o, v1.StateConfigured, v1.ReasonConfigured))
	n.becomes(fmt.Sprintf("Configured Ready=True AllInterfacesConfigured 2/2 generation %d", o.Generation))
	before = len(c.requestsSoFar())
	again := n.report(o, v1.StateConfigured, v1.ReasonConfigured)
	again.Version = "another"
	n.say(again)
	n.renewLease()
	if err := c.admin.Patch(t.Context(), n.shell(), client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`))); err != nil {
		t.Fatal(err)
	}
	for _, r := range c.requestsSoFar()[before:] {
		if strings.HasSuffix(r, " cheap") {
			t.Errorf("what is said again costs: %s", r)
		}
	}
}

// requestsSoFar are bridgeRequests about other nodes than its own, which it makes to know when the API server has written down what came before: a
// request stands in its log a moment after it was answered.
func (c *cluster) requestsSoFar() []string {
	c.t.Helper()
	c.marks++
	mark := fmt.Sprintf("mark-%d", c.marks)
	c.node(mark).publish()
	var before []string
	c.eventually("the bridge sees node "+mark, func() string {
		before = c.bridgeRequests()
		for _, by := range []string{"multinicnodeconfigs/status " + mark, "leases " + v1.LeaseName(mark)} { // each of two loops, which may be at work on others
			if !slices.Contains(before, "patch "+by) {
				return "it has not written " + by
			}
		}
		return ""
	})
	return slices.DeleteFunc(before, func(r string) bool { return strings.Contains(r, "mark-") })
}

// bridgeRequests are what the bridge asked of the API server beyond its
// watches, in order.
func (c *cluster) bridgeRequests() []string {
	c.t.Helper()
	all, err := c.Requests()
	if err != nil {
		c.t.Fatal(err)
	}
	var out []string
	for _, r := range all {
		if r.UserAgent != bridgeAgent || r.Verb == "watch" || r.Verb == "list" || r.ObjectRef.Resource == "" {
			continue
		}
		resource := r.ObjectRef.Resource
		if strings.HasPrefix(resource, "validatingadmission") {
			continue // it looks every few seconds, whatever the nodes do
		}
		if resource == "events" {
			continue // of transitions only, see TestEventsTellOfTransitionsOnly; they are written when the library likes
		}
		if r.ObjectRef.Subresource != "" {
			resource += "/" + r.ObjectRef.Subresource
		}
		out = append(out, strings.Join([]string{r.Verb, resource, r.ObjectRef.Name}, " "))
	}
	return out
}

func TestAReportDoesNotSpeakForAnObjectMadeAnew(t *testing.T) {
	c := newCluster(t)
	n := c.node("anew")
	c.startBridge(v1.SilentAfter)
	before := n.publish()
	n.say(n.report(before, v1.StateConfigured, v1.ReasonConfigured))
	n.becomes(done)

	// Everything that is ever said of the new object, not only how it ends.
	list := &v1.MultiNicNodeConfigList{}
	events := c.watch(list, n.name)
	if err := c.admin.Delete(t.Context(), n.shell()); err != nil {
		t.Fatal(err)
	}
	after := n.publish()
	n.becomes(unheard)
	// The late report of the old one, once more.
	late := n.report(before, v1.StateConfigured, v1.ReasonConfigured)
	late.Version = "late"
	n.say(late)
	n.say(n.report(after, v1.StateFailed, v1.ReasonNameTaken))
	n.becomes("Failed Ready=False InterfacesFailed 0/2 generation 1")
	for {
		e := <-events
		o, ok := e.Object.(*v1.MultiNicNodeConfig)
		if !ok {
			t.Fatalf("the watch ended: %v", e.Object)
		}
		if o.UID != after.UID {
			continue
		}
		if o.Status.State == v1.StateConfigured {
			t.Errorf("the old report made the new object %s", brief(o.Status))
		}
		if o.Status.State == v1.StateFailed {
			return
		}
	}
}

func (c *cluster) watch(list client.ObjectList, name string) <-chan watch.Event {
	c.t.Helper()
	cl, err := client.NewWithWatch(c.Config(), client.Options{Scheme: c.admin.Scheme()})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), bed.Patience)
	c.t.Cleanup(cancel)
	w, err := cl.Watch(ctx, list, client.InNamespace(v1.SystemNamespace), client.MatchingFields{"metadata.name": name})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(w.Stop)
	return w.ResultChan()
}

// renewLease renews the node's Lease as the daemon does.
func (n *node) renewLease() {
	n.c.t.Helper()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: v1.LeaseName(n.name), Namespace: v1.NodesNamespace}}
	body, err := json.Marshal(map[string]any{"spec": map[string]any{
		"holderIdentity": n.name, "renewTime": metav1.NowMicro(),
	}})
	if err != nil {
		n.c.t.Fatal(err)
	}
	if err := n.client.Patch(n.c.t.Context(), lease, client.RawPatch(types.MergePatchType, body)); err != nil {
		n.c.t.Fatal(err)
	}
}

func TestASilentNodeKeepsItsStateAndIsNotReady(t *testing.T) {
	const silence = 2 * time.Second
	c := newCluster(t)
	n := c.node("silent")
	stop := c.startBridge(silence)
	n.say(n.report(n.publish(), v1.StateConfigured, v1.ReasonConfigured))
	const silent = "Configured Ready=Unknown NodeSilent 2/2 generation 1"
	n.becomes(silent)
	c.eventually("a node that renews its Lease is heard", func() string {
		n.renewLease() // on and on: once would count for the time of silence only, which may be over before anybody looks
		if got := brief(n.status()); got != done {
			return "it is " + got
		}
		return ""
	})
	n.becomes(silent)

	// A bridge that starts has not seen how long; it goes on saying so.
	stop()
	stop = c.startBridge(time.Hour)
	other := c.node("silent-other")
	other.publish()
	other.becomes(unheard)
	if got := brief(n.status()); got != silent {
		t.Errorf("after a restart of the bridge it is %s", got)
	}
	n.renewLease()
	n.becomes(done)

	// A bridge that makes no Jobs does not believe a node that calls its report a Job's: the silence
	// of its daemon counts. The rows of internal/bridge/status have the bridge that makes Jobs.
	stop()
	r := n.report(n.shell(), v1.StateConfigured, v1.ReasonConfigured)
	o := n.shell()
	if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	r.UID, r.Generation, r.Executor, r.JobName = o.UID, o.Generation, v1.ExecutorJob, "multinic-agent-silent-1"
	n.say(r)
	c.startBridge(time.Millisecond)
	c.eventually("the Job is named", func() string {
		if got := n.status().LastJobName; got != r.JobName {
			return "lastJobName is " + got
		}
		return ""
	})
	n.becomes(silent)
}

func TestGarbageHarmsNobodyElse(t *testing.T) {
	c := newCluster(t)
	bad, good := c.node("garbage"), c.node("neighbour")
	c.startBridge(v1.SilentAfter)
	o, other := bad.publish(), good.publish()
	good.say(good.report(other, v1.StateConfigured, v1.ReasonConfigured))
	good.becomes(done)

	impostor := bad.report(other, v1.StateFailed, v1.ReasonNameTaken)
	impostor.Node = good.name
	named, err := impostor.Encode()
	if err != nil {
		t.Fatal(err)
	}
	const refused = "Pending Ready=Unknown ReportRefused 0/2 generation 1"
	for name, text := range map[string]string{
		"no JSON":              "\x01\x02 hello",
		"an empty object":      "{}",
		"a deep nest":          strings.Repeat("[", 20000),
		"nearly a MiB":         strings.Repeat("x", 1000<<10),
		"the neighbour's name": string(named),
		"markup":               `{"schema":"<script>alert(1)</script>"}`,
	} {
		bad.sayText(text)
		bad.becomes(refused)
		for _, cond := range bad.status().Conditions {
			if len(cond.Message) > 512 {
				t.Errorf("%s makes a message of %d bytes", name, len(cond.Message))
			}
		}
		bad.sayText("") // nothing stands there, so the next one is news
	}
	good.becomes(done)

	for what, obj := range map[string]client.Object{
		"report": &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: v1.ReportName(good.name), Namespace: v1.NodesNamespace}},
		"Lease":  &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: v1.LeaseName(good.name), Namespace: v1.NodesNamespace}},
		"object": good.shell(),
	} {
		err := bad.client.Patch(t.Context(), obj, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"x":"y"}}}`)))
		if !apierrors.IsForbidden(err) {
			t.Errorf("a node writes its neighbour's %s: %v", what, err)
		}
	}
	bad.say(bad.report(o, v1.StateConfigured, v1.ReasonConfigured))
	bad.becomes(done)
}

// A thousand reports in a row do not cost the API server as many writes, and
// the last one is the one that counts.
func TestANodeThatTalksAllTheTimeIsHeldBack(t *testing.T) {
	c := newCluster(t)
	n := c.node("talkative")
	c.startBridge(v1.SilentAfter)
	o := n.publish()
	n.becomes(unheard)
	before, began := len(c.bridgeRequests()), time.Now()
	for i := range 1000 {
		r := n.report(o, v1.StateFailed, v1.ReasonApplyFailed)
		r.Interfaces[0].Message = fmt.Sprint("attempt ", i)
		n.say(r)
	}
	n.say(n.report(o, v1.StateConfigured, v1.ReasonConfigured))
	n.becomes(done)
	most := 200 + int(time.Since(began)/(50*time.Millisecond)) + 1
	got := 0 // about this node: the bridge may be at work on what an earlier test has left
	for _, r := range c.bridgeRequests()[before:] {
		if strings.HasSuffix(r, " "+n.name) {
			got++
		}
	}
	if got > most {
		t.Errorf("1001 reports made %d writes, want at most %d", got, most)
	}
}

func TestTwoNodesDoNotTouch(t *testing.T) {
	c := newCluster(t)
	a, b := c.node("node-a"), c.node("node-b")
	c.startBridge(v1.SilentAfter)
	oa, ob := a.publish(), b.publish()
	a.say(a.report(oa, v1.StateFailed, v1.ReasonProtectedLink))
	b.say(b.report(ob, v1.StateConfigured, v1.ReasonConfigured))
	a.becomes("Failed Ready=False InterfacesFailed 0/2 generation 1")
	b.becomes(done)
	a.change("two")
	a.becomes("InProgress Ready=False Applying 0/2 generation 2")
	b.becomes(done)
}

func TestEventsTellOfTransitionsOnly(t *testing.T) {
	c := newCluster(t)
	n := c.node("events")
	c.startBridge(v1.SilentAfter)
	told := func(want ...string) {
		t.Helper()
		c.eventually(fmt.Sprint("the Events are ", want), func() string {
			var list eventsv1.EventList
			if err := c.admin.List(t.Context(), &list, client.InNamespace(v1.SystemNamespace)); err != nil {
				return err.Error()
			}
			var got []string
			slices.SortFunc(list.Items, func(a, b eventsv1.Event) int { return a.EventTime.Compare(b.EventTime.Time) })
			for _, e := range list.Items {
				if e.Regarding.Name == n.name {
					got = append(got, e.Type+" "+e.Reason)
				}
			}
			if !slices.Equal(got, want) {
				return fmt.Sprint("they are ", got)
			}
			return ""
		})
	}
	o := n.publish()
	n.becomes(unheard)
	n.say(n.report(o, v1.StateConfigured, v1.ReasonConfigured))
	n.becomes(done)
	const first = "Normal AllInterfacesConfigured"
	told(first)
	for i := range 3 { // changes that end as the one before
		o = n.change(fmt.Sprint(i))
		n.becomes(fmt.Sprintf("InProgress Ready=False Applying 0/2 generation %d", o.Generation))
		n.say(n.report(o, v1.StateConfigured, v1.ReasonConfigured))
		n.becomes(fmt.Sprintf("Configured Ready=True AllInterfacesConfigured 2/2 generation %d", o.Generation))
	}
	n.say(n.report(o, v1.StateFailed, v1.ReasonProbeFailed))
	told(first, "Warning InterfacesFailed")
	n.say(n.report(o, v1.StateConfigured, v1.ReasonConfigured))
	told(first, "Warning InterfacesFailed", first)
	fight := n.report(o, v1.StateInProgress, v1.ReasonDriftFighting)
	fight.Degraded = &v1.Remark{Reason: v1.ReasonDriftFighting, Message: "multinic1: another writer keeps changing it"}
	for range 2 {
		n.say(fight)
		n.becomes(fmt.Sprintf("InProgress Ready=False DriftFighting 0/2 generation %d", o.Generation))
		fight.Interfaces[0].Message = "again"
	}
	told(first, "Warning InterfacesFailed", first, "Warning DriftFighting")
	n.say(n.report(o, v1.StateConfigured, v1.ReasonConfigured))
	told(first, "Warning InterfacesFailed", first, "Warning DriftFighting", "Normal DriftEnded")
}
