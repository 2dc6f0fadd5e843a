package credential

import (
	"fmt"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
)

func TestNothingIsHandedOutWithoutAdmission(t *testing.T) {
	c := newCluster(t)
	binding := func(does string) func() {
		return func() {
			c.patch("validatingadmissionpolicybinding", "multinic-node-reports", `{"spec":`+does+`}`)
		}
	}
	const reports, tokens, jobs = "validatingadmissionpolicybinding/multinic-node-reports", "validatingadmissionpolicy/multinic-node-tokens", "configmap/multinic-jobs"
	cases := []struct {
		name, says string
		spoil      func()
		spoilt     string // what is there still; none: all the rest is
		restart    bool   // the bridge finds it so when it starts
	}{
		{"a binding is gone", "reading the binding of policy multinic-node-leases",
			func() { c.kubectl("delete", "validatingadmissionpolicybinding", "multinic-node-leases") }, "", false},
		{"a policy is gone", "reading policy multinic-status", func() { c.kubectl("delete", "validatingadmissionpolicy", "multinic-status") }, "", false},
		{"a binding only logs", "the binding of policy multinic-node-reports is not that", binding(`{"validationActions":["Audit"]}`), reports, false},
		{"a binding spares somebody", "the binding of policy multinic-node-reports is not that",
			binding(`{"matchResources":{"objectSelector":{"matchLabels":{"x":"y"}}}}`), reports, false},
		{"a policy has a hole", "policy multinic-node-tokens is not that", func() {
			c.patch("validatingadmissionpolicy", "multinic-node-tokens", `{"spec":{"matchConditions":[{"name":"hole","expression":"request.name != 'multinic-node-x'"}]}}`)
		}, tokens, false},
		{"no audiences are named", "policy multinic-node-tokens did not refuse its probe", func() {
			c.kubectl("delete", "configmap", "-n", v1.SystemNamespace, "multinic-admission")
			c.eventually("the API server has noticed", func() string {
				probe := &corev1.ServiceAccount{ObjectMeta: inNodes("multinic-probe-tokens")}
				if err := c.admin.SubResource("token").Create(t.Context(), probe, &authenticationv1.TokenRequest{}); !refusedBy(err, "params") {
					return errorText(err)
				}
				return ""
			})
		}, "", false},
		{"Pods are let in, and there are no Jobs", `ConfigMap multinic-jobs says that the image is "evil"`, func() {
			c.kubectl("patch", "configmap", "-n", v1.SystemNamespace, "multinic-jobs", "--type=merge", "-p", `{"data":{"image":"evil"}}`)
		}, jobs, false},
		{"all of it is gone", "reading policy", func() { c.kubectl("delete", "-f", bed.Path(t, "deploy/admission.yaml")) }, "", true},
	}
	restore := func(spoilt string) {
		// To apply alone would leave what somebody else has added. What nobody has touched stays: the API server would take all of it into use anew.
		if spoilt != "" {
			c.kubectl("delete", "-n", v1.SystemNamespace, spoilt)
		}
		c.kubectl("apply", "--server-side", "-f", bed.Path(t, "deploy/admission.yaml"))
	}
	stop := c.bridge(nil)
	name := func(i int) string { return fmt.Sprintf("unguarded-%d", i) }
	kubelets, keys := make([]client.Client, len(cases)), make([]*v1.SealKey, len(cases))
	for i := range cases {
		c.node(name(i))
		kubelets[i], keys[i] = c.kubelet(name(i)), newKey(t)
	}
	for i := range cases {
		c.eventually("the right to ask is there", func() string {
			return may(kubelets[i].Create(t.Context(), request(t, name(i)), client.DryRunAll))
		})
	}
	for i, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t)
			// The API server may take a while to go by what the row before has put back.
			c.node(name(i) + "-before")
			c.account(name(i) + "-before")
			if tt.restart {
				stop()
			}
			defer restore(tt.spoilt)
			tt.spoil()
			if tt.restart {
				stop = c.bridge(nil)
			} else {
				time.Sleep(looked) // what the bridge has seen counts for that long
			}
			c.node(name(i) + "-new")
			r := c.ask(kubelets[i], name(i), v1.DoorKubelet, keys[i])
			if r.Status.Reason != v1.ReasonAdmissionMissing || !strings.Contains(r.Status.Message, tt.says) || r.Status.SealedAt != nil {
				t.Errorf("it is answered with %q %q, sealed: %v; want %q", r.Status.Reason, r.Status.Message, r.Status.SealedAt, tt.says)
			}
			c.event(v1.NodesNamespace, name(i), v1.ReasonAdmissionMissing, tt.says)
			c.event(v1.SystemNamespace, v1.CredentialsAccount, v1.ReasonAdmissionMissing, tt.says)
			c.eventually("a new node has its mailbox", func() string {
				return may(c.admin.Get(t.Context(), client.ObjectKey{Namespace: v1.NodesNamespace, Name: v1.ReportName(name(i) + "-new")}, &corev1.ConfigMap{}))
			})
			err := c.admin.Get(t.Context(), client.ObjectKey{Namespace: v1.NodesNamespace, Name: v1.ServiceAccountName(name(i) + "-new")}, &corev1.ServiceAccount{})
			if !apierrors.IsNotFound(err) {
				t.Errorf("a new node gets an identity: %v", err)
			}
		})
	}
	c.bridge(nil)
	// Once all is back, what was asked meanwhile is removed: anybody may have asked. What is asked
	// again is answered.
	for i := range cases {
		c.gone(&v1.NodeTokenRequest{ObjectMeta: inNodes(name(i))})
		c.event(v1.NodesNamespace, name(i), "AskedTooSoon", "asks again by itself")
		key := newKey(t)
		var r *v1.NodeTokenRequest
		c.eventually("the policies are in force again", func() string { // an API server goes by what was put back after a while
			r = c.ask(kubelets[i], name(i), v1.DoorKubelet, key)
			return r.Status.Reason
		})
		open(t, key, r)
	}
}

