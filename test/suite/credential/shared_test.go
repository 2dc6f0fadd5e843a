package credential

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
)

// By RBAC each ServiceAccount of multinic-nodes may patch all reports and Leases there. So each form of a patch is tried on what is another's,
// by a node, and by those that are no node.
func TestByTheSharedRightsEachWritesItsOwnAndNothingElse(t *testing.T) {
	c := newCluster(t)
	c.bridge(nil)
	const node, other, guest = "shared-a", "shared-b", "shared-guest"
	for _, name := range []string{node, other} {
		c.node(name)
		c.object(name)
		c.account(name)
	}
	c.shared(node, other)
	report, lease := func(name string) client.Object { return &corev1.ConfigMap{ObjectMeta: inNodes(name)} }, func(name string) client.Object {
		return &coordinationv1.Lease{ObjectMeta: inNodes(name)}
	}
	// forms are all that one may write by the verb patch. An apply makes what is not there.
	forms := func(o client.Object) map[string]client.Patch {
		body := fields{"data": fields{v1.ReportKey: "x"}}
		path, api := "/data", fields{"apiVersion": "v1", "kind": "ConfigMap"}
		value := any(body["data"])
		if _, ok := o.(*coordinationv1.Lease); ok {
			body, path, value = fields{"spec": fields{"holderIdentity": "x"}}, "/spec/holderIdentity", "x"
			api = fields{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
		}
		for k, v := range body {
			api[k] = v
		}
		api["metadata"] = fields{"name": o.GetName(), "namespace": o.GetNamespace()}
		raw := func(kind types.PatchType, body any) client.Patch {
			text, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			return client.RawPatch(kind, text)
		}
		return map[string]client.Patch{
			"merge": raw(types.MergePatchType, body), "strategic merge": raw(types.StrategicMergePatchType, body),
			"JSON": raw(types.JSONPatchType, []any{fields{"op": "add", "path": path, "value": value}}), "apply": raw(types.ApplyPatchType, api),
			"of nothing": raw(types.MergePatchType, fields{}),
		}
	}
	send := func(as client.Client, o client.Object, form string, p client.Patch, dry bool) error {
		opts := []client.PatchOption{client.FieldOwner("x")}
		if form == "apply" {
			opts = append(opts, client.ForceOwnership)
		}
		if dry {
			opts = append(opts, client.DryRunAll)
		}
		return as.Patch(t.Context(), o, p, opts...)
	}
	as := c.inside
	c.create(&corev1.ServiceAccount{ObjectMeta: inNodes(guest)})
	c.create(report(guest))
	c.create(lease(guest))
	others := map[string]client.Client{
		node: as(v1.ServiceAccountName(node)), "a join token": as(v1.JoinAccountName(other)), "default": as("default"), "the probe": as("multinic-probe-tokens"), guest: as(guest),
	}
	for who, by := range others {
		for _, o := range []client.Object{
			report(v1.ReportName(other)), report("kube-root-ca.crt"), report(v1.ReportName(node) + "x"), report(newName), report(guest),
			lease(v1.LeaseName(other)), lease(newName), lease(v1.SharedNodes), lease(guest),
		} {
			for form, p := range forms(o) {
				for _, dry := range []bool{false, true} {
					err := send(by, o, form, p, dry)
					// What is not there is changed by nobody; to make it, an apply takes the right to create.
					if !refusedBy(err, "ValidatingAdmissionPolicy") && !apierrors.IsNotFound(err) && (form != "apply" || !apierrors.IsForbidden(err)) {
						t.Errorf("%s patches %T %s (%s, dry %v): %v", who, o, o.GetName(), form, dry, err)
					}
				}
			}
		}
		for _, kind := range []func(string) client.Object{report, lease} {
			named := func() client.Object { return kind(v1.ReportName(other)) }
			for verb, err := range map[string]error{
				"get": by.Get(t.Context(), client.ObjectKeyFromObject(named()), named()), "update": by.Update(t.Context(), named()),
				"delete": by.Delete(t.Context(), named()), "create": by.Create(t.Context(), named()),
				"deletecollection": by.DeleteAllOf(t.Context(), named(), client.InNamespace(inside)),
			} {
				if !apierrors.IsForbidden(err) {
					t.Errorf("%s %ss %T of another: %v", who, verb, named(), err)
				}
			}
		}
		for _, account := range []string{v1.ServiceAccountName(other), v1.JoinAccountName(node), guest, "default"} {
			err := by.SubResource("token").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: inNodes(account)}, &authenticationv1.TokenRequest{})
			if !refusedBy(err, "ValidatingAdmissionPolicy") && !apierrors.IsNotFound(err) {
				t.Errorf("%s gets a token of %s: %v", who, account, err)
			}
		}
	}
	for _, o := range []client.Object{report(v1.ReportName(node)), lease(v1.LeaseName(node))} {
		for form, p := range forms(o) {
			if err := send(others[node], o, form, p, false); err != nil {
				t.Errorf("its own %T (%s): %v", o, form, err)
			}
		}
	}
}

