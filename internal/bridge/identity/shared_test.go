package identity

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

// bindings are the names of the RoleBindings of multinic-nodes.
func bindings(t *testing.T, cl client.Client) []string {
	t.Helper()
	var all rbacv1.RoleBindingList
	if err := cl.List(t.Context(), &all, client.InNamespace(v1.NodesNamespace)); err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, b := range all.Items {
		out = append(out, b.Name)
	}
	slices.Sort(out)
	return out
}

func TestTheSharedRightsAreThereWhileThePoliciesAre(t *testing.T) {
	cl := bridgetest.NewBuilder(t).Build()
	now := bridgetest.Noon
	clock := func() time.Time { return now }
	gone, differs, silent := errors.New("gone"), errors.New("differs"), errors.New("no answer")
	var found error
	s := &Shared{
		Maker: &Maker{Client: cl, Now: clock}, Log: slog.New(slog.DiscardHandler), Now: clock, InForce: func(context.Context) error { return found },
		Grace: func(err error) time.Duration {
			return map[error]time.Duration{gone: 0, differs: time.Minute, silent: -1}[err]
		},
	}
	all := []string{v1.SharedKubelets, v1.SharedNodes}
	for _, step := range []struct {
		after time.Duration
		found error
		want  []string
		again time.Duration
	}{
		{0, nil, all, 0},
		{time.Second, gone, []string{}, 0},
		{time.Second, nil, []string{}, time.Minute}, // they wait, as they have gone before
		{30 * time.Second, gone, []string{}, 0},
		{time.Second, nil, []string{}, time.Minute}, // the minute begins anew
		{time.Minute, nil, all, 0},
		{time.Second, differs, all, time.Minute},
		{59 * time.Second, differs, all, time.Second},
		{time.Second, differs, []string{}, 0},
		{time.Second, nil, []string{}, 2 * time.Minute},
		{2 * time.Minute, nil, all, 0},
		{time.Second, differs, all, time.Minute},
		{time.Second, nil, all, 0},
		{59 * time.Second, differs, all, time.Minute}, // the minute begins anew
		{time.Hour, silent, all, 0},
	} {
		now, found = now.Add(step.after), step.found
		r, err := s.Reconcile(t.Context(), reconcile.Request{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, bindings(t, cl)); diff != "" || r.RequeueAfter != step.again {
			t.Errorf("%s, found %v: again in %s, want %s (-want +got)\n%s", now, found, r.RequeueAfter, step.again, diff)
		}
	}
}

// From the layout of 0.1.0 to the shared rights and back: a node has its rights at every moment.
func TestANodeHasItsRightsByItsNameOrByThoseThatAllShare(t *testing.T) {
	cl := bridgetest.NewBuilder(t).WithObjects(bridgetest.StoredObject()).Build()
	now := bridgetest.Noon
	clock := func() time.Time { return now }
	m := &Maker{Client: cl, Now: clock}
	var lawless error
	loop := &Loop{Client: cl, Log: slog.New(slog.DiscardHandler), Now: clock, Pulses: gather.NewPulses(), Maker: m,
		InForce: func(context.Context) error { return lawless }}
	node, join := v1.ServiceAccountName(bridgetest.Node), v1.JoinAccountName(bridgetest.Node)
	both := []string{v1.SharedKubelets, v1.SharedNodes}
	look := func(sentence string, want ...string) {
		t.Helper()
		if _, err := loop.Reconcile(t.Context(), reconcile.Request{NamespacedName: bridgetest.NodeKey}); err != nil {
			t.Fatal(err)
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, bindings(t, cl)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", sentence, diff)
		}
		key := client.ObjectKey{Namespace: v1.SystemNamespace, Name: node}
		if err := cl.Get(t.Context(), key, &rbacv1.RoleBinding{}); err != nil {
			t.Errorf("%s: it cannot read its object: %v", sentence, err)
		}
	}
	look("nothing is shared", join, node)
	for _, o := range sharedRights() {
		o.SetCreationTimestamp(metav1.NewTime(now))
		if err := cl.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	look("not every API server may know the shared rights", append(both, join, node)...)
	now = now.Add(sharedSettles)
	look("each does", both...)
	invited := identity{name: bridgetest.Node}.account()
	invited.Name = join
	if err := cl.Create(t.Context(), invited); err != nil {
		t.Fatal(err)
	}
	look("a join token has rights by its name", append(both, join)...)
	if err := cl.Delete(t.Context(), invited); err != nil {
		t.Fatal(err)
	}
	look("and has not for ever", both...)

	lawless = errors.New("a policy is missing")
	look("the shared rights are still there", both...)
	var of rbacv1.Role
	if err := cl.Get(t.Context(), client.ObjectKey{Namespace: v1.NodesNamespace, Name: v1.SharedNodes}, &of); err != nil {
		t.Fatal(err)
	}
	of.Rules = of.Rules[:1]
	if err := cl.Update(t.Context(), &of); err != nil {
		t.Fatal(err)
	}
	look("somebody has changed them: a node has its own again, whatever the policies are", append(both, join, node)...)
	loop.Maker = &Maker{Client: cl, Now: clock}
	for _, name := range both {
		if err := cl.Delete(t.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	look("they are gone", join, node)
}

// By RBAC alone these are good for the things of all nodes. A policy sees no read.
func TestTheSharedRightsReadAndMakeNothing(t *testing.T) {
	var got []string
	for _, o := range sharedRights() {
		switch o := o.(type) {
		case *rbacv1.Role:
			for _, r := range o.Rules {
				for _, verb := range r.Verbs {
					got = append(got, o.Name+": "+verb+" "+r.Resources[0])
				}
			}
		case *rbacv1.RoleBinding:
			got = append(got, o.Name+" to "+o.Subjects[0].Kind+" "+o.Subjects[0].Name)
		}
	}
	want := []string{
		"multinic-nodes: patch configmaps", "multinic-nodes: patch leases", "multinic-nodes: create serviceaccounts/token",
		"multinic-nodes to Group system:serviceaccounts:multinic-nodes",
		"multinic-kubelets: create nodetokenrequests", "multinic-kubelets: get nodetokenrequests", "multinic-kubelets to Group system:nodes",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
