package credential

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/deploy"
)

// user is a client of a user that the administrator speaks as.
func (c *cluster) user(name string) client.Client {
	c.t.Helper()
	cfg := c.Config()
	cfg.Impersonate = rest.ImpersonationConfig{UserName: name, Groups: []string{"system:masters"}}
	return newClient(c.t, cfg)
}

// refuses fails unless each of the requests is refused by a policy that says so, or done where it says nothing.
func refuses(t *testing.T, rows map[string]struct {
	do   func() error
	says string
}) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		row := rows[name]
		switch err := row.do(); {
		case row.says == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case row.says != "" && !refusedBy(err, row.says):
			t.Errorf("%s: got %v, want %q", name, err, row.says)
		}
	}
}

// Every right in the cluster is not enough: such a token would outlive whoever asked for it, and no other policy bounds it.
func TestTokensOfNodesAreAskedForByTheNodeItsKubeletAndTheBridge(t *testing.T) {
	c := newCluster(t)
	stop := c.bridge(nil)
	const node = "asked-for"
	c.node(node)
	c.account(node)
	stop()
	bound := &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Node", Name: node}
	ask := func(as client.Client, spec authenticationv1.TokenRequestSpec) func() error {
		return func() error {
			account := &corev1.ServiceAccount{ObjectMeta: inNodes(v1.ServiceAccountName(node))}
			return as.SubResource("token").Create(t.Context(), account, &authenticationv1.TokenRequest{Spec: spec})
		}
	}
	secret := func(namespace, account string) func() error {
		return func() error {
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "for-ever"}, Type: corev1.SecretTypeServiceAccountToken}
			s.Annotations = map[string]string{corev1.ServiceAccountNameKey: account}
			return c.admin.Create(t.Context(), s, client.DryRunAll)
		}
	}
	const nobody = "asked for by that node, its kubelet or the bridge, and by nobody else"
	const never = "there is no Secret with a token"
	refuses(t, map[string]struct {
		do   func() error
		says string
	}{
		"an operator with every right":               {ask(c.user("system:serviceaccount:default:operator"), authenticationv1.TokenRequestSpec{BoundObjectRef: bound}), nobody},
		"an operator, bound to nothing":              {ask(c.user("system:serviceaccount:default:operator"), authenticationv1.TokenRequestSpec{}), nobody},
		"an operator, for a vault":                   {ask(c.user("system:serviceaccount:default:operator"), authenticationv1.TokenRequestSpec{Audiences: []string{"vault"}}), nobody},
		"a cluster administrator":                    {ask(c.admin, authenticationv1.TokenRequestSpec{BoundObjectRef: bound}), nobody},
		"another identity of the bridge's namespace": {ask(c.user("system:serviceaccount:"+system+":multinic-viola"), authenticationv1.TokenRequestSpec{BoundObjectRef: bound}), nobody},
		"the bridge, for credentials":                {ask(c.user("system:serviceaccount:"+system+":"+v1.CredentialsAccount), authenticationv1.TokenRequestSpec{BoundObjectRef: bound}), ""},
		"the bridge, for statuses":                   {ask(c.user("system:serviceaccount:"+system+":"+v1.BridgeAccount), authenticationv1.TokenRequestSpec{BoundObjectRef: bound}), nobody},
		"a Secret with a node's token":               {secret(inside, v1.ServiceAccountName(node)), never},
		"a Secret with the bridge's token":           {secret(system, v1.BridgeAccount), never},
		"a Secret with its other token":              {secret(system, v1.CredentialsAccount), never},
		"a Secret with the publisher's token":        {secret(system, "multinic-viola"), ""},
	})
}

// probeName is a name by which a policy knows its own probe.
var probeName = regexp.MustCompile(`multinic--?probe-[a-z-]+`)

