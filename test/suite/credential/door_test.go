package credential

import (
	"encoding/json"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// published makes the object of a node that has an owner ("" for none) and is handed over to somebody ("" for nobody).
func (c *cluster) published(name, owner, to string) {
	c.t.Helper()
	o := &v1.MultiNicNodeConfig{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: system},
		Spec:       v1.MultiNicNodeConfigSpec{NodeName: name, ProviderID: "provider-a", Interfaces: []v1.Interface{{ID: new(int32(1)), MACAddress: "02:00:00:00:01:01"}}},
	}
	if owner != "" {
		o.Labels = map[string]string{v1.PublisherLabel: owner}
	}
	if to != "" {
		o.Annotations = map[string]string{v1.HandOverAnnotation: to}
	}
	c.create(o)
}

// A thief of the door's token can change what is published through it, and nothing that somebody else has made.
func TestTheDoorChangesOnlyItsOwnObjects(t *testing.T) {
	c := newCluster(t)
	const own, byHand, others, given, away = "door-own", "door-by-hand", "door-others", "door-given", "door-away"
	c.published(own, v1.PublisherIntake, "")
	c.published(byHand, "", "")
	c.published(others, "multinic-openstack", "")
	c.published(given, "multinic-openstack", v1.PublisherIntake)
	c.published(away, v1.PublisherIntake, "multinic-openstack")
	door := c.bearer(c.token(system, v1.PublisherIntake))
	at := func(version, name string) *unstructured.Unstructured {
		u := &unstructured.Unstructured{}
		u.SetAPIVersion(v1.Group + "/" + version)
		u.SetKind(v1.NodeConfigKind)
		u.SetNamespace(system)
		u.SetName(name)
		return u
	}
	patch := func(name, body string) func() error {
		return func() error {
			return door.Patch(t.Context(), at(v1.Version, name), client.RawPatch(types.MergePatchType, []byte(body)), client.DryRunAll)
		}
	}
	applied := func(version, name string) func() error {
		return func() error {
			body, err := json.Marshal(fields{"apiVersion": v1.Group + "/" + version, "kind": v1.NodeConfigKind, "metadata": fields{"name": name, "namespace": system,
				"labels": fields{v1.PublisherLabel: v1.PublisherIntake}}, "spec": provided(name)})
			if err != nil {
				return err
			}
			return door.Patch(t.Context(), at(version, name), client.RawPatch(types.ApplyPatchType, body), client.DryRunAll, client.FieldOwner(v1.PublisherIntake), client.ForceOwnership)
		}
	}
	create := func(change func(u *unstructured.Unstructured)) func() error {
		return func() error {
			u := at(v1.Version, "door-new")
			u.Object["spec"] = provided("door-new")
			u.SetLabels(map[string]string{v1.PublisherLabel: v1.PublisherIntake, v1.NodeNameLabel: "door-new", v1.InstanceIDLabel: "i-1"})
			change(u)
			return door.Create(t.Context(), u, client.DryRunAll)
		}
	}
	const spec, take = `{"spec":{"specHash":"x"}}`, `{"metadata":{"labels":{"multinic.io/publisher":"multinic-intake"},"annotations":{"multinic.io/hand-over-to":null}}}`
	const changes, writes, stays, sets = "the HTTP door changes objects with the label", "and is handed over to nobody", "has a provider, spec.providerId, and stays with it", "of an object's metadata the HTTP door sets"
	refuses(t, map[string]struct {
		do   func() error
		says string
	}{
		"its own":                                  {patch(own, spec), ""},
		"its own, applied":                         {applied(v1.Version, own), ""},
		"its own, with a note":                     {patch(own, `{"metadata":{"annotations":{"multinic.io/publisher-note":"AsPublished"}}}`), ""},
		"its own, with reserved ids":               {patch(own, `{"metadata":{"annotations":{"multinic.io/reserved-ids":"[]"}}}`), ""},
		"what is given to it":                      {patch(given, take), ""},
		"what is given to it, with a spec":         {patch(given, `{"metadata":{"labels":{"multinic.io/publisher":"multinic-intake"},"annotations":{"multinic.io/hand-over-to":null}},"spec":{"specHash":"x"}}`), ""},
		"a new one":                                {create(func(*unstructured.Unstructured) {}), ""},
		"a person's":                               {patch(byHand, spec), changes},
		"a person's, applied":                      {applied(v1.Version, byHand), changes},
		"a person's, by the old version":           {applied(v1.AlphaVersion, byHand), changes},
		"a person's, taken":                        {patch(byHand, take), changes},
		"another publisher's":                      {patch(others, spec), changes},
		"another publisher's, taken":               {patch(others, take), changes},
		"its own, which is given away":             {patch(away, spec), changes},
		"its own, which is given away, taken back": {patch(away, take), changes},
		"what is given to it, and stays another's": {patch(given, spec), writes},
		"what is given to it, and goes to a third": {patch(given, `{"metadata":{"labels":{"multinic.io/publisher":"x"},"annotations":{"multinic.io/hand-over-to":null}}}`), writes},
		"its own, to somebody else":                {patch(own, `{"metadata":{"labels":{"multinic.io/publisher":"multinic-openstack"}}}`), writes},
		"its own, to nobody":                       {patch(own, `{"metadata":{"labels":{"multinic.io/publisher":null}}}`), writes},
		"its own, handed over":                     {patch(own, `{"metadata":{"annotations":{"multinic.io/hand-over-to":"multinic-openstack"}}}`), writes},
		"its own, of another provider":             {patch(own, `{"spec":{"providerId":"provider-b"}}`), stays},
		"its own, of no provider":                  {patch(own, `{"spec":{"providerId":null}}`), stays},
		"its own, by a Job":                        {patch(own, `{"metadata":{"annotations":{"multinic.io/execution":"job"}}}`), sets},
		"its own, with another label":              {patch(own, `{"metadata":{"labels":{"a":"b"}}}`), sets},
		"its own, which then cannot be deleted":    {patch(own, `{"metadata":{"finalizers":["example.com/x"]}}`), sets},
		"its own, which the cluster then deletes":  {patch(own, `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Namespace","name":"gone","uid":"x"}]}}`), sets},
		"a new one of nobody":                      {create(func(u *unstructured.Unstructured) { u.SetLabels(nil) }), writes},
		"a new one of somebody else":               {create(func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{v1.PublisherLabel: "x"}) }), writes},
		"a new one of no provider":                 {create(func(u *unstructured.Unstructured) { unstructured.RemoveNestedField(u.Object, "spec", "providerId") }), stays},
		"a new one with an annotation":             {create(func(u *unstructured.Unstructured) { u.SetAnnotations(map[string]string{v1.ExecutionAnnotation: "job"}) }), sets},
		"a new one with a finalizer":               {create(func(u *unstructured.Unstructured) { u.SetFinalizers([]string{"example.com/x"}) }), sets},
		"a new one of a name that no policy misses": {create(func(u *unstructured.Unstructured) {
			u.SetLabels(nil)
			u.SetName("multinic-probe-intake-bounds")
			u.Object["spec"] = provided(u.GetName())
		}), writes},
	})
}