// inside is a client as a ServiceAccount of multinic-nodes, in the groups that the API server puts it into.
func (c *cluster) inside(account string) client.Client {
	c.t.Helper()
	cfg := c.Config()
	cfg.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + inside + ":" + account}
	return newClient(c.t, cfg)
}

// The binding that gives every node the right goes with the policy that holds each to its own name. Nodes then have rights by their names
// again, so that none falls silent or loses its token meanwhile.
func TestTheSharedRightsGoWithThePolicyThatHoldsThem(t *testing.T) {
	c := newCluster(t)
	at := &clock{}
	c.bridge(at)
	const node, other = "unheld-a", "unheld-b"
	for _, name := range []string{node, other} {
		c.node(name)
		c.object(name)
		c.account(name)
	}
	c.shared(node, other)
	as := c.inside(v1.ServiceAccountName(node))
	// touch has the bridge look again, by a change that means nothing.
	touch := func() {
		c.patch("validatingadmissionpolicy", "multinic-status", fmt.Sprintf(`{"metadata":{"annotations":{"multinic.io/touched":"%d"}}}`, time.Now().UnixNano()))
	}
	restore := func() { c.kubectl("apply", "--server-side", "-f", bed.Path(t, "deploy/admission.yaml")) }
	defer restore()
	// The bridge watches it: nothing else wakes the bridge.
	c.kubectl("delete", "validatingadmissionpolicybinding", "multinic-node-leases")
	began := time.Now()
	lease := func(name string) *coordinationv1.Lease {
		return &coordinationv1.Lease{ObjectMeta: inNodes(v1.LeaseName(name))}
	}
	renews := func(name string) error {
		return patch(t.Context(), as, lease(name), fields{"spec": fields{"holderIdentity": "x"}})
	}
	c.eventually("the shared right is gone", func() string {
		for _, name := range []string{v1.SharedNodes, v1.SharedKubelets} {
			if err := c.admin.Get(t.Context(), client.ObjectKey{Namespace: inside, Name: name}, &rbacv1.RoleBinding{}); !apierrors.IsNotFound(err) {
				return name + ": " + errorText(err)
			}
		}
		if err := renews(other); !apierrors.IsForbidden(err) {
			return "another's Lease: " + errorText(err)
		}
		return ""
	})
	t.Logf("the shared rights were gone after %s", time.Since(began).Round(10*time.Millisecond))
	c.eventually("it has its own right", func() string { return may(renews(node)) })
	if _, err := renewToken(t, as, node, "Node", node); err != nil {
		t.Errorf("it cannot renew its token: %v", err)
	}
	restore()
	// Not a minute more while the rights are being made: the bridge would take what its cache does not
	// have yet for gone. It looks after 2 s.
	var next time.Time
	c.eventually("the policies are in force again", func() string {
		if time.Now().After(next) {
			next = time.Now().Add(3 * time.Second)
			at.forward(time.Minute) // for so long they must have been
			touch()
		}
		return may(c.admin.Get(t.Context(), client.ObjectKey{Namespace: inside, Name: v1.SharedNodes}, &rbacv1.RoleBinding{}))
	})
	c.shared(node, other)
	if err := renews(node); err != nil {
		t.Errorf("its own Lease: %v", err)
	}
	if err := renews(other); !refusedBy(err, "renews its own Lease") {
		t.Errorf("another's Lease: %v", err)
	}
}