// Whoever may make Pods in multinic-nodes would have every node's token.
func TestNothingRunsInMultinicNodes(t *testing.T) {
	c := newCluster(t)
	spec := restricted()
	spec.NodeName, spec.ServiceAccountName = "nothing-runs", v1.ServiceAccountName("nothing-runs")
	made := func(o client.Object) func() error {
		o.SetNamespace(inside)
		o.SetName("nothing-runs")
		return func() error { return c.admin.Create(t.Context(), o, client.DryRunAll) }
	}
	c.create(&corev1.ServiceAccount{ObjectMeta: inNodes(spec.ServiceAccountName)})
	labels := map[string]string{"a": "b"}
	always := spec
	always.RestartPolicy = corev1.RestartPolicyAlways
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: always}
	refuses(t, map[string]struct {
		do   func() error
		says string
	}{
		"a Pod":                   {made(&corev1.Pod{Spec: spec}), "multinic-nodes takes no Pods, because Jobs are off"},
		"a Job":                   {made(&batchv1.Job{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: spec}}}), "multinic-nodes takes no Pods, because Jobs are off"},
		"a ReplicationController": {made(&corev1.ReplicationController{Spec: corev1.ReplicationControllerSpec{Selector: labels, Template: &template}}), "no other workload"},
	})
	// Nor is there a name with which it goes, as a dry run or in earnest: policies know their own probes by name.
	names := probeName.FindAllString(deploy.Admission+deploy.NodeLabel, -1)
	slices.Sort(names)
	if names = slices.Compact(names); len(names) < 8 {
		t.Fatalf("the policies name %q", names)
	}
	for _, name := range names {
		for _, o := range []client.Object{&corev1.Pod{Spec: spec}, &batchv1.Job{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: spec}}}} {
			o.SetNamespace(inside)
			o.SetName(name)
			one, ok := o.DeepCopyObject().(client.Object)
			if !ok {
				t.Fatalf("a copy of a %T is none", o)
			}
			for how, options := range map[string][]client.CreateOption{"tried": {client.DryRunAll}, "made": nil} {
				if err := c.admin.Create(t.Context(), one, options...); !refusedBy(err, "Jobs are off") {
					t.Errorf("a %T called %s is %s: %v", o, name, how, err)
				}
			}
		}
	}
	// What is older than the policies can still be taken away: a controller takes its finalizers first.
	old := &corev1.Pod{ObjectMeta: inNodes("matrix-pod")}
	if err := c.admin.Patch(t.Context(), old, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":[]}}`)), client.DryRunAll); err != nil {
		t.Error(err)
	}
	image := client.RawPatch(types.StrategicMergePatchType, []byte(`{"spec":{"containers":[{"name":"x","image":"evil"}]}}`))
	if err := c.admin.Patch(t.Context(), old, image, client.DryRunAll); !refusedBy(err, "Jobs are off") {
		t.Errorf("an old Pod gets another image: %v", err)
	}
}

// Statuses are written by an identity that makes nothing, with every right in the cluster too.
func TestTheIdentityForStatusesMakesNothingOfANodes(t *testing.T) {
	c := newCluster(t)
	as := c.user("system:serviceaccount:" + system + ":" + v1.BridgeAccount)
	const node, only = "made-by-status", "only what is a node's, as multinic-credentials"
	n := v1.ServiceAccountName(node)
	for name, o := range map[string]client.Object{
		"a report":                  &corev1.ConfigMap{ObjectMeta: inNodes(v1.ReportName(node))},
		"a Lease":                   &coordinationv1.Lease{ObjectMeta: inNodes(v1.LeaseName(node))},
		"an identity":               &corev1.ServiceAccount{ObjectMeta: inNodes(n)},
		"a Secret":                  &corev1.Secret{ObjectMeta: inNodes(n)},
		"a Role":                    &rbacv1.Role{ObjectMeta: inNodes(n)},
		"a Role in multinic-system": &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: n}},
		"a RoleBinding":             &rbacv1.RoleBinding{ObjectMeta: inNodes(n), RoleRef: rbacv1.RoleRef{APIGroup: rbac, Kind: "Role", Name: n}},
		"the other leader's Lease":  &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: v1.CredentialsAccount}},
	} {
		if err := as.Create(t.Context(), o, client.DryRunAll); !refusedBy(err, only) {
			t.Errorf("%s: got %v, want %q", name, err, only)
		}
	}
}

