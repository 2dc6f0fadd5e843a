package deploy_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/yaml"

	"multinicd/deploy"
)

// request is what an API server tells a policy's rules and match conditions.
type request struct {
	who                             string
	namespace, group, resource, sub string
	operation, name                 string
	dryRun                          bool
	account                         string // spec.serviceAccountName of the object
}

func (r request) String() string {
	where := "the cluster"
	if r.namespace != "" {
		where = r.namespace
	}
	return fmt.Sprintf("%s %s of %s by %s", r.operation, r.full(), where, words[r.who])
}

// words are how the tables name who asks.
var words = map[string]string{bridge: "bridge", credentials: "credentials", node: "node", anybody: "anybody"}

func (r request) full() string {
	s := r.resource
	if r.sub != "" {
		s += "/" + r.sub
	}
	if r.group != "" {
		s += "." + r.group
	}
	return s
}

const (
	system, nodes = "multinic-system", "multinic-nodes"
	bridge        = "system:serviceaccount:multinic-system:multinic-bridge" // for statuses
	credentials   = "system:serviceaccount:multinic-system:multinic-credentials"
	node          = "system:serviceaccount:multinic-nodes:multinic-node-a"
	door          = "system:serviceaccount:multinic-system:multinic-intake"
	anybody       = "system:serviceaccount:default:operator"
)

// policies are those of the manifests, by name.
func policies(t *testing.T) map[string]admissionv1.ValidatingAdmissionPolicy {
	t.Helper()
	out := map[string]admissionv1.ValidatingAdmissionPolicy{}
	for doc := range strings.SplitSeq(deploy.Admission+"\n---\n"+deploy.NodeLabel, "\n---\n") {
		var p admissionv1.ValidatingAdmissionPolicy
		if err := yaml.Unmarshal([]byte(doc), &p); err != nil {
			t.Fatal(err)
		}
		if p.Kind == "ValidatingAdmissionPolicy" {
			out[p.Name] = p
		}
	}
	return out
}

// sees says whether a policy evaluates its validations for a request.
func sees(t *testing.T, p admissionv1.ValidatingAdmissionPolicy, r request) bool {
	t.Helper()
	return selects(t, p.Spec.MatchConstraints, r) && slices.ContainsFunc(p.Spec.MatchConstraints.ResourceRules, func(rule admissionv1.NamedRuleWithOperations) bool {
		return len(rule.ResourceNames) == 0 && covers(rule.APIGroups, r.group) && coversResource(rule.Resources, r) &&
			slices.ContainsFunc(rule.Operations, func(o admissionv1.OperationType) bool { return o == "*" || string(o) == r.operation })
	}) && !slices.ContainsFunc(p.Spec.MatchConditions, func(c admissionv1.MatchCondition) bool { return !holds(t, c.Expression, r) })
}

// selects says whether a policy is for the namespace. Only selectors by the namespace's name are known.
func selects(t *testing.T, m *admissionv1.MatchResources, r request) bool {
	t.Helper()
	if len(m.ExcludeResourceRules) > 0 || m.ObjectSelector != nil {
		t.Fatal("the test knows neither excludeResourceRules nor objectSelector")
	}
	s := m.NamespaceSelector
	if s == nil {
		return true
	}
	const name = "kubernetes.io/metadata.name"
	for k, v := range s.MatchLabels {
		if k != name || v != r.namespace {
			return false
		}
	}
	for _, e := range s.MatchExpressions {
		if e.Key != name || e.Operator != "In" || !slices.Contains(e.Values, r.namespace) {
			return false
		}
	}
	return true
}

func covers(list []string, want string) bool {
	return slices.Contains(list, "*") || slices.Contains(list, want)
}

// coversResource knows that "*" means no subresources, and "*/x" the subresource x of each.
func coversResource(list []string, r request) bool {
	full := r.resource
	if r.sub != "" {
		full += "/" + r.sub
		return slices.Contains(list, full) || slices.Contains(list, "*/"+r.sub) || slices.Contains(list, "*/*")
	}
	return covers(list, full)
}

