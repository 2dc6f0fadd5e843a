package credential

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"

	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
)

// The nodes of the matrix.
const nodeA, nodeB = "matrix-a", "matrix-b"

// The objects of the matrix that belong to the HTTP door, and that are handed over to it.
const doors, handed = "matrix-doors", "matrix-handed"

// stage has what the matrix is tried on, and the identities that try.
type stage struct {
	c       *cluster
	admin   dynamic.Interface
	clients []dynamic.Interface // in the order of identities
	plain   []*rest.RESTClient
	// kubelets of A and B, by node.
	kubelets map[string]client.Client
	jobImage string // what the admission policies are told
}

// newStage makes two nodes that have joined, an invitation for A, and requests
// that wait. The bridge is stopped then: it would clean up.
func newStage(c *cluster) *stage {
	c.t.Helper()
	stop := c.bridge(nil)
	kubelets := map[string]client.Client{nodeA: c.kubelet(nodeA), nodeB: c.kubelet(nodeB)}
	var token string
	for _, node := range []string{nodeA, nodeB} {
		c.node(node)
		c.object(node)
		kubelet, key := kubelets[node], newKey(c.t)
		r := c.ask(kubelet, node, v1.DoorKubelet, key)
		as := open(c.t, key, r)
		if node == nodeA {
			token = as
		}
		if err := renew(c.t.Context(), c.bearer(as), node, r.UID); err != nil {
			c.t.Fatal(err)
		}
		c.gone(r)
	}
	c.published(doors, v1.PublisherIntake, "")
	c.published(handed, "", v1.PublisherIntake)
	join := c.invite(nodeA, "--replace")
	c.shared(nodeA, nodeB)
	stop()
	s := &stage{c: c, kubelets: kubelets}
	for _, name := range []string{v1.ServiceAccountName(nodeA), v1.ServiceAccountName(nodeB), v1.JoinAccountName(nodeA)} {
		s.have(&corev1.Secret{ObjectMeta: inNodes(name)})
	}
	admin, err := dynamic.NewForConfig(c.Config())
	if err != nil {
		c.t.Fatal(err)
	}
	s.admin = admin
	for _, leader := range []string{v1.BridgeAccount, v1.CredentialsAccount, "multinic-migrate"} {
		s.have(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: v1.SystemNamespace, Name: leader}})
	}
	s.have(&v1.MultiNicBizConfig{ObjectMeta: metav1.ObjectMeta{Namespace: v1.SystemNamespace, Name: "matrix-old"}})
	der, err := base64.StdEncoding.DecodeString(csr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.create(&v1.MultiNicNodeRun{
		ObjectMeta: metav1.ObjectMeta{Name: "matrix-run", Namespace: v1.SystemNamespace},
		Spec:       v1.MultiNicNodeRunSpec{Node: nodeA, Action: v1.ActionTrigger},
	})
	c.create(&certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "matrix-csr"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: der, SignerName: "example.com/x", Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
		},
	})
	c.kubectl("apply", "-f", bed.Path(c.t, "examples/trigger-job.yaml"))
	others := s.others()
	for _, cfg := range []*rest.Config{
		c.bearerConfig(token),
		c.bearerConfig(join),
		c.kubeletConfig(nodeA),
		c.bearerConfig(c.token(v1.SystemNamespace, "multinic-viola")),
		c.bearerConfig(c.token(v1.SystemNamespace, v1.BridgeAccount)),
		c.bearerConfig(c.token(v1.SystemNamespace, v1.CredentialsAccount)),
		c.bearerConfig(""),
		c.bearerConfig(others["matrix-operator"]),
		c.bearerConfig(others["matrix-edit-nodes"]),
		c.bearerConfig(others["matrix-edit-system"]),
		c.bearerConfig(c.token(v1.SystemNamespace, v1.PublisherIntake)),
		c.bearerConfig(others["matrix-edit-pipelines"]),
		c.bearerConfig(c.token(v1.SystemNamespace, v1.PublisherOpenStack)),
		c.bearerConfig(s.fieldsAgent()),
		c.bearerConfig(c.token(v1.SystemNamespace, v1.PublisherLegacy)),
		c.bearerConfig(others["matrix-migration"]),
	} {
		as, err := dynamic.NewForConfig(cfg)
		if err != nil {
			c.t.Fatal(err)
		}
		s.clients = append(s.clients, as)
		cfg.GroupVersion, cfg.NegotiatedSerializer = &schema.GroupVersion{}, plainCodec()
		plain, err := rest.UnversionedRESTClientFor(cfg)
		if err != nil {
			c.t.Fatal(err)
		}
		s.plain = append(s.plain, plain)
	}
	return s
}

