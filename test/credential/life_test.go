package credential

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/controller"
	"multinicd/test/bed"
)

// joined is a node that has joined through a door.
func (c *cluster) joined(node string, door v1.Door) client.Client {
	c.t.Helper()
	by := func() client.Client {
		if door == v1.DoorKubelet {
			return c.kubelet(node)
		}
		return c.bearer(c.invite(node))
	}()
	key := newKey(c.t)
	r := c.ask(by, node, door, key)
	as := c.bearer(open(c.t, key, r))
	if err := renew(c.t.Context(), as, node, r.UID); err != nil {
		c.t.Fatal(err)
	}
	c.gone(r)
	return as
}

func (c *cluster) account(node string) *corev1.ServiceAccount {
	c.t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: inNodes(v1.ServiceAccountName(node))}
	c.eventually("there is an identity of "+node, func() string {
		if err := c.admin.Get(c.t.Context(), client.ObjectKeyFromObject(account), account); err != nil {
			return err.Error()
		}
		return ""
	})
	return account
}

func TestANodeThatIsDeletedLosesItsIdentity(t *testing.T) {
	c := newCluster(t)
	c.bridge(nil)
	const node = "deleted"
	n := c.node(node)
	as := c.joined(node, v1.DoorKubelet)
	account := c.account(node)
	if len(account.OwnerReferences) != 1 || account.OwnerReferences[0].UID != n.UID {
		t.Errorf("it is owned by %v", account.OwnerReferences)
	}
	c.delete(n)
	c.refused(as, "its Node is gone")
	c.gone(account)
	c.gone(&corev1.ConfigMap{ObjectMeta: inNodes(v1.ReportName(node))})
}

func TestARevokedNodeGetsANewIdentityAndItsTokensAreWorthNothing(t *testing.T) {
	c := newCluster(t)
	stop := c.bridge(nil)
	const node = "revoked"
	c.node(node)
	as := c.joined(node, v1.DoorKubelet)
	before := c.account(node)

	// Nobody but the node renews its token: the bridge may be down for long.
	stop()
	for range 3 {
		token, err := renewToken(t, as, node, "Node", node)
		if err != nil {
			t.Fatal(err)
		}
		as = c.bearer(token)
	}
	c.bridge(nil)
	c.must("token", "revoke", "--node", node)
	c.refused(as, "its token is revoked")
	c.eventually("there is a new identity", func() string {
		if c.account(node).UID == before.UID {
			return "it is the old one"
		}
		return ""
	})
	c.joined(node, v1.DoorKubelet)
}

func TestANodeHearsThatItsObjectIsGoneBeforeItLosesItsIdentity(t *testing.T) {
	c := newCluster(t)
	at := &clock{}
	c.bridge(at)
	for node, ends := range map[string]func(as client.Client, o *v1.MultiNicNodeConfig){
		"reports-removal": func(as client.Client, o *v1.MultiNicNodeConfig) {
			// About another object it says nothing that counts.
			c.report(as, o.Name, v1.Report{UID: "another", Generation: 1, Phase: v1.PhaseRemoved})
			c.report(as, o.Name, v1.Report{UID: o.UID, Generation: 1, Phase: v1.PhaseDone})
			c.noticed(o.Name)
			if err := as.Get(c.t.Context(), client.ObjectKeyFromObject(o), &v1.MultiNicNodeConfig{}); !apierrors.IsNotFound(err) {
				t.Errorf("before it has reported: %v", err)
			}
			c.report(as, o.Name, v1.Report{UID: o.UID, Generation: 1, Phase: v1.PhaseRemoved})
		},
		"stays-away": func(_ client.Client, o *v1.MultiNicNodeConfig) {
			c.noticed(o.Name)
			at.forward(25 * time.Hour)
			c.kubectl("label", "serviceaccount", "-n", v1.NodesNamespace, v1.ServiceAccountName(o.Name), "wake=up")
		},
	} {
		t.Run(node, func(t *testing.T) {
			o := c.object(node)
			as := c.joined(node, v1.DoorJoinToken)
			c.delete(o)
			c.eventually("the node sees that its object is gone", func() string {
				if err := as.Get(t.Context(), client.ObjectKeyFromObject(o), &v1.MultiNicNodeConfig{}); !apierrors.IsNotFound(err) {
					return errorText(err)
				}
				return ""
			})
			ends(as, o)
			c.refused(as, "the identity is removed")
			for _, gone := range []client.Object{
				&corev1.ServiceAccount{ObjectMeta: inNodes(v1.ServiceAccountName(node))},
				&corev1.Secret{ObjectMeta: inNodes(v1.ServiceAccountName(node))},
				&corev1.ConfigMap{ObjectMeta: inNodes(v1.ReportName(node))},
			} {
				c.gone(gone)
			}
		})
	}
}

