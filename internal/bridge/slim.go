package bridge

import (
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// slim is the transform of every cache: it keeps what the loops read of an object. Who may write an
// object may put into it whatever fits, and kubectl puts the whole object into an annotation once
// more. The caches hold neither, so that nobody fills the bridge's memory.
//
// An object of the cache is therefore never sent back as a whole. The loops apply what they want,
// or patch it.
func slim(o any) (any, error) {
	m, ok := o.(client.Object)
	if !ok {
		return o, nil // the news that an object was deleted while nobody watched
	}
	m.SetManagedFields(nil)
	m.SetFinalizers(nil)
	m.SetGenerateName("")
	labels, notes := read(o)
	m.SetLabels(only(m.GetLabels(), labels))
	m.SetAnnotations(only(m.GetAnnotations(), notes))
	m.SetOwnerReferences(slices.DeleteFunc(m.GetOwnerReferences(), func(r metav1.OwnerReference) bool {
		return r.Kind != "Node" || r.APIVersion != "v1"
	}))
	switch o := o.(type) {
	case *v1.MultiNicNodeConfig:
		if note, is := o.Annotations[v1.PublisherNoteAnnotation]; is { // an annotation may have 256 KiB
			o.Annotations[v1.PublisherNoteAnnotation] = string([]byte(note[:min(len(note), maxNote)]))
		}
	case *corev1.ConfigMap:
		slimReport(o)
	case *v1.NodeTokenRequest:
		o.Spec, o.Status = v1.NodeTokenRequestSpec{}, v1.NodeTokenRequestStatus{} // read from the API server before they count
	case *corev1.ServiceAccount:
		o.Secrets, o.ImagePullSecrets = nil, nil
	case *batchv1.Job:
		o.Spec = batchv1.JobSpec{}
	case *corev1.Pod:
		o.Spec = corev1.PodSpec{}
	}
	return o, nil
}

// maxNote is how much is kept of what a publisher notes, in bytes: more than is said of it.
const maxNote = 2 * gather.MaxConditionMessage

// read says which labels and which annotations of an object the loops read. What others write has
// few of them; what the bridge itself made has those that begin as ours do.
func read(o any) (label, note func(key string) bool) {
	ours := func(key string) bool { return strings.HasPrefix(key, v1.Group+"/") }
	none := func(string) bool { return false }
	switch o.(type) {
	case *v1.MultiNicNodeConfig:
		return none, func(key string) bool { return key == v1.ExecutionAnnotation || key == v1.PublisherNoteAnnotation }
	case *v1.MultiNicNodeRun, *v1.NodeTokenRequest:
		return none, none
	case *metav1.PartialObjectMetadata: // a Node
		return func(key string) bool { return slices.Contains(v1.ReadyLabels[:], key) }, none
	case *corev1.Pod:
		return func(key string) bool { return key == batchv1.JobNameLabel }, ours
	}
	return ours, ours
}

// only is what of all is kept. nil: nothing.
func only(all map[string]string, kept func(key string) bool) map[string]string {
	var out map[string]string
	for k, v := range all {
		if kept(k) {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = v
		}
	}
	return out
}

// slimReport keeps no more of a report than would be parsed.
func slimReport(cm *corev1.ConfigMap) {
	text := cm.Data[v1.ReportKey]
	if len(text) > v1.MaxReportSize {
		text = text[:v1.MaxReportSize+1]
	}
	cm.BinaryData, cm.Data = nil, nil
	if text != "" {
		cm.Data = map[string]string{v1.ReportKey: string([]byte(text))}
	}
}