// A policy that is another than the bridge's, and refuses its probe, is what an upgrade of the chart looks like for a moment.
func TestTheSharedRightsStayForAMinuteOfAnUpgrade(t *testing.T) {
	c := newCluster(t)
	at := &clock{}
	c.bridge(at)
	const node = "upgraded"
	c.node(node)
	c.object(node)
	c.account(node)
	c.shared(node)
	const policy = "multinic-node-leases"
	restore := func() {
		c.kubectl("delete", "validatingadmissionpolicy", policy) // to apply alone leaves what was added
		c.kubectl("apply", "--server-side", "-f", bed.Path(t, "deploy/admission.yaml"))
	}
	version := func(s string) int { // that of an object which is gone is ""
		n, _ := strconv.Atoi(s)
		return n
	}
	const mark = `{"spec":{"auditAnnotations":[{"key":"x","valueExpression":"'x'"}]}}`
	spoil := func() {
		// Behind us kube-controller-manager writes the policy's status. So the version that the bridge sees is known only to be newer.
		before := version(c.kubectl("get", "validatingadmissionpolicy", policy, "-o", "jsonpath={.metadata.resourceVersion}"))
		if before == 0 {
			t.Fatal("the policy has no version that is a number")
		}
		c.patch("validatingadmissionpolicy", policy, mark)
		c.eventually("the bridge has noticed", func() string {
			var list eventsv1.EventList
			if err := c.admin.List(t.Context(), &list, client.InNamespace(v1.SystemNamespace)); err != nil {
				return err.Error()
			}
			for _, e := range list.Items {
				if e.Reason == v1.ReasonAdmissionMissing && e.Related != nil && e.Related.Name == policy && version(e.Related.ResourceVersion) > before {
					return ""
				}
			}
			return fmt.Sprint("no Event about a version behind ", before)
		})
	}
	uid := func() types.UID {
		t.Helper()
		var b rbacv1.RoleBinding
		if err := c.admin.Get(t.Context(), client.ObjectKey{Namespace: inside, Name: v1.SharedNodes}, &b); err != nil {
			t.Fatal(err)
		}
		return b.UID
	}
	defer restore()
	before := uid()
	spoil()
	if uid() != before {
		t.Error("they have come anew")
	}
	c.patch("validatingadmissionpolicy", policy, `{"spec":{"auditAnnotations":null}}`)
	c.node(node + "-meanwhile")
	c.account(node + "-meanwhile") // none is made while a policy is another
	at.forward(time.Hour)          // what was wrong for a moment does not count any more
	spoil()
	if uid() != before {
		t.Error("they did not stay through the moment")
	}
	c.eventually("the shared rights are gone", func() string {
		at.forward(time.Minute)
		c.patch("validatingadmissionpolicy", policy, fmt.Sprintf(`{"metadata":{"annotations":{"multinic.io/touched":"%d"}}}`, time.Now().UnixNano()))
		for _, name := range []string{v1.SharedNodes, v1.SharedKubelets} {
			if err := c.admin.Get(t.Context(), client.ObjectKey{Namespace: inside, Name: name}, &rbacv1.RoleBinding{}); !apierrors.IsNotFound(err) {
				return name + ": " + errorText(err)
			}
		}
		return ""
	})
}
