package preflight

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
)

var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func pod(image string, env ...corev1.EnvVar) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: image, Env: env}}}}
}

func deployment(namespace, name, image string, replicas int32, env ...corev1.EnvVar) appsv1.Deployment {
	return appsv1.Deployment{ObjectMeta: named(namespace, name), Spec: appsv1.DeploymentSpec{Replicas: &replicas, Template: pod(image, env...)}}
}

func job(namespace, name string, conditions ...batchv1.JobConditionType) batchv1.Job {
	j := batchv1.Job{ObjectMeta: named(namespace, name)}
	for _, c := range conditions {
		j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: c, Status: corev1.ConditionTrue})
	}
	return j
}

// definition is a CRD with these versions, of which the first is stored.
func definition(name, group string, versions ...string) Definition {
	d := Definition{Metadata: named("", name)}
	d.Spec.Group = group
	for i, v := range versions {
		d.Spec.Versions = append(d.Spec.Versions, struct {
			Name    string `json:"name"`
			Served  bool   `json:"served"`
			Storage bool   `json:"storage"`
		}{v, true, i == 0})
	}
	d.Status.StoredVersions = versions[:1]
	return d
}

func with[T any](v T, change func(*T)) T {
	change(&v)
	return v
}

func object(namespace, name string, change func(*metav1.ObjectMeta)) Object {
	return Object{Kind: v1.NodeConfigKind, Metadata: with(named(namespace, name), change)}
}

func grant(binding, kind, namespace, name string) Grant {
	return Grant{Binding: binding, Subjects: []rbacv1.Subject{{Kind: kind, Namespace: namespace, Name: name}}}
}

