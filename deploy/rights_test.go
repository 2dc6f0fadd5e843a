package deploy_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// writes are the rights of an identity of the bridge to do more than read, with all that is optional: one a line.
func writes(t *testing.T, account string) []string {
	t.Helper()
	rules, bound := map[string][]rbacv1.PolicyRule{}, map[string]bool{}
	for _, name := range []string{"bridge.yaml", "jobs.yaml", "nodelabel.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for doc := range strings.SplitSeq(string(text), "\n---\n") {
			var o struct { // a Role or a binding
				Kind     string
				Metadata struct{ Name, Namespace string }
				Rules    []rbacv1.PolicyRule
				RoleRef  rbacv1.RoleRef
				Subjects []rbacv1.Subject
			}
			if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
				t.Fatal(err)
			}
			key := func(kind, name string) string { return o.Metadata.Namespace + " " + kind + " " + name }
			switch o.Kind {
			case "Role", "ClusterRole":
				rules[key(o.Kind, o.Metadata.Name)] = o.Rules
			case "RoleBinding", "ClusterRoleBinding":
				if slices.ContainsFunc(o.Subjects, func(s rbacv1.Subject) bool { return s.Kind == "ServiceAccount" && s.Name == account }) {
					bound[key(o.RoleRef.Kind, o.RoleRef.Name)] = true
				}
			}
		}
	}
	var out []string
	for key := range bound {
		namespace, _, _ := strings.Cut(key, " ")
		for _, r := range rules[key] {
			for _, group := range r.APIGroups {
				for _, resource := range r.Resources {
					for _, verb := range r.Verbs {
						if !slices.Contains([]string{"get", "list", "watch"}, verb) {
							out = append(out, strings.TrimSpace(strings.Join(append([]string{namespace, group, resource, verb}, r.ResourceNames...), " ")))
						}
					}
				}
			}
		}
	}
	if len(out) < 5 {
		t.Fatalf("%s has the rights %q", account, out)
	}
	slices.Sort(out)
	return out
}

// Whoever steals one identity of the bridge has not what the other is for. What both write is no node's: Events, and the Lease of the leader,
// which admission holds to the identity's own name.
func TestNeitherIdentityOfTheBridgeHasTheRightsOfTheOther(t *testing.T) {
	status, credentials := writes(t, "multinic-bridge"), writes(t, "multinic-credentials")
	var both []string
	for _, right := range status {
		if slices.Contains(credentials, right) {
			both = append(both, right)
		}
	}
	want := []string{
		"multinic-system  events create", "multinic-system  events patch", "multinic-system coordination.k8s.io leases create",
		"multinic-system events.k8s.io events create", "multinic-system events.k8s.io events patch",
	}
	if diff := cmp.Diff(want, both); diff != "" {
		t.Errorf("what both may do (-want +got):\n%s", diff)
	}
	only := []string{
		"nodes patch", "multinic-system coordination.k8s.io leases update multinic-bridge", "multinic-system multinic.io multinicnodeconfigs/status patch",
		"multinic-system multinic.io multinicnoderuns delete", "multinic-system multinic.io multinicnoderuns/status patch",
	}
	slices.Sort(only)
	got := slices.DeleteFunc(status, func(right string) bool { return slices.Contains(both, right) })
	if diff := cmp.Diff(only, got); diff != "" {
		t.Errorf("what multinic-bridge alone may do (-want +got):\n%s", diff)
	}
}
