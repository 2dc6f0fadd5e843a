package credential

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge"
)

func TestTwoBridgesAnswerOnce(t *testing.T) {
	c := newCluster(t)
	stops := []func(){c.run(bridge.Options{LeaderElect: true}), c.run(bridge.Options{LeaderElect: true})}
	const node = "two-bridges"
	c.node(node)
	key := newKey(t)
	open(t, key, c.ask(c.kubelet(node), node, v1.DoorKubelet, key))
	count := func() int {
		all, err := c.Requests()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, r := range all {
			if r.ObjectRef.Resource == "serviceaccounts" && r.ObjectRef.Subresource == "token" && r.ObjectRef.Name == v1.ServiceAccountName(node) {
				n++
			}
		}
		return n
	}
	for _, stop := range stops {
		stop()
	}
	if n := count(); n != 1 {
		t.Errorf("%d tokens were asked for, want 1", n)
	}
}

func TestAMaliciousNodeHarmsNobodyElse(t *testing.T) {
	c := newCluster(t)
	c.bridge(nil)
	const bad, good = "malicious", "neighbour"
	c.node(bad)
	c.node(good)
	o, other := c.object(bad), c.object(good)
	evil, victim := c.joined(bad, v1.DoorKubelet), c.joined(good, v1.DoorKubelet)
	c.report(victim, good, v1.Report{UID: other.UID, Generation: 1, Phase: v1.PhaseDone, Interfaces: []v1.InterfaceStatus{
		{ID: 1, Name: "multinic1", MACAddress: "02:00:00:00:01:01", Status: v1.StateConfigured, Reason: v1.ReasonConfigured},
	}})
	done := func() {
		t.Helper()
		c.eventually("the neighbour is Configured", func() string {
			var got v1.MultiNicNodeConfig
			if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(other), &got); err != nil || got.Status.State != v1.StateConfigured {
				return fmt.Sprint(got.Status.State, err)
			}
			return ""
		})
	}
	done()
	said := func() v1.MultiNicNodeConfigStatus {
		t.Helper()
		var got v1.MultiNicNodeConfig
		if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(other), &got); err != nil {
			t.Fatal(err)
		}
		return got.Status
	}
	before := said()

	// What admission keeps away.
	if err := write(t.Context(), evil, bad, strings.Repeat("x", 1<<20)); !refusedBy(err, "at most 32768 bytes") {
		t.Errorf("a report of 1 MiB: %v", err)
	}
	cm := &corev1.ConfigMap{ObjectMeta: inNodes(v1.ReportName(bad))}
	for _, body := range []string{
		`{"metadata":{"finalizers":["example.com/stay"]}}`,
		`{"metadata":{"labels":{"multinic.io/component":null}}}`,
		`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"neighbour","uid":"x"}]}}`,
	} {
		if err := evil.Patch(t.Context(), cm, client.RawPatch(types.MergePatchType, []byte(body))); !refusedBy(err, "none of its report's metadata") {
			t.Errorf("%s: %v", body, err)
		}
	}
	for i := range 40 {
		body := fmt.Appendf(nil, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":%q},"data":{%q:"x"}}`, cm.Name, cm.Namespace, v1.ReportKey)
		err := evil.Patch(t.Context(), cm, client.RawPatch(types.ApplyPatchType, body), client.FieldOwner(fmt.Sprint("manager-", i)), client.ForceOwnership)
		if i == 39 && !refusedBy(err, "no more than a few field managers") {
			t.Errorf("forty field managers: %v", err)
		}
	}
	// A Lease that no client could read as JSON could not be changed by anybody.
	lease := &coordinationv1.Lease{ObjectMeta: inNodes(v1.LeaseName(bad))}
	for _, at := range []string{"9999-12-31T23:59:59.000000-12:00", "0000-01-01T00:00:00.000000+12:00", "0001-01-01T00:00:00.000001Z"} {
		for _, field := range []string{"renewTime", "acquireTime"} {
			body := fmt.Appendf(nil, `{"spec":{%q:%q}}`, field, at)
			if err := evil.Patch(t.Context(), lease, client.RawPatch(types.MergePatchType, body)); !refusedBy(err, "in the years 1970 to 9999") {
				t.Errorf("%s: %v", body, err)
			}
		}
	}
	// What the bridge makes of the rest.
	as := v1.Report{UID: other.UID, Generation: 1, Phase: v1.PhaseDone, Node: good, Executor: v1.ExecutorDaemon, Version: "x"}
	impostor, err := as.Encode()
	if err != nil {
		t.Fatal(err)
	}
	// A node that plays the bridge would be told of as silent, with the bridge's authority.
	plays := strings.Replace(string(impostor), `"interfaces"`, `"refused":{"reason":"NodeSilent"},"interfaces"`, 1)
	plays = strings.Replace(plays, good, bad, 1)
	who := "system:serviceaccount:" + v1.NodesNamespace + ":" + v1.ServiceAccountName(bad)
	for text, why := range map[string]string{
		`{"schema":"other"}`:                     "schema",
		string(impostor):                         "another node",
		plays:                                    "a word of the bridge alone",
		"\x1b[31m\x07 <script>alert(1)</script>": "wrote a report",
		`{"schema":"<script>alert(1)</script>\u202e"}`: "wrote a report",
	} {
		if err := write(t.Context(), evil, bad, text); err != nil {
			t.Fatal(err)
		}
		c.event(v1.SystemNamespace, bad, v1.ReasonReportRefused, why)
	}
	c.event(v1.SystemNamespace, bad, v1.ReasonReportRefused, who)
	began := time.Now()
	var flood sync.WaitGroup
	for n := range 20 {
		flood.Go(func() {
			for i := range 50 {
				text := string(impostor)
				if i%2 == 0 {
					text = fmt.Sprintf(`{"schema":"%d-%d"}`, n, i)
				}
				body, err := json.Marshal(fields{"data": fields{v1.ReportKey: text}})
				if err == nil {
					err = evil.Patch(t.Context(), &corev1.ConfigMap{ObjectMeta: inNodes(v1.ReportName(bad))}, client.RawPatch(types.MergePatchType, body))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	flood.Wait()
	t.Logf("1,000 updates in %s", time.Since(began).Round(time.Millisecond))
	// The bridge is there for the neighbour, and for the node itself.
	c.report(evil, bad, v1.Report{UID: o.UID, Generation: 1, Phase: v1.PhaseDone, Interfaces: []v1.InterfaceStatus{
		{ID: 1, Name: "multinic1", MACAddress: "02:00:00:00:01:01", Status: v1.StateFailed, Reason: v1.ReasonApplyFailed, Message: "<b>x</b>"},
	}})
	c.eventually("the node's own status follows", func() string {
		var got v1.MultiNicNodeConfig
		if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(o), &got); err != nil || got.Status.State != v1.StateFailed {
			return fmt.Sprint(got.Status.State, err)
		}
		return ""
	})
	if diff := cmp.Diff(before, said()); diff != "" {
		t.Errorf("the neighbour's status has changed (-before +after):\n%s", diff)
	}
	var list eventsv1.EventList
	if err := c.admin.List(t.Context(), &list, client.InNamespace(v1.SystemNamespace)); err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, e := range list.Items {
		if e.Regarding.Name == bad {
			told++
		}
		if e.Note != v1.Printable(e.Note, 1000) {
			t.Errorf("an Event holds what cannot be printed: %q", e.Note)
		}
	}
	if told > 20 {
		t.Errorf("there are %d Events about it: it fills the cluster with them", told)
	}
}

// RBAC alone would let a cluster administrator.
func TestNobodyButTheBridgeWritesStatus(t *testing.T) {
	c := newCluster(t)
	const node = "status-of-all"
	o := c.object(node)
	patch := client.RawPatch(types.MergePatchType, []byte(`{"status":{"state":"Configured"}}`))
	if err := c.admin.Status().Patch(t.Context(), o, patch); !refusedBy(err, "status is written by the bridge alone") {
		t.Errorf("an administrator writes status: %v", err)
	}
	// Beside the subresource it counts for nothing.
	if err := c.admin.Patch(t.Context(), o, patch); err != nil || o.Status.State != "" {
		t.Errorf("written with the spec it is %q: %v", o.Status.State, err)
	}
	// Of each kind one identity of the bridge writes it, whatever rights the other has.
	run := &v1.MultiNicNodeRun{ObjectMeta: metav1.ObjectMeta{Name: node, Namespace: system}, Spec: v1.MultiNicNodeRunSpec{Node: node, Action: v1.ActionTrigger}}
	c.create(run)
	cfg := c.Config()
	cfg.Impersonate = rest.ImpersonationConfig{UserName: "system:node:" + node, Groups: []string{"system:masters", "system:nodes"}}
	asked := request(t, node)
	if err := newClient(t, cfg).Create(t.Context(), asked); err != nil {
		t.Fatal(err)
	}
	defer c.delete(asked)
	for _, tt := range []struct {
		o               client.Object
		status          string
		writes, doesNot string
	}{
		{o, `{"state":"Configured"}`, v1.BridgeAccount, v1.CredentialsAccount},
		{run, `{"state":"Succeeded"}`, v1.BridgeAccount, v1.CredentialsAccount},
		{asked, `{"reason":"X"}`, v1.CredentialsAccount, v1.BridgeAccount},
	} {
		patch := client.RawPatch(types.MergePatchType, []byte(`{"status":`+tt.status+`}`))
		write := func(account string) error {
			return c.user("system:serviceaccount:"+system+":"+account).Status().Patch(t.Context(), tt.o, patch, client.DryRunAll)
		}
		if err := write(tt.writes); err != nil {
			t.Errorf("%s cannot write the status of a %T: %v", tt.writes, tt.o, err)
		}
		if err := write(tt.doesNot); !refusedBy(err, "of each kind by one of its identities") {
			t.Errorf("%s writes the status of a %T: %v", tt.doesNot, tt.o, err)
		}
	}
}

func TestAKeyThatIsNoneIsRefused(t *testing.T) {
	c := newCluster(t)
	c.bridge(nil)
	const node = "bad-key"
	c.node(node)
	by := c.kubelet(node)
	r := request(t, node)
	r.Spec.PublicKey = make([]byte, v1.PublicKeySize)
	c.eventually("the request can be made", func() string { return may(by.Create(t.Context(), r)) })
	if got := c.answer(by, node); got.Status.Reason != v1.ReasonKeyInvalid {
		t.Errorf("a key of zeros is answered with %q, sealed: %v", got.Status.Reason, got.Status.SealedAt)
	}
	c.delete(r)
	// What no client could decode would end the bridge's watch for everybody.
	raw := fmt.Sprintf(`{"apiVersion":"multinic.io/v1","kind":"NodeTokenRequest","metadata":{"name":%q,"namespace":%q},"spec":{"door":"Kubelet","publicKey":"%s"}}`,
		node, v1.NodesNamespace, strings.Repeat("!", 44))
	_, err := c.Apply(t.Context(), raw, "--server-side")
	if err == nil || !strings.Contains(err.Error(), "publicKey") {
		t.Errorf("a key that is no base64: %v", err)
	}
}