// rows say of a cluster, beside our own definition, what is found there: "id: objects", those that come first with "!".
var rows = map[string]struct {
	in   Cluster
	want []string
}{
	"nothing": {Cluster{}, nil},
	"ours, and what is nobody's": {Cluster{
		Deployments: []appsv1.Deployment{deployment(v1.SystemNamespace, "multinic-bridge", "r/multinic-bridge:1", 2), deployment("a", "b", "r.example.com:5000/c", 1)},
		Jobs:        []batchv1.Job{job(v1.NodesNamespace, "multinic-agent-worker-1-2026"), job("a", "b")},
		Objects:     []Object{object(v1.SystemNamespace, "worker-1", func(*metav1.ObjectMeta) {})},
		Grants:      []Grant{grant("RoleBinding multinic-system/multinic-intake", rbacv1.ServiceAccountKind, v1.SystemNamespace, v1.PublisherIntake)},
	}, nil},
	"the controller runs": {Cluster{Deployments: []appsv1.Deployment{deployment(v1.SystemNamespace, "multinic-agent-controller", "x", 1)}},
		[]string{"!controller-runs: Deployment multinic-system/multinic-agent-controller"}},
	"the controller by its image": {Cluster{Deployments: []appsv1.Deployment{deployment("net", "nics", "r.example.com:5000/a/multinic-agent:1@sha256:0", 1)}},
		[]string{"!controller-runs: Deployment net/nics"}},
	"the controller by its label": {Cluster{Deployments: []appsv1.Deployment{with(deployment("net", "nics", "x", 1), func(d *appsv1.Deployment) { d.Labels = map[string]string{"app.kubernetes.io/name": "multinic-agent"} })}},
		[]string{"!controller-runs: Deployment net/nics"}},
	"it is told to stop, and has Pods": {Cluster{Deployments: []appsv1.Deployment{with(deployment("net", "multinic-agent", "x", 0), func(d *appsv1.Deployment) { d.Status.Replicas = 1 })}},
		[]string{"!controller-runs: Deployment net/multinic-agent"}},
	"it has stopped, and would delete the definition": {Cluster{Deployments: []appsv1.Deployment{deployment("net", "multinic-agent", "x", 0, corev1.EnvVar{Name: "FORCE_CRD_REPLACE", Value: "True"})}},
		[]string{"!replaces-definition: Deployment net/multinic-agent"}},
	"it has stopped": {Cluster{Deployments: []appsv1.Deployment{deployment("net", "multinic-agent", "x", 0, corev1.EnvVar{Name: "FORCE_CRD_REPLACE", Value: "false"})}}, nil},
	"its release": {Cluster{Deployments: []appsv1.Deployment{with(deployment("net", "multinic-agent", "x", 0), func(d *appsv1.Deployment) { d.Annotations = map[string]string{release: "field", home: "net"} })}},
		[]string{"release-left: Deployment net/multinic-agent"}},
	"a DaemonSet": {Cluster{DaemonSets: []appsv1.DaemonSet{{ObjectMeta: named("net", "multinic-agent")}, {ObjectMeta: named("net", "other")}}},
		[]string{"!daemonset-runs: DaemonSet net/multinic-agent"}},
	"Jobs": {Cluster{Jobs: []batchv1.Job{job("net", "multinic-agent-b-g2"), job("net", "multinic-agent-a-g1", batchv1.JobComplete), job("net", "multinic-agent-c-g1", batchv1.JobSuspended),
		job("net", "multinic-agent-cleanup-a", batchv1.JobFailed)}},
		[]string{"!jobs-run: Job net/multinic-agent-b-g2, Job net/multinic-agent-c-g1", "jobs-left: Job net/multinic-agent-a-g1, Job net/multinic-agent-cleanup-a"}},
	"the field's definition": {Cluster{Definitions: []Definition{with(definition(nodeConfigs, v1.Group, "v1alpha1"), func(d *Definition) {
		d.Metadata.Annotations = map[string]string{release: "field", home: "net", lastApplied: "{}"}
	})}}, []string{"!definition-old: CustomResourceDefinition " + nodeConfigs, "release-owns-definition: CustomResourceDefinition " + nodeConfigs, "definition-applied: CustomResourceDefinition " + nodeConfigs}},
	"ours, of a release of ours, over the field's": {Cluster{Definitions: []Definition{with(definition(nodeConfigs, v1.Group, "v1", "v1alpha1"), func(d *Definition) {
		d.Metadata.Annotations = map[string]string{release: "multinic", home: v1.SystemNamespace, resourcePolicy: "keep"}
		d.Status.StoredVersions = []string{"v1alpha1", "v1"}
	})}}, []string{"stored-old: CustomResourceDefinition " + nodeConfigs}},
	"ours goes": {Cluster{Definitions: []Definition{with(definition(nodeConfigs, v1.Group, "v1"), func(d *Definition) { d.Metadata.DeletionTimestamp = &metav1.Time{Time: now} })}},
		[]string{"!definition-going: CustomResourceDefinition " + nodeConfigs}},
	"no definition":                     {Cluster{Definitions: []Definition{definition("multinicbizconfigs."+older, older, "v1")}}, []string{"!definition-missing: CustomResourceDefinition " + nodeConfigs}},
	"definitions that must not be seen": {Cluster{Definitions: []Definition{}, Unseen: []string{"CustomResourceDefinitions: no"}}, nil},
	"the field's operator": {Cluster{Definitions: []Definition{definition(nodeConfigs, v1.Group, "v1"), definition("openstackconfigs."+operators, operators, "v1alpha1")}},
		[]string{"operator-there: CustomResourceDefinition openstackconfigs." + operators}},
	"objects": {Cluster{Objects: []Object{
		object(v1.SystemNamespace, "d", func(m *metav1.ObjectMeta) {
			m.Finalizers = []string{"a.b/c"}
			m.DeletionTimestamp = &metav1.Time{Time: now}
		}),
		object(v1.SystemNamespace, "c", func(m *metav1.ObjectMeta) { m.Annotations = map[string]string{lastApplied: "{}"} }),
		object("default", "b", func(*metav1.ObjectMeta) {}),
		{Kind: v1.NodeConfigKind, Metadata: named(v1.SystemNamespace, "a"), Wrong: errors.New("spec: no")},
	}}, []string{"!object-going: MultiNicNodeConfig multinic-system/d", "object-refused: MultiNicNodeConfig multinic-system/a (spec: no)", "object-elsewhere: MultiNicNodeConfig default/b",
		"object-held: MultiNicNodeConfig multinic-system/d (a.b/c)", "object-applied: MultiNicNodeConfig multinic-system/c"}},
	"an agent that no object shows": {Cluster{Objects: []Object{object(v1.SystemNamespace, "a", wrote("multinic-agent", time.Minute)), object(v1.SystemNamespace, "b", wrote("multinic-agent", 2*time.Hour)), object(v1.SystemNamespace, "c", wrote("viola", time.Minute))}},
		[]string{"agent-wrote: MultiNicNodeConfig multinic-system/a"}},
	"an agent that is there": {Cluster{Objects: []Object{object(v1.SystemNamespace, "a", wrote("multinic-agent", time.Minute))}, Deployments: []appsv1.Deployment{deployment("net", "multinic-agent", "x", 1)}},
		[]string{"!controller-runs: Deployment net/multinic-agent"}},
	"rights": {Cluster{Grants: []Grant{grant("ClusterRoleBinding multinic-agent", rbacv1.ServiceAccountKind, v1.SystemNamespace, "multinic-agent"), grant("RoleBinding multinic-system/multinic-agent-status", "User", "", "x"),
		grant("RoleBinding multinic-system/viola", rbacv1.ServiceAccountKind, "default", "multinic-intake")}},
		[]string{"agents-rights: ServiceAccount multinic-system/multinic-agent by ClusterRoleBinding multinic-agent, User x by RoleBinding multinic-system/multinic-agent-status",
			"others-write: ServiceAccount default/multinic-intake by RoleBinding multinic-system/viola"}},
}

