package identity

import (
	"slices"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// identity describes what the bridge makes for a node.
type identity struct {
	name string
	node types.UID // uid of the Node that is the owner; "" for none
	// notes are the annotations of the ServiceAccount, except the name.
	notes map[string]string
}

func (i identity) meta(namespace, name, component string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{
		Namespace: namespace, Name: name,
		Labels:      map[string]string{v1.ComponentLabel: component},
		Annotations: map[string]string{v1.NodeNameAnnotation: i.name},
	}
	if len(i.name) <= 63 {
		m.Labels[v1.NodeNameLabel] = i.name
	}
	if i.node != "" {
		m.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: i.name, UID: i.node}}
	}
	return m
}

// mailboxes are the objects that the node writes into.
func (i identity) mailboxes() []client.Object {
	return []client.Object{
		&corev1.ConfigMap{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
			ObjectMeta: i.meta(v1.NodesNamespace, v1.ReportName(i.name), v1.ComponentReport),
		},
		&coordinationv1.Lease{
			TypeMeta:   metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"},
			ObjectMeta: i.meta(v1.NodesNamespace, v1.LeaseName(i.name), v1.ComponentLease),
		},
	}
}

// account is the node's ServiceAccount.
func (i identity) account() *corev1.ServiceAccount {
	a := &corev1.ServiceAccount{
		TypeMeta:                     metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta:                   i.meta(v1.NodesNamespace, v1.ServiceAccountName(i.name), v1.ComponentNode),
		AutomountServiceAccountToken: new(false),
	}
	for k, v := range i.notes {
		a.Annotations[k] = v
	}
	return a
}

// rights are Roles and RoleBindings: for the node, and for its two doors. What RBAC looks through
// for a request in a namespace are all RoleBindings there, so a node has as few as can be: has is
// what it is to have, and not what it is to have no more. shared says that it has the shared rights
// (shared.go), and join that there is a join token.
func (i identity) rights(shared, join bool) (has, not []client.Object) {
	node, door := v1.ServiceAccountName(i.name), v1.JoinAccountName(i.name)
	account := func(name string) rbacv1.Subject {
		return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Name: name, Namespace: v1.NodesNamespace}
	}
	kubelet := rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "system:node:" + i.name}
	only := func(group, resource, name string, verbs ...string) rbacv1.PolicyRule {
		r := rule(group, resource, verbs...)
		r.ResourceNames = []string{name}
		return r
	}
	writes := grant(i.meta(v1.NodesNamespace, node, v1.ComponentNode), []rbacv1.PolicyRule{
		only("", "configmaps", v1.ReportName(i.name), "get", "patch", "update"),
		only("coordination.k8s.io", "leases", v1.LeaseName(i.name), "get", "patch", "update"),
		only("", "serviceaccounts/token", node, "create"),
	}, account(node))
	// A right to create cannot be bound to a name. Admission does that.
	joins := grant(i.meta(v1.NodesNamespace, door, v1.ComponentJoin), []rbacv1.PolicyRule{
		rule(v1.Group, "nodetokenrequests", "create"),
		only(v1.Group, "nodetokenrequests", i.name, "get"),
	}, account(door), kubelet)
	reads := grant(i.meta(v1.SystemNamespace, node, v1.ComponentNode), []rbacv1.PolicyRule{
		only(v1.Group, "multinicnodeconfigs", i.name, "get", "list", "watch"),
	}, account(node))
	switch {
	case !shared:
		return slices.Concat(writes, joins, reads), nil
	case join:
		return slices.Concat(joins, reads), writes
	}
	return reads, slices.Concat(writes, joins)
}

func rule(group, resource string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
}

// grant is a Role, and the RoleBinding of its name that gives it to the subjects.
func grant(m metav1.ObjectMeta, rules []rbacv1.PolicyRule, subjects ...rbacv1.Subject) []client.Object {
	return []client.Object{&rbacv1.Role{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "Role"},
		ObjectMeta: m,
		Rules:      rules,
	}, &rbacv1.RoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"},
		ObjectMeta: *m.DeepCopy(),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: m.Name},
		Subjects:   subjects,
	}}
}

// empty is an object of the same kind that has only the name.
func empty(o client.Object) client.Object {
	m := metav1.ObjectMeta{Namespace: o.GetNamespace(), Name: o.GetName()}
	switch o.(type) {
	case *corev1.ConfigMap:
		return &corev1.ConfigMap{ObjectMeta: m}
	case *corev1.ServiceAccount:
		return &corev1.ServiceAccount{ObjectMeta: m}
	case *coordinationv1.Lease:
		return &coordinationv1.Lease{ObjectMeta: m}
	case *rbacv1.Role:
		return &rbacv1.Role{ObjectMeta: m}
	default:
		return &rbacv1.RoleBinding{ObjectMeta: m}
	}
}

// settled says whether have agrees with want in everything that want says.
func settled(have, want client.Object) bool {
	for k, v := range want.GetLabels() {
		if have.GetLabels()[k] != v {
			return false
		}
	}
	if !equality.Semantic.DeepEqual(nodeOwners(have), nodeOwners(want)) {
		return false
	}
	switch want := want.(type) {
	case *corev1.ServiceAccount:
		have, ok := have.(*corev1.ServiceAccount)
		return ok && equality.Semantic.DeepEqual(notes(have), notes(want)) &&
			equality.Semantic.DeepEqual(have.AutomountServiceAccountToken, want.AutomountServiceAccountToken)
	case *rbacv1.Role:
		have, ok := have.(*rbacv1.Role)
		return ok && equality.Semantic.DeepEqual(have.Rules, want.Rules)
	case *rbacv1.RoleBinding:
		have, ok := have.(*rbacv1.RoleBinding)
		return ok && equality.Semantic.DeepEqual(have.Subjects, want.Subjects) && have.RoleRef == want.RoleRef
	}
	return true
}

func nodeOwners(o client.Object) []types.UID {
	var out []types.UID
	for _, r := range o.GetOwnerReferences() {
		if r.Kind == "Node" && r.APIVersion == "v1" {
			out = append(out, r.UID)
		}
	}
	return out
}

// notes are the annotations of an account by which the bridge remembers.
func notes(account *corev1.ServiceAccount) map[string]string {
	out := map[string]string{}
	for _, k := range []string{objectAnnotation, sinceAnnotation, secretAnnotation} {
		if v := account.Annotations[k]; v != "" {
			out[k] = v
		}
	}
	return out
}