// noticed waits until the bridge has written down that nothing speaks for a
// node.
func (c *cluster) noticed(node string) {
	c.t.Helper()
	c.eventually("the bridge notices", func() string {
		if c.account(node).Annotations["multinic.io/unclaimed-since"] == "" {
			return "it has not"
		}
		return ""
	})
}

// report writes a report as the node does.
func (c *cluster) report(as client.Client, node string, r v1.Report) {
	c.t.Helper()
	r.Node, r.Executor, r.Version = node, v1.ExecutorDaemon, "test"
	data, err := r.Encode()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := write(c.t.Context(), as, node, string(data)); err != nil {
		c.t.Fatal(err)
	}
}

func write(ctx context.Context, as client.Client, node, text string) error {
	cm := &corev1.ConfigMap{ObjectMeta: inNodes(v1.ReportName(node))}
	if err := as.Get(ctx, client.ObjectKeyFromObject(cm), cm); err != nil {
		return err
	}
	cm.Data = map[string]string{v1.ReportKey: text}
	return as.Update(ctx, cm)
}

func TestNothingIsHandedOutWithoutAdmission(t *testing.T) {
	c := newCluster(t)
	restore := func() {
		// To apply alone would leave what somebody else has added.
		c.kubectl("delete", "--ignore-not-found", "-f", bed.Path(t, "deploy/admission.yaml"))
		c.kubectl("apply", "--server-side", "-f", bed.Path(t, "deploy/admission.yaml"))
	}
	for name, spoil := range map[string]func(){
		"a binding is gone": func() { c.kubectl("delete", "validatingadmissionpolicybinding", "multinic-node-leases") },
		"a policy is gone":  func() { c.kubectl("delete", "validatingadmissionpolicy", "multinic-status") },
		"a binding only logs": func() {
			c.patch("validatingadmissionpolicybinding", "multinic-node-reports", `{"spec":{"validationActions":["Audit"]}}`)
		},
		"a policy has a hole": func() {
			c.patch("validatingadmissionpolicy", "multinic-node-tokens", `{"spec":{"matchConditions":[{"name":"hole","expression":"request.name != 'multinic-node-x'"}]}}`)
		},
		"no audiences are named": func() { c.kubectl("delete", "configmap", "-n", v1.SystemNamespace, "multinic-admission") },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			node := "unguarded-" + strings.ReplaceAll(name, " ", "-")
			c.node(node)
			stop := c.bridge(nil)
			c.account(node) // the right to ask is there
			by := c.kubelet(node)
			c.eventually("the right to ask is there", func() string {
				return may(by.Create(t.Context(), request(t, node), client.DryRunAll))
			})
			stop()
			defer restore()
			spoil()
			c.node(node + "-new")
			if name == "no audiences are named" {
				c.eventually("the API server has noticed", func() string {
					if _, err := c.Kubectl(t.Context(), "create", "token", "multinic-probe-tokens", "-n", v1.NodesNamespace); err == nil || !strings.Contains(err.Error(), "params") {
						return errorText(err)
					}
					return ""
				})
			}
			c.bridge(nil)
			key := newKey(t)
			if r := c.ask(by, node, v1.DoorKubelet, key); r.Status.Reason != v1.ReasonAdmissionMissing || r.Status.SealedAt != nil {
				t.Errorf("it is answered with %q, sealed: %v", r.Status.Reason, r.Status.SealedAt)
			}
			c.event(v1.NodesNamespace, node, v1.ReasonAdmissionMissing, "")
			c.event(v1.SystemNamespace, v1.BridgeAccount, v1.ReasonAdmissionMissing, "")
			c.eventually("a new node has its mailbox", func() string {
				return may(c.admin.Get(t.Context(), client.ObjectKey{Namespace: v1.NodesNamespace, Name: v1.ReportName(node + "-new")}, &corev1.ConfigMap{}))
			})
			err := c.admin.Get(t.Context(), client.ObjectKey{Namespace: v1.NodesNamespace, Name: v1.ServiceAccountName(node + "-new")}, &corev1.ServiceAccount{})
			if !apierrors.IsNotFound(err) {
				t.Errorf("a new node gets an identity: %v", err)
			}

			// As soon as they are back the request is answered, without being
			// made again.
			restore()
			c.eventually("the token is sealed", func() string {
				if c.answer(by, node).Status.SealedAt == nil {
					return "it is not"
				}
				return ""
			})
			open(t, key, c.answer(by, node))
		})
	}
}