// compiled are the match conditions so far.
var compiled = map[string]cel.Program{}

// compile makes a match condition what the API server makes of it.
func compile(t *testing.T, expression string) cel.Program {
	t.Helper()
	if program := compiled[expression]; program != nil {
		return program
	}
	env, err := cel.NewEnv(cel.OptionalTypes(), ext.Strings(), cel.Variable("request", cel.DynType), cel.Variable("object", cel.DynType), cel.Variable("oldObject", cel.DynType))
	if err != nil {
		t.Fatal(err)
	}
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		t.Fatalf("%s: %v", expression, issues.Err())
	}
	program, err := env.Program(ast)
	if err != nil {
		t.Fatal(err)
	}
	compiled[expression] = program
	return program
}

// holds evaluates a match condition.
func holds(t *testing.T, expression string, r request) bool {
	t.Helper()
	object := map[string]any{"metadata": map[string]any{"name": r.name}, "spec": map[string]any{"changed": true}}
	if r.account != "" {
		object["spec"] = map[string]any{"serviceAccountName": r.account}
	}
	old := map[string]any{"metadata": map[string]any{"name": r.name}, "spec": map[string]any{}}
	asked := map[string]any{
		"name": r.name, "namespace": r.namespace, "operation": r.operation, "dryRun": r.dryRun, "subResource": r.sub,
		"resource": map[string]any{"group": r.group, "resource": r.resource}, "userInfo": map[string]any{"username": r.who},
	}
	out, _, err := compile(t, expression).Eval(map[string]any{"request": asked, "object": object, "oldObject": old})
	if err != nil {
		t.Fatalf("%s for %s: %v", expression, r, err)
	}
	return out == types.True
}

// names are an ordinary one, and each that stands in a policy.
func names() []string {
	found := regexp.MustCompile(`multinic--?probe-[a-z-]+`).FindAllString(deploy.Admission+deploy.NodeLabel, -1)
	slices.Sort(found)
	return append([]string{"ordinary"}, slices.Compact(found)...)
}

