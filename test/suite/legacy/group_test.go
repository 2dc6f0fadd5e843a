package legacy

import (
	"context"
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/legacy"
	"multinicd/test/bed"
)

// Documents of the field give the older kind another group, and no status of its own. Its objects count as ours do.
func TestTheOlderObjectOfTheFieldsGroup(t *testing.T) {
	c := newCluster(t, 2)
	text, err := os.ReadFile(bed.Path(t, "charts/multinic/files/crds/multinic.io_multinicbizconfigs.yaml"))
	c.must(err)
	const subresource = "    subresources:\n      status: {}\n"
	definition := strings.NewReplacer("group: "+v1.Group, "group: "+legacy.FieldGroup, "multinicbizconfigs."+v1.Group, "multinicbizconfigs."+legacy.FieldGroup, subresource, "").Replace(string(text))
	if strings.Count(string(text), subresource) != 1 {
		t.Fatal("the definition does not say where its status is")
	}
	name := "multinicbizconfigs." + legacy.FieldGroup
	_, err = c.Apply(t.Context(), definition, "--server-side")
	c.must(err)
	t.Cleanup(func() {
		if out, err := c.Kubectl(context.WithoutCancel(t.Context()), "delete", "crd", name); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	c.must(c.Served(t.Context(), name))

	c.write(entry(2, 0x201))
	fields := &v1.MultiNicBizConfig{ObjectMeta: metav1.ObjectMeta{Name: "field", Namespace: v1.SystemNamespace},
		Spec: v1.MultiNicBizConfigSpec{ProviderID: "provider-a", NodeConfigs: []v1.BizNodeConfig{entry(1, 0x101), entry(2, 0x202)}}}
	body, err := runtime.DefaultUnstructuredConverter.ToUnstructured(fields)
	c.must(err)
	kind := schema.GroupVersionKind{Group: legacy.FieldGroup, Version: v1.Version, Kind: v1.BizConfigKind}
	o := &unstructured.Unstructured{Object: body}
	o.SetGroupVersionKind(kind)
	unstructured.RemoveNestedField(o.Object, "status")
	fresh, err := client.New(c.Config(), client.Options{Scheme: c.admin.Scheme()}) // which knows the new kind
	c.must(err)
	c.must(fresh.Create(t.Context(), o))

	// Two older objects, of two groups, about one node: nothing is written for it.
	m := c.command()
	m.says("plan", 0, "field[0]", "created", "field[1]", "production[0]", "NamedTwice")
	p := c.publisher()
	c.are("worker-1 multinic-legacy g1 multinic0=0101")
	bed.Eventually(t, "the status of the field's object", "worker-1 Pending; worker-2 Failed NamedTwice", func() string {
		got := &unstructured.Unstructured{}
		got.SetGroupVersionKind(kind)
		c.must(fresh.Get(t.Context(), client.ObjectKeyFromObject(o), got))
		old := &v1.MultiNicBizConfig{}
		c.must(runtime.DefaultUnstructuredConverter.FromUnstructured(got.Object, old))
		var words []string
		for _, n := range old.Status.NodeStatuses {
			words = append(words, strings.TrimSpace(n.AttachedNodeName+" "+string(n.State)+" "+n.Reason))
		}
		if meta.IsStatusConditionTrue(old.Status.Conditions, "Applied") {
			words = append(words, "Applied")
		}
		return strings.Join(words, "; ")
	})
	p.Stop()
	m.says("run --to viola", 1, "worker-1: handed over", "left: worker-2: NamedTwice")
	m.says("finish --leave-out", 1, "the older object can still be changed")
	c.readOnly()
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"nodeConfigs":[]}}`))
	c.refused(fresh.Patch(t.Context(), o, patch), "MultiNicBizConfig is read-only")
	m.says("finish --leave-out", 0, "the migration is finished")
}
