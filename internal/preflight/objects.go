package preflight

import (
	"fmt"
	"slices"
	"strings"

	v1 "multinicd/api/v1"
)

// definitions notes what would hurt about the CRDs.
func (r *Report) definitions(all []Definition) {
	install := "helm install multinic charts/multinic -n " + v1.SystemNamespace + " --take-ownership, or kubectl apply --server-side --force-conflicts -f deploy/crds.yaml"
	unseen := slices.ContainsFunc(r.Unseen, func(u string) bool { return strings.HasPrefix(u, definitions+": ") })
	if !unseen && !slices.ContainsFunc(all, func(d Definition) bool { return d.Metadata.Name == nodeConfigs }) {
		r.add("definition-missing", true, []string{"CustomResourceDefinition " + nodeConfigs}, "it is not there: the cluster knows no object of a node", install)
	}
	for _, d := range all {
		this := func() []string { return []string{title("CustomResourceDefinition", d.Metadata)} }
		if d.Spec.Group == operators {
			r.add("operator-there", false, this(), "the field's operator is here, which writes objects of nodes from OpenStack", "stop it before another publisher writes the same objects")
			continue
		}
		served, stored := false, ""
		for _, v := range d.Spec.Versions {
			served = served || v.Name == v1.Version && v.Served
			if v.Storage {
				stored = v.Name
			}
		}
		if d.Metadata.DeletionTimestamp != nil {
			r.add("definition-going", true, this(), "it is being deleted, and every object with it", "keep a copy now, kubectl get mnnc -A -o yaml >mnnc.yaml, and write the objects anew once it is gone")
		}
		if !served && d.Spec.Group == v1.Group {
			r.add("definition-old", true, this(), "it has no "+v1.Version+": it is the field's", install+"; objects that are there stay")
		}
		if by := d.Metadata.Annotations[release]; by != "" && d.Metadata.Annotations[resourcePolicy] != "keep" {
			namespace := d.Metadata.Annotations[home]
			r.add("release-owns-definition", false, this(), fmt.Sprintf("it belongs to the Helm release %s of %s: `helm uninstall` of that release deletes it, and every object with it", by, namespace),
				fmt.Sprintf("do not uninstall it: in the end have Helm forget it, kubectl delete secret -n %s -l owner=helm,name=%s, and delete its objects", namespace, by))
		}
		if d.Metadata.Annotations[lastApplied] != "" {
			r.add("definition-applied", false, this(), "somebody applies it from a file by kubectl apply: the next time, that file takes back what ours has", "end what applies it")
		}
		if others := slices.DeleteFunc(slices.Clone(d.Status.StoredVersions), func(v string) bool { return v == stored }); len(others) > 0 {
			r.add("stored-old", false, this(), "objects are stored as "+strings.Join(others, ", "), "multinic-bridge migrate storage, a minute after the definition was changed; nothing needs it now")
		}
	}
}

// objects notes what would hurt about the objects themselves.
func (r *Report) objects(all []Object) {
	all = slices.Clone(all)
	slices.SortFunc(all, compare)
	var going, held, applied, refused, elsewhere []string
	for _, o := range all {
		name := title(o.Kind, o.Metadata)
		if o.Metadata.DeletionTimestamp != nil {
			going = append(going, name)
		}
		if len(o.Metadata.Finalizers) > 0 {
			held = append(held, name+" ("+strings.Join(o.Metadata.Finalizers, ", ")+")")
		}
		if o.Metadata.Annotations[lastApplied] != "" {
			applied = append(applied, name)
		}
		if o.Metadata.Namespace != v1.SystemNamespace {
			elsewhere = append(elsewhere, name)
		}
		if o.Wrong != nil {
			refused = append(refused, name+" ("+o.Wrong.Error()+")")
		}
	}
	r.add("object-going", true, going, "they are being deleted", "wait until they are gone; a finalizer that holds one is named below")
	r.add("object-refused", false, refused, "today's rules refuse them: they stay, and NICs of theirs that break no rule are configured; changes of the rest are refused", "correct them by hand, or let their publisher write them again")
	r.add("object-elsewhere", false, elsewhere, "only objects in the namespace "+v1.SystemNamespace+" count: no node sees these", "write them there")
	r.add("object-held", false, held, "they have finalizers: a deleted one does not go until their program has run", "take the finalizers off once their program is gone")
	r.add("object-applied", false, applied, "somebody applies them from a file by kubectl apply: the next time, the file counts again", "end what applies them, or have it write the objects of nodes from now on")
}