// A thief of the bridge's token for credentials can lie and revoke, and gives nothing away.
func TestTheBridgeMakesAndDeletesOnlyWhatIsANodes(t *testing.T) {
	c := newCluster(t)
	stop := c.bridge(nil)
	const node = "bounded"
	c.node(node)
	c.object(node)
	c.account(node)
	c.eventually("the last of the node's rights is there", func() string {
		return may(c.admin.Get(t.Context(), client.ObjectKey{Namespace: system, Name: v1.ServiceAccountName(node)}, &rbacv1.RoleBinding{}))
	})
	c.shared(node)
	stop()
	bridge := c.bearer(c.token(system, v1.CredentialsAccount))
	for _, name := range []string{v1.ServiceAccountName(node), v1.JoinAccountName(node)} { // as while the policies were not in force
		c.create(&rbacv1.Role{ObjectMeta: inNodes(name)})
		c.create(&rbacv1.RoleBinding{ObjectMeta: inNodes(name), RoleRef: rbacv1.RoleRef{APIGroup: rbac, Kind: "Role", Name: name}})
	}
	c.create(&corev1.Secret{ObjectMeta: inNodes("not-the-bridges")})
	c.create(&corev1.ServiceAccount{ObjectMeta: inNodes("not-the-bridges")})
	create := func(o client.Object) func() error {
		return func() error { return bridge.Create(t.Context(), o, client.DryRunAll) }
	}
	remove := func(o client.Object) func() error {
		return func() error { return bridge.Delete(t.Context(), o, client.DryRunAll) }
	}
	patch := func(o client.Object, body string) func() error {
		return func() error {
			return bridge.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(body)), client.DryRunAll)
		}
	}
	at := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name}
	}
	role := func(namespace, name string, rules ...rbacv1.PolicyRule) *rbacv1.Role {
		return &rbacv1.Role{ObjectMeta: at(namespace, name), Rules: rules}
	}
	rule := func(group, resource, name string, verbs ...string) rbacv1.PolicyRule {
		r := rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
		if name != "" {
			r.ResourceNames = []string{name}
		}
		return r
	}
	grant := func(namespace, name, to string, subjects ...rbacv1.Subject) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{ObjectMeta: at(namespace, name), RoleRef: rbacv1.RoleRef{APIGroup: rbac, Kind: "Role", Name: to}, Subjects: subjects}
	}
	account := func(namespace, name string) rbacv1.Subject {
		return rbacv1.Subject{Kind: "ServiceAccount", Namespace: namespace, Name: name}
	}
	n, j, x := v1.ServiceAccountName(node), v1.JoinAccountName(node), v1.ServiceAccountName("new")
	const only, rights, bound, empty = "only what is a node's", "the rights of the one node that it is named after, or those that all", "binds the Role of its own name", "is empty"
	refuses(t, map[string]struct {
		do   func() error
		says string
	}{
		"its own: the Role of a new node":       {create(role(inside, x, rule("", "configmaps", "multinic-report-new", "get", "patch", "update"))), ""},
		"its own: a RoleBinding is changed":     {patch(grant(system, n, n), `{"metadata":{"labels":{"a":"b"}}}`), ""},
		"its own: what joins is changed":        {patch(grant(inside, j, j), `{"metadata":{"labels":{"a":"b"}}}`), ""},
		"its own: a Role is deleted":            {remove(role(system, n)), ""},
		"a Role of another name":                {create(role(inside, "x", rule("", "configmaps", "multinic-report-new", "get"))), only},
		"a Role with the rights of another":     {create(role(inside, x, rule("", "configmaps", v1.ReportName(node), "get"))), rights},
		"a Role with the rights of all":         {create(role(inside, x, rule("", "configmaps", "", "get"))), rights},
		"a Role that deletes":                   {create(role(inside, x, rule("", "configmaps", "multinic-report-new", "delete"))), rights},
		"a Role on tokens of another":           {create(role(inside, x, rule("", "serviceaccounts/token", n, "create"))), rights},
		"a Role on all tokens":                  {create(role(inside, x, rule("", "serviceaccounts/token", "", "create"))), rights},
		"a Role on all objects":                 {create(role(system, x, rule(v1.Group, "multinicnodeconfigs", "", "list"))), rights},
		"a Role on Roles":                       {create(role(inside, x, rule(rbac, "roles", "", "create"))), rights},
		"a join Role in the bridge's namespace": {create(role(system, "multinic-join-new")), only},
		"a node's Role gets more":               {patch(role(inside, n), `{"rules":[{"apiGroups":[""],"resources":["serviceaccounts/token"],"verbs":["create"]}]}`), rights},
		"the bridge's own Role to a stranger":   {create(grant(inside, x, "multinic-credentials", account("default", "default"))), bound},
		"another binding to a stranger":         {create(grant(inside, "x", "multinic-credentials", account("default", "default"))), only},
		"a node's Role to a stranger":           {patch(grant(inside, n, n), `{"subjects":[{"kind":"ServiceAccount","namespace":"default","name":"default"}]}`), bound},
		"a node's Role to everybody":            {patch(grant(inside, n, n), `{"subjects":[{"kind":"Group","apiGroup":"`+rbac+`","name":"system:authenticated"}]}`), bound},
		"a node's Role to another node":         {patch(grant(inside, n, n), `{"subjects":[{"kind":"ServiceAccount","namespace":"`+inside+`","name":"`+x+`"}]}`), bound},
		"the Role of all nodes reads":           {patch(role(inside, v1.SharedNodes), `{"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["patch","get"]}]}`), rights},
		"the Role of all nodes makes":           {patch(role(inside, v1.SharedNodes), `{"rules":[{"apiGroups":["coordination.k8s.io"],"resources":["leases"],"verbs":["create"]}]}`), rights},
		"the Role of all nodes for accounts":    {patch(role(inside, v1.SharedNodes), `{"rules":[{"apiGroups":[""],"resources":["serviceaccounts"],"verbs":["patch"]}]}`), rights},
		"the Role of all kubelets gets more":    {patch(role(inside, v1.SharedKubelets), `{"rules":[{"apiGroups":["multinic.io"],"resources":["nodetokenrequests"],"verbs":["list"]}]}`), rights},
		"the Role of all nodes to kubelets":     {patch(grant(inside, v1.SharedNodes, ""), `{"subjects":[{"kind":"Group","apiGroup":"`+rbac+`","name":"system:nodes"}]}`), bound},
		"the Role of all kubelets to everybody": {patch(grant(inside, v1.SharedKubelets, ""), `{"subjects":[{"kind":"Group","apiGroup":"`+rbac+`","name":"system:authenticated"}]}`), bound},
		"the Role of all nodes to one":          {patch(grant(inside, v1.SharedNodes, ""), `{"subjects":[{"kind":"ServiceAccount","namespace":"`+inside+`","name":"`+n+`"}]}`), bound},
		"a shared Role in the other namespace":  {create(role(system, v1.SharedNodes)), only},
		"a ServiceAccount of the shared name":   {create(&corev1.ServiceAccount{ObjectMeta: inNodes(v1.SharedNodes)}), only},
		"its own: the shared binding is gone":   {remove(grant(inside, v1.SharedNodes, "")), ""},
		"joining for another kubelet":           {patch(grant(inside, j, j), `{"subjects":[{"kind":"User","apiGroup":"`+rbac+`","name":"system:node:other"}]}`), bound},
		"the publisher loses its Role":          {remove(role(system, "multinic-viola")), only},
		"the publisher loses its RoleBinding":   {remove(grant(system, "multinic-viola", "")), only},
		"the bridge's Role is deleted":          {remove(role(inside, "multinic-credentials")), only},
		"the Lease of the other leader":         {create(&coordinationv1.Lease{ObjectMeta: at(system, v1.BridgeAccount)}), only},
		"the CA of the namespace is changed":    {patch(&corev1.ConfigMap{ObjectMeta: inNodes("kube-root-ca.crt")}, `{"data":{"ca.crt":"x"}}`), only},
		"the CA of the namespace is deleted":    {remove(&corev1.ConfigMap{ObjectMeta: inNodes("kube-root-ca.crt")}), only},
		"another ServiceAccount":                {create(&corev1.ServiceAccount{ObjectMeta: inNodes("x")}), only},
		"another ServiceAccount is deleted":     {remove(&corev1.ServiceAccount{ObjectMeta: inNodes("not-the-bridges")}), only},
		"a Secret of another name":              {create(&corev1.Secret{ObjectMeta: inNodes("x")}), only},
		"a Secret of another name is deleted":   {remove(&corev1.Secret{ObjectMeta: inNodes("not-the-bridges")}), only},
		"its own: an empty Secret":              {create(&corev1.Secret{ObjectMeta: inNodes(x)}), ""},
		"a Secret with something in it":         {create(&corev1.Secret{ObjectMeta: inNodes(x), StringData: map[string]string{"x": "y"}}), empty},
		"a Lease of leader election":            {create(&coordinationv1.Lease{ObjectMeta: at(system, "another-operator")}), only},
		"a Lease of another name":               {create(&coordinationv1.Lease{ObjectMeta: inNodes("x")}), only},
	})
}

