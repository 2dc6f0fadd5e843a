package preflight

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
)

// Finding is one thing that a person should know before nodes go over.
type Finding struct {
	ID string `json:"id"` // docs/migration.md has a row for each
	// First: going on before it is done may cost NICs or objects.
	First bool `json:"first"`
	// Objects are those that it is about: "Deployment multinic-system/multinic-agent-controller".
	Objects []string `json:"objects"`
	What    string   `json:"what"`
	Do      string   `json:"do"`
}

// Report is all that was found, in the order in which it is best done.
type Report struct {
	Findings []Finding `json:"findings"`
	// Unseen is what could not be read, with the reason. It may hide anything.
	Unseen []string `json:"unseen"`
}

// First counts what must be done first. What could not be looked at must be looked at first.
func (r Report) First() int {
	n := len(r.Unseen)
	for _, f := range r.Findings {
		if f.First {
			n++
		}
	}
	return n
}

// Cluster is what was read of one.
type Cluster struct {
	Now         time.Time
	Deployments []appsv1.Deployment
	DaemonSets  []appsv1.DaemonSet
	Jobs        []batchv1.Job
	Definitions []Definition
	Objects     []Object // of nodes, and older ones, of all namespaces
	Grants      []Grant
	Unseen      []string
}

// Definition is what counts of a CRD.
type Definition struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Group    string `json:"group"`
		Versions []struct {
			Name    string `json:"name"`
			Served  bool   `json:"served"`
			Storage bool   `json:"storage"`
		} `json:"versions"`
	} `json:"spec"`
	Status struct {
		StoredVersions []string `json:"storedVersions"`
	} `json:"status"`
}

// Object is an object of a node or an older one.
type Object struct {
	Kind     string
	Metadata metav1.ObjectMeta
	// Wrong is why today's rules refuse the object; nil if they do not.
	Wrong error
}

// Grant is a binding by which somebody may write the objects of nodes.
type Grant struct {
	Binding  string // "ClusterRoleBinding multinic-agent"
	Subjects []rbacv1.Subject
}

const (
	// agent begins the names of what belongs to the field's agent.
	agent = "multinic-agent"
	// operators is the group of the field's operator in a management cluster.
	operators = "multinic.example.com"
	// replaces is the variable by which the field's controller deletes the definition when it starts.
	replaces = "FORCE_CRD_REPLACE"
	// lastApplied is where kubectl's client-side apply remembers an object.
	lastApplied = "kubectl.kubernetes.io/last-applied-configuration"
	// release and home name the Helm release of an object, and the namespace of the release.
	release, home = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"
	// resourcePolicy says keep where Helm lets an object stay.
	resourcePolicy = "helm.sh/resource-policy"
	// nodeConfigs is the CRD of the objects of nodes.
	nodeConfigs = "multinicnodeconfigs." + v1.Group
	// definitions is how CRDs are called in Unseen.
	definitions = "CustomResourceDefinitions"
	// lately is how long ago the agent may have written for one to think that it runs.
	lately = time.Hour
)

// Judge says what would hurt. It is a pure function.
func Judge(c Cluster) Report {
	r := Report{Findings: []Finding{}, Unseen: append([]string{}, c.Unseen...)}
	running := r.programs(c)
	r.definitions(c.Definitions)
	r.objects(c.Objects)
	if !running {
		r.hosts(c)
	}
	r.rights(c.Grants)
	return r
}

// add notes a finding about objects, if there are any.
func (r *Report) add(id string, first bool, objects []string, what, do string) {
	if len(objects) == 0 {
		return
	}
	slices.Sort(objects)
	r.Findings = append(r.Findings, Finding{ID: id, First: first, Objects: slices.Compact(objects), What: what, Do: do})
}

func title(kind string, m metav1.ObjectMeta) string {
	if m.Namespace == "" {
		return kind + " " + m.Name
	}
	return kind + " " + m.Namespace + "/" + m.Name
}

// agents says whether something is of the field's agent. The product's own Jobs begin with the same
// word, in a namespace that the agent does not know.
func agents(m metav1.ObjectMeta, pod *corev1.PodSpec) bool {
	if m.Namespace == v1.NodesNamespace {
		return false
	}
	if strings.HasPrefix(m.Name, agent) || m.Labels["app.kubernetes.io/name"] == agent {
		return true
	}
	return slices.ContainsFunc(pod.Containers, func(c corev1.Container) bool {
		image, _, _ := strings.Cut(c.Image[strings.LastIndexByte(c.Image, '/')+1:], ":")
		image, _, _ = strings.Cut(image, "@")
		return strings.HasPrefix(image, agent)
	})
}

