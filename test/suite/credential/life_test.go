package credential

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
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
	join := c.bearer(c.invite(node, "--replace"))
	c.must("token", "revoke", "--node", node)
	c.refused(as, "its token is revoked")
	c.refused(join, "the join token is revoked with it")
	c.wantWayInGoneFirst(node)
	c.eventually("there is a new identity", func() string {
		if c.account(node).UID == before.UID {
			return "it is the old one"
		}
		return ""
	})
	c.joined(node, v1.DoorKubelet)
}

// wantWayInGoneFirst looks that a revocation has ended the join token before the identity: by it a token could be had of the one that
// the bridge makes next.
func (c *cluster) wantWayInGoneFirst(node string) {
	c.t.Helper()
	all, err := c.Requests()
	if err != nil {
		c.t.Fatal(err)
	}
	var order []string
	for _, r := range all {
		if r.Verb == "delete" && r.ObjectRef.Resource == "serviceaccounts" && strings.HasPrefix(r.UserAgent, "multinic-bridge/") && r.ResponseStatus.Code == 200 &&
			(r.ObjectRef.Name == v1.ServiceAccountName(node) || r.ObjectRef.Name == v1.JoinAccountName(node)) {
			order = append(order, r.ObjectRef.Name)
		}
	}
	if want := []string{v1.JoinAccountName(node), v1.ServiceAccountName(node)}; !slices.Equal(order, want) {
		c.t.Errorf("it was deleted in the order %v, want %v", order, want)
	}
}