// what is asked for: all that matters to a node, its credentials and the bridge. "*" are all four operations.
var asked = []struct{ namespace, group, resource, sub, operations string }{
	{nodes, "", "pods", "", "CREATE UPDATE"},
	{nodes, "", "pods", "ephemeralcontainers", "UPDATE"},
	{nodes, "", "pods", "exec", "CONNECT"},
	{nodes, "", "pods", "attach", "CONNECT"},
	{nodes, "", "pods", "portforward", "CONNECT"},
	{nodes, "", "pods", "proxy", "CONNECT"},
	{nodes, "", "pods", "status", "UPDATE"},
	{nodes, "", "pods", "resize", "UPDATE"},
	{nodes, "", "pods", "binding", "CREATE"},
	{nodes, "", "pods", "eviction", "CREATE"},
	{nodes, "", "pods", "", "DELETE"},
	{nodes, "", "replicationcontrollers", "", "CREATE UPDATE"},
	{nodes, "", "podtemplates", "", "CREATE UPDATE"},
	{nodes, "apps", "deployments", "", "CREATE UPDATE"},
	{nodes, "apps", "replicasets", "", "CREATE UPDATE"},
	{nodes, "apps", "statefulsets", "", "CREATE UPDATE"},
	{nodes, "apps", "daemonsets", "", "CREATE UPDATE"},
	{nodes, "batch", "jobs", "", "CREATE UPDATE"},
	{nodes, "batch", "jobs", "", "DELETE"},
	{nodes, "batch", "cronjobs", "", "CREATE UPDATE"},
	{nodes, "", "serviceaccounts", "token", "CREATE"},
	{nodes, "", "serviceaccounts", "", "CREATE UPDATE DELETE"},
	{nodes, "", "secrets", "", "CREATE UPDATE"},
	{nodes, "", "secrets", "", "DELETE"},
	{nodes, "", "configmaps", "", "CREATE UPDATE"},
	{nodes, "", "configmaps", "", "DELETE"},
	{nodes, "", "events", "", "CREATE UPDATE"},
	{nodes, "", "services", "", "CREATE UPDATE DELETE"},
	{nodes, "coordination.k8s.io", "leases", "", "CREATE UPDATE"},
	{nodes, "coordination.k8s.io", "leases", "", "DELETE"},
	{nodes, "rbac.authorization.k8s.io", "roles", "", "CREATE UPDATE DELETE"},
	{nodes, "rbac.authorization.k8s.io", "rolebindings", "", "CREATE UPDATE DELETE"},
	{nodes, "multinic.io", "nodetokenrequests", "", "CREATE UPDATE"},
	{nodes, "multinic.io", "nodetokenrequests", "", "DELETE"},
	{nodes, "multinic.io", "nodetokenrequests", "status", "UPDATE"},
	{system, "multinic.io", "multinicnodeconfigs", "", "CREATE UPDATE DELETE"},
	{system, "multinic.io", "multinicnodeconfigs", "status", "UPDATE"},
	{system, "multinic.io", "multinicbizconfigs", "status", "UPDATE"},
	{system, "multinic.io", "multinicnoderuns", "", "CREATE UPDATE"},
	{system, "multinic.io", "multinicnoderuns", "", "DELETE"},
	{system, "multinic.io", "multinicnoderuns", "status", "UPDATE"},
	{system, "", "pods", "", "CREATE UPDATE"},
	{system, "", "pods", "ephemeralcontainers", "UPDATE"},
	{system, "", "pods", "exec", "CONNECT"},
	{system, "", "serviceaccounts", "token", "CREATE"},
	{system, "", "serviceaccounts", "", "CREATE UPDATE DELETE"},
	{system, "", "secrets", "", "CREATE UPDATE"},
	{system, "", "configmaps", "", "CREATE UPDATE DELETE"},
	{system, "", "events", "", "CREATE UPDATE"},
	{system, "apps", "deployments", "", "CREATE UPDATE"},
	{system, "coordination.k8s.io", "leases", "", "CREATE UPDATE DELETE"},
	{system, "rbac.authorization.k8s.io", "roles", "", "CREATE UPDATE DELETE"},
	{system, "rbac.authorization.k8s.io", "rolebindings", "", "CREATE UPDATE DELETE"},
	{"", "", "nodes", "", "CREATE UPDATE"},
	{"", "", "nodes", "", "DELETE"},
}

