package preflight

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

const (
	perPage = 500 // objects of one answer
	// older is the group that some documents of the field give the older kind.
	older = "multinic.okestro.io"
)

// Look reads a cluster, and changes nothing. What the caller may not read is in Unseen; any other
// failure is an error.
func Look(ctx context.Context, c client.Client) (Cluster, error) {
	l := looker{ctx: ctx, client: c, cluster: Cluster{Now: time.Now()}}
	for _, look := range []func() error{
		func() error {
			return each(&l, "Deployments", func(list *appsv1.DeploymentList) { keep(&l.cluster.Deployments, list.Items) })
		},
		func() error {
			return each(&l, "DaemonSets", func(list *appsv1.DaemonSetList) { keep(&l.cluster.DaemonSets, list.Items) })
		},
		func() error {
			return each(&l, "Jobs", func(list *batchv1.JobList) { keep(&l.cluster.Jobs, list.Items) })
		},
		l.definitions, l.objects, l.grants,
	} {
		if err := look(); err != nil {
			return l.cluster, err
		}
	}
	return l.cluster, nil
}

type looker struct {
	ctx     context.Context
	client  client.Client
	cluster Cluster
}

// list reads all pages of a kind, each into a new list. What must not be read is noted, and no error.
func (l *looker) list(what string, page func() (list client.ObjectList, found func() error), in ...client.ListOption) error {
	for next := ""; ; {
		list, found := page()
		err := l.client.List(l.ctx, list, append(slices.Clone(in), client.Limit(perPage), client.Continue(next))...)
		switch {
		case apierrors.IsForbidden(err):
			l.cluster.Unseen = append(l.cluster.Unseen, fmt.Sprintf("%s: %v", what, err))
			return nil
		case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
			return nil // there is no such kind
		case err != nil:
			return fmt.Errorf("listing %s: %w", what, err)
		}
		if err := found(); err != nil {
			return fmt.Errorf("reading %s: %w", what, err)
		}
		if next = list.GetContinue(); next == "" {
			return nil
		}
	}
}

// each reads all objects of a kind of Kubernetes' own.
func each[T any, L interface {
	*T
	client.ObjectList
}](l *looker, what string, found func(L), in ...client.ListOption) error {
	return l.list(what, func() (client.ObjectList, func() error) {
		list := L(new(T))
		return list, func() error { found(list); return nil }
	}, in...)
}

// anyOf reads all objects of a kind of which there is no type here.
func (l *looker) anyOf(what string, kind schema.GroupVersionKind, found func(*unstructured.Unstructured) error) error {
	return l.list(what, func() (client.ObjectList, func() error) {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		return list, func() error {
			for i := range list.Items {
				if err := found(&list.Items[i]); err != nil {
					return fmt.Errorf("%s: %w", list.Items[i].GetName(), err)
				}
			}
			return nil
		}
	})
}

func keep[T any](into *[]T, items []T) { *into = append(*into, items...) }

func (l *looker) definitions() error {
	kind := schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}
	return l.anyOf(definitions, kind, func(o *unstructured.Unstructured) error {
		group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
		if !slices.Contains([]string{v1.Group, older, operators}, group) {
			return nil
		}
		var d Definition
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
			return err
		}
		l.cluster.Definitions = append(l.cluster.Definitions, d)
		return nil
	})
}

// objects reads the objects of nodes and the older ones, in a version that is served.
func (l *looker) objects() error {
	for _, d := range l.cluster.Definitions {
		plural, _, _ := strings.Cut(d.Metadata.Name, ".")
		kind := map[string]string{"multinicnodeconfigs": v1.NodeConfigKind, "multinicbizconfigs": v1.BizConfigKind}[plural]
		version := ""
		for _, v := range d.Spec.Versions {
			if v.Served && (version == "" || v.Name == v1.Version) {
				version = v.Name
			}
		}
		if kind == "" || version == "" || d.Spec.Group == operators {
			continue
		}
		if err := l.anyOf(d.Metadata.Name, schema.GroupVersionKind{Group: d.Spec.Group, Version: version, Kind: kind}, l.object); err != nil {
			return err
		}
	}
	return nil
}

func (l *looker) object(o *unstructured.Unstructured) error {
	data, err := json.Marshal(o.Object)
	if err != nil {
		return err
	}
	var head struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return err
	}
	out := Object{Kind: o.GetKind(), Metadata: head.Metadata}
	if out.Kind == v1.NodeConfigKind {
		out.Wrong = wrong(data)
	}
	l.cluster.Objects = append(l.cluster.Objects, out)
	return nil
}

// wrong is the first reason for which today's rules refuse an object of a node.
func wrong(data []byte) error {
	o, err := v1.ParseNodeConfig(data)
	if err != nil {
		return err
	}
	if _, errs := o.Validate(); len(errs) > 0 {
		return errs[0]
	}
	return nil
}

// grants reads who may write the objects of nodes.
func (l *looker) grants() error {
	var clusterRoles []rbacv1.ClusterRole
	var roles []rbacv1.Role
	var everywhere []rbacv1.ClusterRoleBinding
	var here []rbacv1.RoleBinding
	system := client.InNamespace(v1.SystemNamespace)
	for _, read := range []func() error{
		func() error {
			return each(l, "ClusterRoles", func(list *rbacv1.ClusterRoleList) { keep(&clusterRoles, list.Items) })
		},
		func() error {
			return each(l, "ClusterRoleBindings", func(list *rbacv1.ClusterRoleBindingList) { keep(&everywhere, list.Items) })
		},
		func() error {
			return each(l, "Roles of "+v1.SystemNamespace, func(list *rbacv1.RoleList) { keep(&roles, list.Items) }, system)
		},
		func() error {
			return each(l, "RoleBindings of "+v1.SystemNamespace, func(list *rbacv1.RoleBindingList) { keep(&here, list.Items) }, system)
		},
	} {
		if err := read(); err != nil {
			return err
		}
	}
	writes := map[string]bool{} // "ClusterRole multinic-agent"
	for _, r := range clusterRoles {
		// The API server's own: administrators, and controllers that may touch anything.
		own := r.Labels["kubernetes.io/bootstrapping"] == "rbac-defaults" && (r.Name == "cluster-admin" || strings.HasPrefix(r.Name, "system:"))
		writes["ClusterRole "+r.Name] = !own && mayWrite(r.Rules)
	}
	for _, r := range roles {
		writes["Role "+r.Name] = mayWrite(r.Rules)
	}
	grant := func(binding string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
		if writes[ref.Kind+" "+ref.Name] {
			l.cluster.Grants = append(l.cluster.Grants, Grant{Binding: binding, Subjects: subjects})
		}
	}
	for _, b := range everywhere {
		grant(title("ClusterRoleBinding", b.ObjectMeta), b.RoleRef, b.Subjects)
	}
	for _, b := range here {
		grant(title("RoleBinding", b.ObjectMeta), b.RoleRef, b.Subjects)
	}
	return nil
}

// mayWrite says whether rules allow to write some object of a node.
func mayWrite(rules []rbacv1.PolicyRule) bool {
	has := func(all []string, any ...string) bool {
		return slices.ContainsFunc(all, func(s string) bool { return slices.Contains(any, s) })
	}
	return slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool {
		return has(r.APIGroups, v1.Group, rbacv1.APIGroupAll) && has(r.Resources, "multinicnodeconfigs", rbacv1.ResourceAll) &&
			has(r.Verbs, "create", "update", "patch", "delete", "deletecollection", rbacv1.VerbAll)
	})
}