// By RBAC alone every kubelet may make a request of any name: the name of a new object is not
// looked at.
func TestARequestFromWhenAPolicyWasMissingIsNeverAnswered(t *testing.T) {
	c := newCluster(t)
	c.bridge(nil)
	const thief, victim, policy = "unguarded-thief", "unguarded-victim", "multinic-token-requests"
	c.node(thief)
	c.node(victim)
	by, key := c.kubelet(thief), newKey(t)
	c.account(thief) // from then on the bridge has seen the policies in force, and the kubelet has a right of its own where it takes the shared one back
	c.eventually("the right to ask is there", func() string { return may(by.Create(t.Context(), request(t, thief), client.DryRunAll)) })
	restore := func() { c.kubectl("apply", "--server-side", "-f", bed.Path(t, "deploy/admission.yaml")) }
	defer restore()
	c.kubectl("delete", "validatingadmissionpolicybinding", policy)
	time.Sleep(looked) // what the bridge has seen counts for that long
	forged := request(t, victim)
	forged.Spec.PublicKey = key.Public()
	c.eventually("the API server goes without the policy", func() string { return may(by.Create(t.Context(), forged)) })
	if got := c.answer(c.admin, victim); got.Status.Reason != v1.ReasonAdmissionMissing {
		t.Errorf("meanwhile it is answered with %q, sealed: %v", got.Status.Reason, got.Status.SealedAt)
	}
	restore()
	c.gone(forged)
	c.event(v1.NodesNamespace, victim, "AskedTooSoon", "no token")
	all, err := c.Requests()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.ObjectRef.Resource == "serviceaccounts" && r.ObjectRef.Subresource == "token" && r.ObjectRef.Name == v1.ServiceAccountName(victim) {
			t.Errorf("a token of %s was asked for", victim)
		}
	}
	key = newKey(t)
	open(t, key, c.ask(c.kubelet(victim), victim, v1.DoorKubelet, key))
}

// looked is longer than what the bridge has seen of the policies counts.
const looked = 3500 * time.Millisecond

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
