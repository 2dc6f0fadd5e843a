package publish

import (
	"cmp"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	v1 "multinicd/api/v1"
)

// Owner is who writes, and how wishes are to be taken.
type Owner struct {
	// Name of the publisher: its field manager, and the label of its objects.
	Name string
	// Removals; "" means RemovalsKeep.
	Removals Removals
}

// Decision is what is to be done about the object of one node.
type Decision struct {
	Result
	// Object as it is to be; nil if the wish is refused. It has the resourceVersion of the object
	// from which it was decided, "" if there was none.
	Object *v1.MultiNicNodeConfig
	// Take says that the object is handed over to us, or was: the annotation that says so is to go.
	Take bool
}

// Decide compares a wish with the object of the node as it is, nil for none. It is a pure function,
// and changes neither. If Decide gets its own object again, the wish is Unchanged.
func (by Owner) Decide(node string, w Wish, have *v1.MultiNicNodeConfig) Decision {
	no := func(reason Reason, message string) Decision { return Decision{Result: refused(node, reason, message)} }
	if errs := w.invalid(node); len(errs) > 0 {
		return no(Invalid, words(errs))
	}
	next := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: node, Namespace: v1.SystemNamespace}}
	if have != nil {
		if reason, message := by.mayNot(w, have); reason != "" {
			return no(reason, message)
		}
		next = have.DeepCopy()
	}
	before := next.DeepCopy()
	if w.From != nil && *w.From != before.Generation {
		return no(Outdated, fmt.Sprintf("the object has generation %d, and the wish was made of %d", before.Generation, *w.From))
	}
	if len(w.NICs) == 0 && len(before.Spec.Interfaces) > 0 && by.Removals == RemovalsApply {
		return no(EmptyList, fmt.Sprintf("the list is empty, and the object has %d NICs: the last NICs of a node are removed by hand only", len(before.Spec.Interfaces)))
	}
	if n := len(before.Spec.Interfaces); n > v1.MaxInterfaces {
		return no(Invalid, fmt.Sprintf("the object has %d NICs, at most %d are taken: correct it by hand", n, v1.MaxInterfaces))
	}
	m := merge(w, before, cmp.Or(by.Removals, RemovalsKeep))
	if m.full {
		return no(NoFreeID, "every id of the node is taken")
	}
	next.Spec = v1.MultiNicNodeConfigSpec{
		ProviderID: w.Provider, NodeName: node, InstanceID: cmp.Or(w.InstanceID, before.Spec.InstanceID),
		SpecHash: before.Spec.SpecHash, Interfaces: m.nics,
	}
	switch same := equality.Semantic.DeepEqual(before.Spec, next.Spec); {
	case w.SpecHash != "":
		next.Spec.SpecHash = w.SpecHash
	case same:
		next.Spec = before.Spec // with the mark of whoever wrote it; an empty list and none are the same
	default:
		next.Spec.SpecHash = ""
	}
	by.mark(next, m.reserved)
	if w.PrimaryPort != "" {
		metav1.SetMetaDataAnnotation(&next.ObjectMeta, v1.PrimaryPortAnnotation, w.PrimaryPort)
	}
	if _, errs := next.Validate(); len(errs) > 0 {
		return no(Invalid, together(errs, m))
	}
	d := Decision{Object: next}
	_, d.Take = before.Annotations[v1.HandOverAnnotation]
	delete(next.Annotations, v1.HandOverAnnotation)
	d.Result = Result{Node: node, Action: Changed, Kept: m.kept, Diff: diff(before, next), ResourceVersion: before.ResourceVersion, Generation: before.Generation}
	switch {
	case have == nil:
		d.Action = Created
	case equality.Semantic.DeepEqual(before.Spec, next.Spec) && equality.Semantic.DeepEqual(before.Labels, next.Labels) && !d.Take &&
		before.Annotations[v1.PrimaryPortAnnotation] == next.Annotations[v1.PrimaryPortAnnotation]:
		// ids that are free again stay in the annotation until something else is written
		d.Action, d.Object = Unchanged, have
	}
	return d
}

// invalid checks the wish alone, so that an error names the entry by its place in the request. A
// missing id is no error: it is given here.
func (w Wish) invalid(node string) v1.FieldErrors {
	o := v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: node}, Spec: v1.MultiNicNodeConfigSpec{
		ProviderID: w.Provider, NodeName: node, InstanceID: w.InstanceID, SpecHash: w.SpecHash,
		Interfaces: append([]v1.Interface(nil), w.NICs...),
	}}
	free := int32(v1.MaxID)
	for i := range o.Spec.Interfaces {
		nic := &o.Spec.Interfaces[i]
		if nic.ID == nil && nic.Name == "" {
			for given(w.NICs, free) {
				free--
			}
			id := free
			nic.ID, free = &id, free-1
		}
	}
	_, errs := o.Validate()
	return errs
}

func given(nics []v1.Interface, id int32) bool {
	for _, nic := range nics {
		if nic.ID != nil && *nic.ID == id || nic.Name == fmt.Sprintf("multinic%d", id) {
			return true
		}
	}
	return false
}

// together are errors that only the wish and what the object has make together.
func together(errs v1.FieldErrors, m merged) string {
	if len(m.kept) == 0 {
		return words(errs)
	}
	return fmt.Sprintf("%s; the object keeps %v, which the list has not got", words(errs), m.kept)
}

// maxErrors is how many errors of one node are put into words: 4,000 nodes may have 64 NICs each.
const maxErrors = 8

func words(errs v1.FieldErrors) string {
	if len(errs) <= maxErrors {
		return errs.Error()
	}
	return fmt.Sprintf("%s\nand %d more", errs[:maxErrors].Error(), len(errs)-maxErrors)
}

// mayNot says why an object is not ours to change; "" if it is.
func (by Owner) mayNot(w Wish, have *v1.MultiNicNodeConfig) (Reason, string) {
	owner, to := have.Labels[v1.PublisherLabel], have.Annotations[v1.HandOverAnnotation]
	switch {
	case owner == by.Name && to != "" && to != by.Name:
		return HandedOver, fmt.Sprintf("the annotation %s gives the object to %q", v1.HandOverAnnotation, to)
	case owner != by.Name && to != by.Name && owner == "":
		return NotOurs, fmt.Sprintf("somebody else has made the object; the annotation %s=%s gives it to us", v1.HandOverAnnotation, by.Name)
	case owner != by.Name && to != by.Name:
		return NotOurs, fmt.Sprintf("the object belongs to %q; the annotation %s=%s gives it to us", owner, v1.HandOverAnnotation, by.Name)
	case have.Spec.ProviderID != "" && have.Spec.ProviderID != w.Provider:
		return AnotherProvider, fmt.Sprintf("the object belongs to the provider %q", have.Spec.ProviderID)
	}
	return "", ""
}

// mark puts our labels on an object, and the ids that nobody may have yet.
func (by Owner) mark(o *v1.MultiNicNodeConfig, reserved []reserved) {
	labels := maps.Clone(o.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[v1.PublisherLabel] = by.Name
	for label, value := range map[string]string{v1.NodeNameLabel: o.Name, v1.InstanceIDLabel: o.Spec.InstanceID} {
		if value != "" && len(validation.IsValidLabelValue(value)) == 0 {
			labels[label] = value
		}
	}
	o.Labels = labels
	annotations := maps.Clone(o.Annotations)
	delete(annotations, v1.ReservedIDsAnnotation)
	if text := annotation(reserved); text != "" {
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[v1.ReservedIDsAnnotation] = text
	}
	o.Annotations = annotations
}