// programs notes what runs of the field's agent, and says whether anything does.
func (r *Report) programs(c Cluster) bool {
	var run, scale, replace, unset, sets, del, jobs, ended []string
	releases := map[string][]string{}
	owned := func(kind string, m metav1.ObjectMeta) {
		if name := m.Annotations[release]; name != "" {
			key := m.Annotations[home] + "/" + name
			releases[key] = append(releases[key], title(kind, m))
		}
	}
	for i := range c.Deployments {
		d := &c.Deployments[i]
		if !agents(d.ObjectMeta, &d.Spec.Template.Spec) {
			continue
		}
		what := title("Deployment", d.ObjectMeta)
		owned("Deployment", d.ObjectMeta)
		if d.Spec.Replicas == nil || *d.Spec.Replicas > 0 || d.Status.Replicas > 0 {
			run = append(run, what)
			scale = append(scale, fmt.Sprintf("kubectl scale deployment/%s -n %s --replicas=0", d.Name, d.Namespace))
		}
		if deletesDefinitions(&d.Spec.Template.Spec) {
			replace = append(replace, what)
			unset = append(unset, fmt.Sprintf("kubectl set env deployment/%s -n %s %s-", d.Name, d.Namespace, replaces))
		}
	}
	for i := range c.DaemonSets {
		d := &c.DaemonSets[i]
		if !agents(d.ObjectMeta, &d.Spec.Template.Spec) {
			continue
		}
		owned("DaemonSet", d.ObjectMeta)
		sets = append(sets, title("DaemonSet", d.ObjectMeta))
		del = append(del, fmt.Sprintf("kubectl delete daemonset/%s -n %s", d.Name, d.Namespace))
	}
	for i := range c.Jobs {
		j := &c.Jobs[i]
		switch {
		case !agents(j.ObjectMeta, &j.Spec.Template.Spec):
		case over(j):
			ended = append(ended, title("Job", j.ObjectMeta))
		default:
			jobs = append(jobs, title("Job", j.ObjectMeta))
		}
	}
	r.add("controller-runs", true, run, "the field's controller runs: whoever deletes an object of a node, or the definition, has it start a privileged Job that deletes the node's files",
		strings.Join(scale, "; "))
	r.add("replaces-definition", true, replace, replaces+" is set: when the controller starts it deletes the definition, and every object with it",
		strings.Join(unset, "; "))
	r.add("daemonset-runs", true, sets, "the field's agent runs on the nodes, and writes their files again", strings.Join(del, "; "))
	r.add("jobs-run", true, jobs, "Jobs of the field's agent have not ended: they work on the files of their nodes",
		"stop the controller, then wait until they have ended, or delete them: kubectl delete job -n NAMESPACE NAME")
	r.add("jobs-left", false, ended, "ended Jobs of the field's agent: they do nothing any more", "nothing: they go by themselves an hour after their end")
	for _, key := range sorted(releases) {
		namespace, name, _ := strings.Cut(key, "/")
		r.add("release-left", false, releases[key], fmt.Sprintf("they belong to the Helm release %s: if it brought the definition, `helm uninstall` deletes that, and every object with it; Helm 4 leaves it once another release owns it, Helm 3 does not look", name),
			fmt.Sprintf("do not uninstall it: in the end have Helm forget it, kubectl delete secret -n %s -l owner=helm,name=%s, and delete its objects", namespace, name))
	}
	return len(run)+len(sets)+len(jobs) > 0
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func deletesDefinitions(pod *corev1.PodSpec) bool {
	return slices.ContainsFunc(pod.Containers, func(c corev1.Container) bool {
		return slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == replaces && strings.EqualFold(e.Value, "true") })
	})
}

func over(j *batchv1.Job) bool {
	return slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
		return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue
	})
}

// hosts notes what an agent writes that no object shows: one that is a service of its host.
func (r *Report) hosts(c Cluster) {
	var wrote []string
	var last time.Time
	for _, o := range c.Objects {
		for _, f := range o.Metadata.ManagedFields {
			if strings.HasPrefix(f.Manager, agent) && f.Time != nil && c.Now.Sub(f.Time.Time) < lately {
				wrote = append(wrote, title(o.Kind, o.Metadata))
				if f.Time.After(last) {
					last = f.Time.Time
				}
			}
		}
	}
	r.add("agent-wrote", false, wrote, fmt.Sprintf("an agent wrote them within the last hour, last at %s, and nothing in the cluster runs that could have: it may be a service of hosts", last.UTC().Format(time.RFC3339)),
		"nothing, if you have just stopped it; else `multinicd doctor` names it on its host: systemctl disable --now multinic-agent.service")
}

// rights notes who may write specs, except the publishers of this tree.
func (r *Report) rights(grants []Grant) {
	var fields, others, roles []string
	for _, g := range grants {
		for _, s := range g.Subjects {
			if s.Kind == rbacv1.ServiceAccountKind && s.Namespace == v1.SystemNamespace && slices.Contains([]string{v1.PublisherIntake, v1.PublisherOpenStack, v1.PublisherLegacy}, s.Name) {
				continue
			}
			who := fmt.Sprintf("%s %s by %s", s.Kind, strings.TrimPrefix(s.Namespace+"/"+s.Name, "/"), g.Binding)
			kind, name, _ := strings.Cut(g.Binding, " ")
			if !strings.HasPrefix(name[strings.LastIndexByte(name, '/')+1:], agent) {
				others = append(others, who)
				continue
			}
			fields = append(fields, who)
			if kind == "ClusterRoleBinding" {
				roles = append(roles, "clusterrolebinding/"+name)
			} else {
				roles = append(roles, fmt.Sprintf("rolebinding/%s -n %s", name[strings.LastIndexByte(name, '/')+1:], v1.SystemNamespace))
			}
		}
	}
	slices.Sort(roles)
	r.add("agents-rights", false, fields, "the field's agent may write what nodes are told to do", "in the end take its rights away: kubectl delete "+strings.Join(slices.Compact(roles), "; kubectl delete "))
	r.add("others-write", false, others, "they may write what nodes are told to do", "keep the right for publishers alone")
}

// compare orders objects as a reader looks for them.
func compare(a, b Object) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Metadata.Namespace, b.Metadata.Namespace), cmp.Compare(a.Metadata.Name, b.Metadata.Name))
}