func wrote(manager string, ago time.Duration) func(*metav1.ObjectMeta) {
	return func(m *metav1.ObjectMeta) {
		m.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: manager, Time: &metav1.Time{Time: now.Add(-ago)}}}
	}
}

func TestJudge(t *testing.T) {
	tried := map[string]bool{}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			row.in.Now = now
			if row.in.Definitions == nil {
				row.in.Definitions = []Definition{definition(nodeConfigs, v1.Group, "v1", "v1alpha1")}
			}
			var got []string
			first := len(row.in.Unseen)
			for _, f := range Judge(row.in).Findings {
				tried[f.ID] = true
				line := f.ID + ": " + strings.Join(f.Objects, ", ")
				if f.First {
					line = "!" + line
					first++
				}
				if f.What == "" || f.Do == "" {
					t.Errorf("%s does not say what and what to do: %+v", f.ID, f)
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if n := Judge(row.in).First(); n != first {
				t.Errorf("%d come first, want %d", n, first)
			}
		})
	}
	documented(t, tried)
}

// documented compares the findings that rows have seen with the table of docs/migration.md.
func documented(t *testing.T, tried map[string]bool) {
	page, err := os.ReadFile("../../docs/migration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n| finding |")
	section, _, _ = strings.Cut(section, "\n\n")
	var got []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)`").FindAllStringSubmatch(section, -1) {
		got = append(got, m[1])
	}
	slices.Sort(got)
	want := append(sorted(tried), "not-seen")
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/migration.md has other findings (-code +page):\n%s", diff)
	}
}

// The commands are to be copied: they must be about what was found.
func TestWhatToDo(t *testing.T) {
	r := Judge(Cluster{Now: now, Definitions: []Definition{definition(nodeConfigs, v1.Group, "v1")},
		Deployments: []appsv1.Deployment{with(deployment("net", "multinic-agent", "x", 1), func(d *appsv1.Deployment) { d.Annotations = map[string]string{release: "field", home: "home"} })},
		Grants:      []Grant{grant("ClusterRoleBinding multinic-agent", rbacv1.ServiceAccountKind, v1.SystemNamespace, "multinic-agent"), grant("RoleBinding multinic-system/multinic-agent", "User", "", "x")}})
	want := map[string]string{
		"controller-runs": "kubectl scale deployment/multinic-agent -n net --replicas=0",
		"release-left":    "do not uninstall it: in the end have Helm forget it, kubectl delete secret -n home -l owner=helm,name=field, and delete its objects",
		"agents-rights":   "in the end take its rights away: kubectl delete clusterrolebinding/multinic-agent; kubectl delete rolebinding/multinic-agent -n multinic-system",
	}
	got := map[string]string{}
	for _, f := range r.Findings {
		got[f.ID] = f.Do
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestMayWrite(t *testing.T) {
	rule := func(group, resource, verb string) []rbacv1.PolicyRule {
		return []rbacv1.PolicyRule{{APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{"get", verb}}}
	}
	for name, row := range map[string]struct {
		rules []rbacv1.PolicyRule
		want  bool
	}{
		"patch":               {rule("multinic.io", "multinicnodeconfigs", "patch"), true},
		"anything":            {rule("*", "*", "*"), true},
		"delete of all":       {rule("multinic.io", "*", "deletecollection"), true},
		"read":                {rule("multinic.io", "multinicnodeconfigs", "watch"), false},
		"the status":          {rule("multinic.io", "multinicnodeconfigs/status", "patch"), false},
		"another group":       {rule("apps", "*", "*"), false},
		"nothing":             {nil, false},
		"read, and something": {append(rule("multinic.io", "multinicnodeconfigs", "list"), rule("", "pods", "create")...), false},
	} {
		if got := mayWrite(row.rules); got != row.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestTheReportIsPrinted(t *testing.T) {
	r := Report{Findings: []Finding{
		{ID: "a", First: true, Objects: []string{"o1", "o2", "o3", "o4", "o5"}, What: "bad\x1b[2J", Do: "mend"},
		{ID: "b", Objects: []string{"o"}, What: "meh", Do: "nothing"},
	}, Unseen: []string{"Jobs: no"}}
	var table, text strings.Builder
	if err := errors.Join(r.Table(&table), r.JSON(&text)); err != nil {
		t.Fatal(err)
	}
	const want = `FIRST   FINDING    OBJECT                  WHAT, AND WHAT TO DO
yes     a          o1, o2, o3 and 2 more   bad\u001b[2J. mend
-       b          o                       meh. nothing
yes     not-seen   -                       could not be looked at: Jobs: no

3 found, 2 to be done first. What runs on hosts without a Pod, no cluster shows: ` + "`multinicd doctor` says it there.\n"
	if diff := cmp.Diff(want, table.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	var back Report
	if err := json.Unmarshal([]byte(text.String()), &back); err != nil || len(back.Findings) != 2 || len(back.Findings[0].Objects) != 5 || back.First() != 2 {
		t.Errorf("%v\n%s", err, text.String())
	}
}
