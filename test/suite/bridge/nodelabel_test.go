package bridge

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge"
	"multinicd/test/bed"
)

func TestNodeLabelFollowsReady(t *testing.T) {
	c := newCluster(t)
	n := c.node("labelled")
	made := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.name, Labels: map[string]string{"pool": "a"}}}
	if err := c.admin.Create(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.admin.Delete(context.WithoutCancel(t.Context()), made) })
	asBridge := c.as("system:serviceaccount:" + v1.SystemNamespace + ":multinic-bridge")
	patch := func(body string) error {
		return asBridge.Patch(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.name}}, client.RawPatch("application/merge-patch+json", []byte(body)))
	}
	if err := patch(`{"metadata":{"labels":{"multinic.io/ready":"true"}}}`); !apierrors.IsForbidden(err) {
		t.Errorf("without deploy/nodelabel.yaml the bridge may label a Node: %v", err)
	}
	file := bed.Path(t, "deploy/nodelabel.yaml")
	if _, err := c.Kubectl(t.Context(), "apply", "--server-side", "-f", file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := c.Kubectl(context.WithoutCancel(t.Context()), "delete", "-f", file); err != nil {
			t.Error(err)
		}
	})
	refused := func(body string) string {
		if err := patch(body); err == nil || !strings.Contains(err.Error(), "multinic-node-label") {
			return fmt.Sprint("got ", err)
		}
		return ""
	}
	tries := 0
	c.eventually("the policy is in force", func() string {
		tries++ // what changes nothing is never refused
		return refused(fmt.Sprintf(`{"metadata":{"annotations":{"try":"%d"}}}`, tries))
	})
	for name, body := range map[string]string{
		"taint it":                   `{"spec":{"taints":[{"key":"a","effect":"NoExecute"}]}}`,
		"cordon it":                  `{"spec":{"unschedulable":true}}`,
		"label it otherwise":         `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`,
		"change another label":       `{"metadata":{"labels":{"pool":"b"}}}`,
		"take another label away":    `{"metadata":{"labels":{"pool":null}}}`,
		"annotate it":                `{"metadata":{"annotations":{"a":"c"}}}`,
		"keep it from being deleted": `{"metadata":{"finalizers":["a.example/b"]}}`,
		"own it":                     `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"a","uid":"b"}]}}`,
		"say a word of its own":      `{"metadata":{"labels":{"multinic.io/ready":"perhaps"}}}`,
		"say it by the other label":  `{"metadata":{"labels":{"node-restriction.kubernetes.io/multinic-ready":"perhaps"}}}`,
	} {
		if got := refused(body); got != "" {
			t.Errorf("the bridge may %s: %s", name, got)
		}
	}
	enforce := func(action string) {
		t.Helper()
		if out, err := c.Kubectl(t.Context(), "patch", "validatingadmissionpolicybinding/multinic-node-label", "--type=merge", "-p", `{"spec":{"validationActions":["`+action+`"]}}`); err != nil {
			t.Fatal(out, err)
		}
	}
	enforce("Audit")
	c.startBridgeWith(bridge.Options{NodeLabel: true})
	shows := func(want string) {
		t.Helper()
		c.eventually("the label of the Node is "+want, func() string {
			var got corev1.Node
			if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(made), &got); err != nil {
				return err.Error()
			}
			for _, label := range v1.ReadyLabels {
				if got.Labels[label] != want {
					return label + " is " + got.Labels[label]
				}
			}
			return ""
		})
	}
	o := n.publish()
	c.eventually("the bridge says that the policy is not in force", func() string {
		out, err := c.Print(t.Context(), "/api/v1/namespaces/"+v1.SystemNamespace+"/events?fieldSelector=reason%3D"+v1.ReasonAdmissionMissing, "{.items[*].message}")
		if err != nil || !strings.Contains(out, "the binding of policy multinic-node-label is not that of this version") {
			return fmt.Sprint(out, err)
		}
		return ""
	})
	shows("") // and labels nothing
	enforce("Deny")
	shows("unknown")
	n.say(n.report(o, v1.StateConfigured, v1.ReasonConfigured))
	shows("true")
	for _, label := range v1.ReadyLabels {
		if err := c.admin.Patch(t.Context(), made.DeepCopy(), client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"labels":{%q:null}}}`, label))); err != nil {
			t.Fatal(err)
		}
		shows("true")
	}
	// A kubelet can say that its Node is ready, but only by one of the two, and not for long.
	as := c.config("system:node:" + n.name)
	as.Impersonate.Groups = []string{"system:nodes"}
	kubelet := newClient(t, as)
	says := func(label string) error {
		return kubelet.Patch(t.Context(), made.DeepCopy(), client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"labels":{%q:"false"}}}`, label)))
	}
	if err := says(v1.GuardedReadyLabel); !apierrors.IsForbidden(err) {
		t.Errorf("a kubelet sets %s: %v", v1.GuardedReadyLabel, err)
	}
	if err := says(v1.ReadyLabel); err != nil {
		t.Errorf("a kubelet sets %s: %v", v1.ReadyLabel, err)
	}
	shows("true")
	n.change("two")
	shows("false")
	if err := c.admin.Delete(t.Context(), n.shell()); err != nil {
		t.Fatal(err)
	}
	shows("")
}