// others are identities that have rights by something else than the product: an operator that may ask for the token of any ServiceAccount, as
// some that hand out secrets do, and those who hold the ClusterRole edit in one of our namespaces, or in that of pipelines. Out come their tokens.
func (s *stage) others() map[string]string {
	s.c.t.Helper()
	out := map[string]string{}
	bound := func(name, kind, role string) (rbacv1.RoleRef, []rbacv1.Subject) {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
		s.have(account)
		out[name] = s.c.token("default", name)
		return rbacv1.RoleRef{APIGroup: rbac, Kind: kind, Name: role}, []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: name}}
	}
	s.have(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "matrix-operator"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, Verbs: []string{"create"}},
	}})
	everywhere := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "matrix-operator"}}
	everywhere.RoleRef, everywhere.Subjects = bound("matrix-operator", "ClusterRole", "matrix-operator")
	s.have(everywhere)
	for name, namespace := range map[string]string{"matrix-edit-nodes": inside, "matrix-edit-system": system, "matrix-edit-pipelines": pipelines} {
		edit := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		edit.RoleRef, edit.Subjects = bound(name, "ClusterRole", "edit")
		s.have(edit)
	}
	// Whoever migrates from the older object.
	reads := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "matrix-migration"}}
	reads.RoleRef, reads.Subjects = bound("matrix-migration", "ClusterRole", "multinic-migration")
	s.have(reads)
	migrates := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "matrix-migration"}}
	migrates.RoleRef, migrates.Subjects = rbacv1.RoleRef{APIGroup: rbac, Kind: "Role", Name: "multinic-migration"}, reads.Subjects
	s.have(migrates)
	return out
}