func (c *cluster) patch(kind, name, body string) {
	c.t.Helper()
	c.kubectl("patch", kind, name, "--type=merge", "-p", body)
}

func request(t *testing.T, node string) *v1.NodeTokenRequest {
	t.Helper()
	return &v1.NodeTokenRequest{ObjectMeta: inNodes(node),
		Spec: v1.NodeTokenRequestSpec{Door: v1.DoorKubelet, PublicKey: newKey(t).Public()}}
}

func may(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestTwoBridgesAnswerOnce(t *testing.T) {
	c := newCluster(t)
	stops := []func(){c.run(controller.Options{LeaderElect: true}), c.run(controller.Options{LeaderElect: true})}
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

	// What the bridge makes of the rest.
	as := v1.Report{UID: other.UID, Generation: 1, Phase: v1.PhaseDone, Node: good, Executor: v1.ExecutorDaemon, Version: "x"}
	impostor, err := as.Encode()
	if err != nil {
		t.Fatal(err)
	}
	who := "system:serviceaccount:" + v1.NodesNamespace + ":" + v1.ServiceAccountName(bad)
	for text, why := range map[string]string{
		`{"schema":"other"}`:                           "schema",
		string(impostor):                               "another node",
		"\x1b[31m\x07 <script>alert(1)</script>":       "wrote a report",
		`{"schema":"<script>alert(1)</script>\u202e"}`: "wrote a report",
	} {
		if err := write(t.Context(), evil, bad, text); err != nil {
			t.Fatal(err)
		}
		c.event(v1.SystemNamespace, bad, v1.ReasonReportRefused, why)
	}
	c.event(v1.SystemNamespace, bad, v1.ReasonReportRefused, who)
	for i := range 1000 {
		text := string(impostor)
		if i%2 == 0 {
			text = fmt.Sprintf(`{"schema":"%d"}`, i)
		}
		if err := write(t.Context(), evil, bad, text); err != nil {
			t.Fatal(err)
		}
	}
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
	done()
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
	o := c.object("status-of-all")
	patch := client.RawPatch(types.MergePatchType, []byte(`{"status":{"state":"Configured"}}`))
	if err := c.admin.Status().Patch(t.Context(), o, patch); !refusedBy(err, "status is written by the bridge alone") {
		t.Errorf("an administrator writes status: %v", err)
	}
	// Beside the subresource it counts for nothing.
	if err := c.admin.Patch(t.Context(), o, patch); err != nil || o.Status.State != "" {
		t.Errorf("written with the spec it is %q: %v", o.Status.State, err)
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
