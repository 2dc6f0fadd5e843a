package credential

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
)

// Whoever holds an identity makes as many objects as there may be nodes, and no more. The manifest says of which kinds; here there may be
// one more of each than there is.
func TestThereIsAQuotaForWhateverAnIdentityMakes(t *testing.T) {
	c := newCluster(t)
	const node = "worker-node-01" // of the example
	c.kubectl("apply", "-f", bed.Path(t, "examples/trigger-job.yaml"))
	stop := c.bridge(nil)
	c.object(node)
	names := []string{"quota-1", "quota-2"}
	for _, n := range names {
		c.node(n)
		c.eventually("its kubelet may ask", func() string {
			return may(c.admin.Get(t.Context(), client.ObjectKey{Namespace: system, Name: v1.ServiceAccountName(n)}, &rbacv1.RoleBinding{}))
		})
	}
	stop()
	token := func(namespace, account string) client.Client {
		return c.bearer(c.token(namespace, account))
	}
	publisher, pipeline, bridge := token(system, "multinic-viola"), token("multinic-pipelines", "multinic-trigger"), token(system, v1.CredentialsAccount)
	key := newKey(t)
	// make makes the n-th object of a kind, as whoever can.
	rows := map[string]func(n int) (client.Client, client.Object){
		system + " count/multinicnodeconfigs.multinic.io": func(n int) (client.Client, client.Object) {
			o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("quota-object-", n), Namespace: system}}
			o.Spec.NodeName = o.Name
			return publisher, o
		},
		system + " count/multinicnoderuns.multinic.io": func(n int) (client.Client, client.Object) {
			return pipeline, &v1.MultiNicNodeRun{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("quota-run-", n), Namespace: system},
				Spec: v1.MultiNicNodeRunSpec{Node: node, Action: v1.ActionTrigger}}
		},
		inside + " count/nodetokenrequests.multinic.io": func(n int) (client.Client, client.Object) {
			return c.kubelet(names[n]), &v1.NodeTokenRequest{ObjectMeta: inNodes(names[n]), Spec: v1.NodeTokenRequestSpec{Door: v1.DoorKubelet, PublicKey: key.Public()}}
		},
		inside + " count/configmaps": func(n int) (client.Client, client.Object) {
			return bridge, &corev1.ConfigMap{ObjectMeta: inNodes(v1.ReportName(fmt.Sprint("quota-report-", n)))}
		},
		inside + " count/leases.coordination.k8s.io": func(n int) (client.Client, client.Object) {
			return bridge, &coordinationv1.Lease{ObjectMeta: inNodes(v1.LeaseName(fmt.Sprint("quota-lease-", n)))}
		},
		inside + " count/secrets": func(n int) (client.Client, client.Object) {
			return bridge, &corev1.Secret{ObjectMeta: inNodes(v1.ServiceAccountName(fmt.Sprint("quota-secret-", n)))}
		},
	}
	const manifest = "deploy/quota.yaml"
	c.kubectl("apply", "--server-side", "-f", bed.Path(t, manifest))
	defer c.kubectl("delete", "-f", bed.Path(t, manifest))
	quota := func(namespace string) *corev1.ResourceQuota {
		q := &corev1.ResourceQuota{}
		if err := c.admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "multinic"}, q); err != nil {
			t.Fatal(err)
		}
		return q
	}
	missing := maps.Clone(rows)
	for _, namespace := range []string{system, inside} {
		var q *corev1.ResourceQuota
		c.eventually("Kubernetes counts what is in "+namespace, func() string {
			q = quota(namespace)
			for kind := range q.Spec.Hard {
				if _, known := q.Status.Used[kind]; !known {
					return string(kind) + " is not counted"
				}
			}
			return ""
		})
		for kind, hard := range q.Spec.Hard {
			row := namespace + " " + string(kind)
			if rows[row] == nil && !hard.IsZero() { // none at all: no Jobs, and no Pods
				t.Errorf("%s has a quota, and nobody is tried", row)
			}
			delete(missing, row)
			more := q.Status.Used[kind].DeepCopy()
			more.Add(*resource.NewQuantity(1, resource.DecimalSI))
			if rows[row] != nil {
				q.Spec.Hard[kind] = more
			}
		}
		if err := c.admin.Update(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		c.eventually("the new quota counts", func() string {
			if q = quota(namespace); !maps.EqualFunc(q.Spec.Hard, q.Status.Hard, func(a, b resource.Quantity) bool { return a.Equal(b) }) {
				return "it does not"
			}
			return ""
		})
	}
	for row := range missing {
		t.Errorf("%s has no quota", row)
	}
	for _, row := range slices.Sorted(maps.Keys(rows)) {
		as, o := rows[row](0)
		if err := as.Create(t.Context(), o); err != nil {
			t.Errorf("%s: one more: %v", row, err)
			continue
		}
		defer c.delete(o)
		_, kind, _ := strings.Cut(row, " ")
		as, o = rows[row](1)
		if err := as.Create(t.Context(), o); err == nil || !strings.Contains(err.Error(), "exceeded quota: multinic, requested: "+kind+"=1") {
			t.Errorf("%s: two more: %v", row, err)
			_ = c.admin.Delete(t.Context(), o)
		}
	}
}