// The Lease of a node of that name was once the probe's: the node could not renew it.
func TestANodeMayBeCalledProbeLeases(t *testing.T) {
	c := newCluster(t)
	const node = "probe-leases"
	lease := &coordinationv1.Lease{ObjectMeta: inNodes(v1.LeaseName(node))}
	c.create(lease.DeepCopy())
	as := c.user("system:serviceaccount:" + inside + ":" + v1.ServiceAccountName(node))
	renewed := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"holderIdentity":"x","renewTime":"2026-01-01T00:00:00.000000Z"}}`))
	if err := as.Patch(t.Context(), lease, renewed); err != nil {
		t.Error(err)
	}
}

// Whoever may make a Pod in multinic-system would be the bridge.
func TestOnlyTheBridgesReplicaSetRunsAsTheBridge(t *testing.T) {
	c := newCluster(t)
	pod := func() *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: system, GenerateName: "as-the-bridge-"}, Spec: restricted()}
		p.Spec.ServiceAccountName = v1.CredentialsAccount
		return p
	}
	replicas := c.user("system:serviceaccount:kube-system:replicaset-controller")
	running := pod()
	if err := replicas.Create(t.Context(), running); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.admin.Delete(context.WithoutCancel(t.Context()), running, client.GracePeriodSeconds(0)); err != nil {
			t.Error(err)
		}
	})
	patch := func(body string, sub ...string) func() error {
		return func() error {
			p := client.RawPatch(types.StrategicMergePatchType, []byte(body))
			if len(sub) > 0 {
				return c.admin.SubResource(sub[0]).Patch(t.Context(), running.DeepCopy(), p, client.DryRunAll)
			}
			return c.admin.Patch(t.Context(), running.DeepCopy(), p, client.DryRunAll)
		}
	}
	create := func(as string, p *corev1.Pod) func() error {
		return func() error { return c.user(as).Create(t.Context(), p, client.DryRunAll) }
	}
	other := pod()
	other.Spec.ServiceAccountName = "default"
	status := pod()
	status.Spec.ServiceAccountName = v1.BridgeAccount
	called := func(p *corev1.Pod, name string) *corev1.Pod { p.Name = name; return p }
	const debugger = `{"name":"y","image":"evil","securityContext":{"allowPrivilegeEscalation":false,"runAsNonRoot":true,"capabilities":{"drop":["ALL"]},"seccompProfile":{"type":"RuntimeDefault"}}}`
	const nobody, keeps = "made for the bridge's ReplicaSet, and by nobody else", "keeps its images, and takes no ephemeral containers"
	refuses(t, map[string]struct {
		do   func() error
		says string
	}{
		"an administrator makes one":        {create("admin", pod()), nobody},
		"one that writes statuses":          {create("admin", status), nobody},
		"a Job's Pod":                       {create("system:serviceaccount:kube-system:job-controller", pod()), nobody},
		"a Pod of the name of a probe":      {create("admin", called(pod(), "multinic-probe-bridge-pods")), nobody},
		"a DaemonSet's Pod":                 {create("system:serviceaccount:kube-system:daemon-set-controller", pod()), nobody},
		"a Pod of another ServiceAccount":   {create("admin", other), ""},
		"it is labelled":                    {patch(`{"metadata":{"labels":{"a":"b"}}}`), ""},
		"it gets another image":             {patch(`{"spec":{"containers":[{"name":"x","image":"evil"}]}}`), keeps},
		"it gets a container for debugging": {patch(`{"spec":{"ephemeralContainers":[`+debugger+`]}}`, "ephemeralcontainers"), keeps},
	})
}