// fieldsAgent gives the token of the field's agent, whose rights were taken away as docs/migration.md says.
func (s *stage) fieldsAgent() string {
	s.c.t.Helper()
	const name = "multinic-agent"
	account := metav1.ObjectMeta{Namespace: system, Name: name}
	s.have(&corev1.ServiceAccount{ObjectMeta: account})
	s.have(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"multinic.io"}, Resources: []string{"*"}, Verbs: []string{"*"}},
		{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"*"}},
		{APIGroups: []string{""}, Resources: []string{"pods", "nodes"}, Verbs: []string{"get", "list", "watch"}},
	}})
	s.have(&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbac, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: system, Name: name}}})
	token := s.c.token(system, name)
	as := s.c.bearer(token)
	mayWrite := func() string { // in fact, since the right comes and goes a moment after its binding
		o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: nodeA}}
		return may(as.Patch(s.c.t.Context(), o, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"specHash":"field"}}`)), client.DryRunAll))
	}
	s.c.eventually("the field's agent may write", mayWrite)
	page, err := os.ReadFile(bed.Path(s.c.t, "docs/migration.md"))
	if err != nil {
		s.c.t.Fatal(err)
	}
	command := regexp.MustCompile(`(?m)^kubectl (delete clusterrolebinding,clusterrole multinic-agent.*)$`).FindSubmatch(page)
	if command == nil {
		s.c.t.Fatal("docs/migration.md does not take the rights of the field's agent away")
	}
	s.c.kubectl(append(strings.Fields(string(command[1])), "--ignore-not-found")...)
	s.c.eventually("the field's agent may not write", func() string {
		if mayWrite() == "" {
			return "it may"
		}
		return ""
	})
	return token
}

// withJobs switches Jobs on until the test ends.
func (s *stage) withJobs() {
	s.c.t.Helper()
	c := s.c
	c.kubectl("apply", "--server-side", "--force-conflicts", "-f", bed.Path(c.t, "deploy/jobs.yaml"))
	s.jobImage = c.kubectl("get", "configmap", "multinic-jobs", "-n", system, "-o", "jsonpath={.data.image}")
	pod := &unstructured.Unstructured{Object: s.form("Pod")}
	pod.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	pod.SetNamespace(inside)
	pod.SetName(newName)
	ctx := context.WithoutCancel(c.t.Context())
	try := func() error { return c.admin.Create(ctx, pod.DeepCopy(), client.DryRunAll) }
	c.t.Cleanup(func() {
		for _, args := range [][]string{
			{"delete", "roles,rolebindings", "-n", inside, "multinic-credentials-jobs", "multinic-bridge-jobs"},
			// It stays: the policies would say that it is missing, and not that Jobs are off.
			{"patch", "configmap", "multinic-jobs", "-n", system, "--type=merge", "-p", `{"data":{"image":""}}`},
		} {
			if out, err := c.Kubectl(ctx, args...); err != nil {
				c.t.Errorf("%v\n%s", err, out)
			}
		}
		c.eventually("Jobs are off", func() string {
			if err := try(); !refusedBy(err, "Jobs are off") {
				return errorText(err)
			}
			return ""
		})
	})
	c.eventually("Jobs are on", func() string { return may(try()) })
}

// have makes what may be there already, and is removed at the end.
func (s *stage) have(o client.Object) {
	s.c.t.Helper()
	if err := s.c.admin.Create(s.c.t.Context(), o); err != nil && !apierrors.IsAlreadyExists(err) {
		s.c.t.Fatal(err)
	}
	s.c.t.Cleanup(func() {
		if err := s.c.admin.Delete(context.WithoutCancel(s.c.t.Context()), o, client.PropagationPolicy(metav1.DeletePropagationBackground)); client.IgnoreNotFound(err) != nil {
			s.c.t.Error(err)
		}
	})
}

// target is what a name of the matrix stands for.
type target struct {
	resource        schema.GroupVersionResource
	kind            string
	namespace, name string
	sub             string
	body            map[string]any // merged in by patch, or the rest of what is created
}

func gvr(group, version, resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: resource}
}

// tryAll makes one request as each identity, in order. What is said is in the
// order of identities too.
func (s *stage) tryAll(verb, object string) (string, []error) {
	got, said := make([]byte, len(identities)), make([]error, len(identities))
	one := func(i int) {
		err := s.try(i, verb, object)
		got[i], said[i] = outcome(err), err
	}
	// Of a node there is one NodeTokenRequest, which each makes or removes first.
	if strings.Contains(object, "NodeTokenRequest ") {
		for i := range identities {
			one(i)
		}
		return string(got), said
	}
	var all sync.WaitGroup
	for i := range identities {
		all.Go(func() { one(i) })
	}
	all.Wait()
	return string(got), said
}

// try makes one request as one identity.
func (s *stage) try(who int, verb, object string) error {
	ctx := s.c.t.Context()
	if path, ok := paths[object]; ok {
		return s.plain[who].Get().AbsPath(path).Do(ctx).Error()
	}
	tg, err := s.target(object, who)
	if err != nil {
		return err
	}
	as := in(s.clients[who], tg)
	var sub []string
	if tg.sub != "" {
		sub = []string{tg.sub}
	}
	all := []string{metav1.DryRunAll}
	list := metav1.ListOptions{}
	if strings.HasSuffix(verb, " by name") {
		list.FieldSelector = "metadata.name=" + tg.name
	} else if strings.HasSuffix(verb, " by label") {
		list.LabelSelector = v1.NodeNameLabel + "=" + nodeA
	}
	switch verb {
	case "get":
		_, err = as.Get(ctx, tg.name, metav1.GetOptions{}, sub...)
	case "list", "list by name", "list by label":
		_, err = as.List(ctx, list)
	case "watch", "watch by name":
		list.TimeoutSeconds = new(int64(1))
		w, open := as.Watch(ctx, list)
		if err = open; err == nil {
			w.Stop()
		}
	case "create":
		o := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(tg.body)} // others make the same one now
		o.SetGroupVersionKind(tg.resource.GroupVersion().WithKind(tg.kind))
		if tg.sub == "token" {
			o.SetGroupVersionKind(schema.GroupVersionKind{Group: "authentication.k8s.io", Version: "v1", Kind: tg.kind})
		}
		o.SetName(tg.name)
		if tg.sub == "exec" {
			all = nil // there are no dry runs of it
		}
		_, err = as.Create(ctx, o, metav1.CreateOptions{DryRun: all}, sub...)
	case "update":
		err = retry.RetryOnConflict(retry.DefaultBackoff, func() error { // controllers write, too
			o, err := in(s.admin, tg).Get(ctx, tg.name, metav1.GetOptions{})
			if err == nil {
				_, err = as.Update(ctx, o, metav1.UpdateOptions{DryRun: all}, sub...)
			}
			return err
		})
	case "patch":
		var body []byte
		if body, err = json.Marshal(tg.body); err == nil {
			_, err = as.Patch(ctx, tg.name, types.MergePatchType, body, metav1.PatchOptions{DryRun: all}, sub...)
		}
	case "delete":
		err = as.Delete(ctx, tg.name, metav1.DeleteOptions{DryRun: all})
	case "deletecollection":
		err = as.DeleteCollection(ctx, metav1.DeleteOptions{DryRun: all}, metav1.ListOptions{})
	default:
		err = s.review(ctx, who, verb, tg)
	}
	return err
}

// review asks the API server about a verb for which there is no request of its
// own: it stands behind another, as impersonation does.
func (s *stage) review(ctx context.Context, who int, verb string, tg target) error {
	resources := []string{tg.resource.Resource}
	if verb == "impersonate" {
		resources = []string{"users", "groups", "serviceaccounts"}
	}
	for _, resource := range resources {
		about := fields{"verb": verb, "group": tg.resource.Group, "resource": resource, "namespace": tg.namespace, "name": tg.name}
		if resource == "serviceaccounts" {
			about["namespace"], about["name"] = inside, v1.ServiceAccountName(nodeA)
		}
		o := &unstructured.Unstructured{Object: fields{"spec": fields{"resourceAttributes": about}}}
		reviews := gvr("authorization.k8s.io", "v1", "selfsubjectaccessreviews")
		o.SetGroupVersionKind(reviews.GroupVersion().WithKind("SelfSubjectAccessReview"))
		answer, err := s.clients[who].Resource(reviews).Create(ctx, o, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		switch allowed, found, err := unstructured.NestedBool(answer.Object, "status", "allowed"); {
		case err != nil || !found:
			return fmt.Errorf("the review of %s %s has no answer: %w", verb, resource, err)
		case allowed:
			return nil
		}
	}
	return errNotAllowed
}

// errNotAllowed is the answer of a review.
var errNotAllowed = errors.New("it is not allowed")

func in(as dynamic.Interface, tg target) dynamic.ResourceInterface {
	if tg.namespace == "" {
		return as.Resource(tg.resource)
	}
	return as.Resource(tg.resource).Namespace(tg.namespace)
}

// outcome puts an answer into a letter. What is neither done nor refused is a
// mistake of the test: '?'.
func outcome(err error) byte {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return 'y'
	case apierrors.IsUnauthorized(err), errors.Is(err, errNotAllowed):
		return '-'
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), `User "`) && strings.Contains(err.Error(), `" cannot `):
		return '-'
	case apierrors.IsForbidden(err):
		return 'p'
	case errors.As(err, &status) && strings.Contains(status.Status().Message, "ValidatingAdmissionPolicy"):
		return 'p'
	}
	return '?'
}

// waiting makes, as whom it belongs to, a request that waits for an answer.
func (s *stage) waiting(node string) error {
	r := &v1.NodeTokenRequest{ObjectMeta: inNodes(node)}
	r.Spec.Door, r.Spec.PublicKey = v1.DoorKubelet, fmt.Appendf(nil, "%-32s", node)
	if err := s.kubelets[node].Create(s.c.t.Context(), r); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return nil
}

// absent sees to it that a request can be made.
func (s *stage) absent(node string) error {
	return client.IgnoreNotFound(s.admin.Resource(requests).Namespace(inside).Delete(s.c.t.Context(), node, metav1.DeleteOptions{}))
}