// unseen are the requests that no policy sees, with why none has to. Where the API server's own rules or RBAC say enough, no policy does.
var unseen = []struct{ operations, what, who, why string }{
	{"UPDATE", "pods/status of multinic-nodes", "anybody node bridge credentials", "what a kubelet says of a Pod makes nothing run"},
	{"UPDATE", "pods/resize of multinic-nodes", "anybody node bridge credentials", "it changes what a Pod of the form may use of CPU and memory"},
	{"CREATE", "pods/binding of multinic-nodes", "anybody node bridge credentials", "a Pod of the form names its node, and the API server binds it to no other"},
	{"CREATE", "pods/eviction of multinic-nodes", "anybody node bridge credentials", "it ends a Pod, as a deletion does"},
	{"DELETE", "pods of multinic-nodes", "anybody node bridge credentials", "multinicd finishes or undoes a change before it ends"},
	{"DELETE", "jobs.batch of multinic-nodes", "anybody node", "the same"},
	{"CREATE UPDATE DELETE", "serviceaccounts of multinic-nodes", "anybody node", "without rights and tokens an identity is nothing; RBAC gives no node the right"},
	{"DELETE", "secrets of multinic-nodes", "anybody node", "it revokes; RBAC gives no node the right"},
	{"CREATE UPDATE", "configmaps of multinic-nodes", "anybody", "a report is its node's word; RBAC gives nobody the right except node and bridge"},
	{"DELETE", "configmaps of multinic-nodes", "anybody node", "the bridge makes a report anew; RBAC gives no node the right"},
	{"CREATE UPDATE", "events of multinic-nodes", "anybody node bridge credentials", "Events are not to be trusted (docs/security.md)"},
	{"CREATE UPDATE DELETE", "services of multinic-nodes", "anybody node bridge credentials", "nothing there is served"},
	{"CREATE UPDATE", "leases.coordination.k8s.io of multinic-nodes", "anybody", "as with reports"},
	{"DELETE", "leases.coordination.k8s.io of multinic-nodes", "anybody node", "as with reports"},
	{"CREATE UPDATE DELETE", "roles.rbac.authorization.k8s.io of multinic-nodes", "anybody node", "the API server lets nobody grant more than he has"},
	{"CREATE UPDATE DELETE", "rolebindings.rbac.authorization.k8s.io of multinic-nodes", "anybody node", "the same"},
	{"DELETE", "nodetokenrequests.multinic.io of multinic-nodes", "anybody node bridge credentials", "the machine asks again"},
	{"CREATE UPDATE DELETE", "multinicnodeconfigs.multinic.io of multinic-system", "anybody node bridge credentials", "the publisher's word: the schema checks it, and the node guards itself against it"},
	{"DELETE", "multinicnoderuns.multinic.io of multinic-system", "anybody node bridge credentials", "what a node has been asked for is in its object's status"},
	{"CONNECT", "pods/exec of multinic-system", "anybody node bridge credentials", "the bridge's image has no other program; who may is the bridge (docs/security.md)"},
	{"CREATE", "serviceaccounts/token of multinic-system", "anybody node bridge credentials", "who may is the bridge (docs/security.md)"},
	{"CREATE UPDATE DELETE", "serviceaccounts of multinic-system", "anybody node", "it ends a bridge's Pod at the most; RBAC gives no node the right"},
	{"CREATE UPDATE DELETE", "configmaps of multinic-system", "anybody node", "the bridge compares what policies are told; who may is the bridge (docs/security.md)"},
	{"CREATE UPDATE", "events of multinic-system", "anybody node bridge credentials", "Events are not to be trusted (docs/security.md)"},
	{"CREATE UPDATE", "deployments.apps of multinic-system", "anybody node bridge credentials", "who may is the bridge (docs/security.md)"},
	{"CREATE UPDATE DELETE", "leases.coordination.k8s.io of multinic-system", "anybody node", "leader election: the bridge stands still, and nodes go on"},
	{"CREATE UPDATE DELETE", "roles.rbac.authorization.k8s.io of multinic-system", "anybody node", "the API server lets nobody grant more than he has"},
	{"CREATE UPDATE DELETE", "rolebindings.rbac.authorization.k8s.io of multinic-system", "anybody node", "the same"},
	{"CREATE UPDATE", "nodes of the cluster", "anybody node credentials", "the cluster's own; RBAC gives none of them the right"},
	{"DELETE", "nodes of the cluster", "anybody node bridge credentials", "the same"},
}

// each calls f for all that is asked for, of every identity. The name is left open.
func each(f func(r request)) {
	for _, a := range asked {
		for operation := range strings.FieldsSeq(a.operations) {
			for _, who := range []string{anybody, node, bridge, credentials} {
				r := request{who: who, namespace: a.namespace, group: a.group, resource: a.resource, sub: a.sub, operation: operation}
				if a.namespace == system && a.resource == "pods" && a.sub != "exec" {
					r.account = "multinic-bridge"
				}
				f(r)
			}
		}
	}
}

// No name takes an object out of a policy's sight. One may add a policy, as that of a probe does; a dry run, which makes no object, may be
// left to the policy that it is meant for.
func TestNoNameIsLeftOut(t *testing.T) {
	all := policies(t)
	if len(names()) < 8 {
		t.Fatalf("the policies name %q", names())
	}
	each(func(r request) {
		for name, p := range all {
			r.name = "ordinary"
			if !sees(t, p, r) {
				continue
			}
			for _, r.name = range names() {
				if !sees(t, p, r) {
					t.Errorf("%s sees %s, except if it is called %s", name, r, r.name)
				}
			}
		}
	})
}