func TestANodeHearsThatItsObjectIsGoneBeforeItLosesItsIdentity(t *testing.T) {
	c := newCluster(t)
	at := &clock{}
	c.bridge(at)
	// In this order: the second sets the clock forward, beyond the end of every join token made after it.
	for _, tt := range []struct {
		node string
		ends func(as client.Client, o *v1.MultiNicNodeConfig)
	}{
		{"reports-removal", func(as client.Client, o *v1.MultiNicNodeConfig) {
			// About another object it says nothing that counts.
			c.report(as, o.Name, v1.Report{UID: "another", Generation: 1, Phase: v1.PhaseRemoved})
			c.report(as, o.Name, v1.Report{UID: o.UID, Generation: 1, Phase: v1.PhaseDone})
			c.noticed(o.Name)
			if err := as.Get(c.t.Context(), client.ObjectKeyFromObject(o), &v1.MultiNicNodeConfig{}); !apierrors.IsNotFound(err) {
				t.Errorf("before it has reported: %v", err)
			}
			c.report(as, o.Name, v1.Report{UID: o.UID, Generation: 1, Phase: v1.PhaseRemoved})
		}},
		{"stays-away", func(_ client.Client, o *v1.MultiNicNodeConfig) {
			c.noticed(o.Name)
			at.forward(25 * time.Hour)
			c.wake(v1.ServiceAccountName(o.Name))
		}},
	} {
		t.Run(tt.node, func(t *testing.T) {
			o := c.object(tt.node)
			as := c.joined(tt.node, v1.DoorJoinToken)
			c.delete(o)
			c.eventually("the node sees that its object is gone", func() string {
				if err := as.Get(t.Context(), client.ObjectKeyFromObject(o), &v1.MultiNicNodeConfig{}); !apierrors.IsNotFound(err) {
					return errorText(err)
				}
				return ""
			})
			tt.ends(as, o)
			c.refused(as, "the identity is removed")
			for _, gone := range []client.Object{
				&corev1.ServiceAccount{ObjectMeta: inNodes(v1.ServiceAccountName(tt.node))},
				&corev1.Secret{ObjectMeta: inNodes(v1.ServiceAccountName(tt.node))},
				&corev1.ConfigMap{ObjectMeta: inNodes(v1.ReportName(tt.node))},
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
	return patch(ctx, as, &corev1.ConfigMap{ObjectMeta: inNodes(v1.ReportName(node))}, fields{"data": fields{v1.ReportKey: text}})
}

func TestWhatIsSoAlreadyIsNotWrittenAgain(t *testing.T) {
	c := newCluster(t)
	stop := c.bridge(nil)
	// One of each kind: with a Node and an object, with a Node, with an object.
	names := []string{"settled-both", "settled-node", "settled-object"}
	c.node(names[0])
	c.object(names[0])
	c.node(names[1])
	c.object(names[2])
	c.joined(names[0], v1.DoorKubelet)
	c.joined(names[1], v1.DoorKubelet)
	c.joined(names[2], v1.DoorJoinToken)
	for _, name := range []string{names[0], names[2]} {
		c.eventually("the object of "+name+" has its status", func() string {
			o := &v1.MultiNicNodeConfig{}
			if err := c.admin.Get(t.Context(), client.ObjectKey{Namespace: v1.SystemNamespace, Name: name}, o); err != nil || o.Status.State == "" {
				return "it has none: " + errorText(err)
			}
			return ""
		})
	}
	c.shared(names...)
	for _, name := range names { // the rights to join go behind that, and the second bridge is not to find them
		c.gone(&rbacv1.RoleBinding{ObjectMeta: inNodes(v1.JoinAccountName(name))})
		c.gone(&rbacv1.Role{ObjectMeta: inNodes(v1.JoinAccountName(name))})
	}
	stop()
	// By its user agent the second bridge is told from the first, some of whose last requests the API server may be at still.
	c.agent = "multinic-bridge-anew"
	c.bridge(nil)
	// What a newcomer gets tells when the bridge has been through all of them.
	c.node("settled-last")
	c.account("settled-last")
	c.joined("settled-last", v1.DoorKubelet)
	all, err := c.Requests()
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	for _, r := range all {
		if r.UserAgent != c.agent {
			continue
		}
		seen = true
		if strings.Contains(r.RequestURI, "dryRun=") || r.Verb == "get" || r.Verb == "list" || r.Verb == "watch" {
			continue
		}
		for _, name := range names {
			if strings.HasSuffix(r.ObjectRef.Name, name) {
				t.Errorf("it is written again: %s %s/%s %s", r.Verb, r.ObjectRef.Resource, r.ObjectRef.Subresource, r.ObjectRef.Name)
			}
		}
	}
	if !seen {
		t.Error("no request of the second bridge was seen, so that this shows nothing")
	}
}

func TestANodeThatComesLaterTakesItsIdentityOver(t *testing.T) {
	c := newCluster(t)
	at := &clock{}
	c.bridge(at)
	const node = "late-node"
	c.object(node)
	as := c.joined(node, v1.DoorJoinToken)
	if owners := c.account(node).OwnerReferences; len(owners) != 0 {
		t.Errorf("without a Node it is owned by %v", owners)
	}
	n := c.node(node)
	c.eventually("the Node owns what is its own", func() string {
		for _, o := range []client.Object{
			c.account(node),
			&corev1.ConfigMap{ObjectMeta: inNodes(v1.ReportName(node))},
			&coordinationv1.Lease{ObjectMeta: inNodes(v1.LeaseName(node))},
			&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: v1.SystemNamespace, Name: v1.ServiceAccountName(node)}},
			&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: v1.SystemNamespace, Name: v1.ServiceAccountName(node)}},
		} {
			if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
				return err.Error()
			}
			if owners := o.GetOwnerReferences(); len(owners) != 1 || owners[0].UID != n.UID {
				return fmt.Sprintf("%s is owned by %v", o.GetName(), owners)
			}
		}
		return ""
	})
	// From the Secret to the Node, and no way back.
	token, err := renewToken(t, as, node, "Node", node)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := renewToken(t, c.bearer(token), node, "Secret", v1.ServiceAccountName(node)); !refusedBy(err, "is bound to its Node") {
		t.Errorf("bound to its Node it asks for a token bound to a Secret: %v", err)
	}
	at.forward(3 * time.Hour)
	c.wake(v1.ServiceAccountName(node))
	c.refusedNow(as, "the Secret is gone")
	if _, err := renewToken(t, c.bearer(token), node, "Node", node); err != nil {
		t.Errorf("the token that is bound to the Node: %v", err)
	}
	// The Node goes, the object stays: the machine is out, the name is expected.
	c.delete(n)
	c.refused(c.bearer(token), "its Node is gone")
	c.eventually("the identity is nobody's", func() string {
		if owners := c.account(node).OwnerReferences; len(owners) != 0 {
			return fmt.Sprint(owners)
		}
		return ""
	})
}