// The HTTP door is a publisher, whose objects no policy sees except this one.
func TestWhateverTheDoorWritesIsSeen(t *testing.T) {
	p := policies(t)["multinic-intake-bounds"]
	for _, operation := range []string{"CREATE", "UPDATE"} {
		for _, name := range names() {
			r := request{who: door, namespace: system, group: "multinic.io", resource: "multinicnodeconfigs", operation: operation, name: name}
			if !sees(t, p, r) {
				t.Errorf("%s does not see %s of %s by the door", p.Name, r, name)
			}
		}
	}
}

func TestWhatNoPolicySeesIsListed(t *testing.T) {
	all := policies(t)
	left := map[string]bool{}
	for _, u := range unseen {
		for operation := range strings.FieldsSeq(u.operations) {
			for who := range strings.FieldsSeq(u.who) {
				left[operation+" "+u.what+" by "+who] = true
			}
		}
		if u.why == "" {
			t.Errorf("there is no reason why no policy sees %s %s", u.operations, u.what)
		}
	}
	each(func(r request) {
		r.name = "ordinary"
		for _, p := range all {
			if sees(t, p, r) {
				return
			}
		}
		if !left[r.String()] {
			t.Errorf("no policy sees %s", r)
		}
		delete(left, r.String())
	})
	for r := range left {
		t.Errorf("a policy sees %s, which is listed as one that none sees", r)
	}
}

// probes are the requests by which the bridge sees that a policy is in force (internal/bridge/admission), by policy. All are dry runs.
var probes = map[string]request{
	"multinic-node-reports":   {namespace: nodes, resource: "configmaps", name: "multinic-probe-reports"},
	"multinic-node-leases":    {namespace: nodes, group: "coordination.k8s.io", resource: "leases", name: "multinic--probe-leases"},
	"multinic-node-tokens":    {namespace: nodes, resource: "serviceaccounts", sub: "token", name: "multinic-probe-tokens"},
	"multinic-token-requests": {namespace: nodes, group: "multinic.io", resource: "nodetokenrequests", name: "multinic-probe-token-requests"},
	"multinic-node-runs":      {namespace: system, group: "multinic.io", resource: "multinicnoderuns", name: "multinic-probe-node-runs"},
	"multinic-status":         {namespace: nodes, group: "multinic.io", resource: "nodetokenrequests", name: "multinic-probe-status"},
	"multinic-workloads":      {namespace: nodes, resource: "configmaps", name: "multinic-probe-workloads"},
	"multinic-workload-kinds": {namespace: nodes, resource: "configmaps", name: "multinic-probe-workload-kinds"},
	"multinic-token-secrets":  {namespace: nodes, resource: "secrets", name: "multinic-probe-token-secrets"},
	"multinic-bridge-bounds":  {namespace: nodes, resource: "configmaps", name: "multinic-probe-bridge-bounds"},
	"multinic-bridge-pods":    {namespace: system, group: "coordination.k8s.io", resource: "leases", name: "multinic-probe-bridge-pods"},
	"multinic-intake-bounds":  {namespace: nodes, resource: "configmaps", name: "multinic-probe-intake-bounds"},
	"multinic-node-label":     {resource: "nodes", name: "ordinary", operation: "UPDATE"},
}

// A second policy that refuses a probe, too, would answer in the place of the first: which one does is left to chance.
func TestEachProbeIsSeenByItsPolicyAlone(t *testing.T) {
	all := policies(t)
	for name := range all {
		r, ok := probes[name]
		if !ok {
			t.Errorf("there is no probe of %s", name)
			continue
		}
		if r.who, r.dryRun = credentials, true; r.operation == "" {
			r.operation = "CREATE"
		}
		if name == "multinic-node-label" {
			r.who = bridge
		}
		var got []string
		for _, other := range slices.Sorted(maps.Keys(all)) {
			if sees(t, all[other], r) {
				got = append(got, other)
			}
		}
		if !slices.Equal(got, []string{name}) {
			t.Errorf("the probe of %s is seen by %q", name, got)
		}
	}
}
