package bridge

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// stuffed is metadata with what others may put into it, beside what the loops read.
func stuffed(read map[string]string, owners ...metav1.OwnerReference) metav1.ObjectMeta {
	m := metav1.ObjectMeta{
		Name: "n", Namespace: "ns", UID: "u", ResourceVersion: "7", Generation: 3, GenerateName: "n-", Finalizers: []string{"example.com/f"},
		Labels: map[string]string{"example.com/l": "x"}, Annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": strings.Repeat("x", 1000)},
		OwnerReferences: append(owners, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "x"}),
		ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "x", FieldsV1: metav1.NewFieldsV1("{}")}},
	}
	for k, v := range read {
		m.Labels[k], m.Annotations[k] = v, v
	}
	return m
}

func TestTheCachesHoldWhatTheLoopsRead(t *testing.T) {
	node := metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: "a", UID: "node"}
	ours := map[string]string{v1.ComponentLabel: "c", v1.NodeNameLabel: "a", "multinic.io/unclaimed-since": "s"}
	kept := func(labels, notes map[string]string, owners ...metav1.OwnerReference) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: "n", Namespace: "ns", UID: "u", ResourceVersion: "7", Generation: 3, Labels: labels, Annotations: notes, OwnerReferences: owners}
	}
	execution := map[string]string{v1.ExecutionAnnotation: "job"}
	ready := map[string]string{v1.ReadyLabel: "true", v1.GuardedReadyLabel: "true"}
	spec := v1.MultiNicNodeConfigSpec{NodeName: "n", Interfaces: []v1.Interface{{MACAddress: "02:00:00:00:01:01", Routes: []v1.Route{{To: "10.0.0.0/8"}}}}}
	for name, row := range map[string]struct{ from, want client.Object }{
		"an object: its spec is validated, and may name its execution": {
			&v1.MultiNicNodeConfig{ObjectMeta: stuffed(execution), Spec: spec, Status: v1.MultiNicNodeConfigStatus{State: v1.StateFailed}},
			&v1.MultiNicNodeConfig{ObjectMeta: kept(nil, execution), Spec: spec, Status: v1.MultiNicNodeConfigStatus{State: v1.StateFailed}}},
		"an object: so much of its publisher's note as is said": {
			&v1.MultiNicNodeConfig{ObjectMeta: stuffed(map[string]string{v1.PublisherNoteAnnotation: strings.Repeat("x", 5000)})},
			&v1.MultiNicNodeConfig{ObjectMeta: kept(nil, map[string]string{v1.PublisherNoteAnnotation: strings.Repeat("x", 2*gather.MaxConditionMessage)})}},
		"an object: annotations in our name are others', too": {
			&v1.MultiNicNodeConfig{ObjectMeta: stuffed(map[string]string{"multinic.io/more": "x"})}, &v1.MultiNicNodeConfig{ObjectMeta: kept(nil, nil)}},
		"a run": {
			&v1.MultiNicNodeRun{ObjectMeta: stuffed(ours), Spec: v1.MultiNicNodeRunSpec{Node: "a"}}, &v1.MultiNicNodeRun{ObjectMeta: kept(nil, nil), Spec: v1.MultiNicNodeRunSpec{Node: "a"}}},
		"a request, of which only the name counts": {
			&v1.NodeTokenRequest{ObjectMeta: stuffed(nil), Spec: v1.NodeTokenRequestSpec{PublicKey: []byte("k")}, Status: v1.NodeTokenRequestStatus{SealedToken: []byte("s")}},
			&v1.NodeTokenRequest{ObjectMeta: kept(nil, nil)}},
		"a report": {
			&corev1.ConfigMap{ObjectMeta: stuffed(ours, node), BinaryData: map[string][]byte{"x": nil}, Data: map[string]string{"x": "y", v1.ReportKey: strings.Repeat("r", v1.MaxReportSize+9)}},
			&corev1.ConfigMap{ObjectMeta: kept(ours, ours, node), Data: map[string]string{v1.ReportKey: strings.Repeat("r", v1.MaxReportSize+1)}}},
		"a Lease": {
			&coordinationv1.Lease{ObjectMeta: stuffed(ours, node), Spec: coordinationv1.LeaseSpec{HolderIdentity: new("h")}},
			&coordinationv1.Lease{ObjectMeta: kept(ours, ours, node), Spec: coordinationv1.LeaseSpec{HolderIdentity: new("h")}}},
		"an account": {
			&corev1.ServiceAccount{ObjectMeta: stuffed(ours, node), Secrets: []corev1.ObjectReference{{Name: "s"}}, AutomountServiceAccountToken: new(false)},
			&corev1.ServiceAccount{ObjectMeta: kept(ours, ours, node), AutomountServiceAccountToken: new(false)}},
		"a Role": {
			&rbacv1.Role{ObjectMeta: stuffed(ours), Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}}}}, &rbacv1.Role{ObjectMeta: kept(ours, ours), Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}}}}},
		"a Job": {
			&batchv1.Job{ObjectMeta: stuffed(ours), Spec: batchv1.JobSpec{Suspend: new(true)}, Status: batchv1.JobStatus{Failed: 1}},
			&batchv1.Job{ObjectMeta: kept(ours, ours), Status: batchv1.JobStatus{Failed: 1}}},
		"a Pod, which names its Job": {
			&corev1.Pod{ObjectMeta: stuffed(map[string]string{batchv1.JobNameLabel: "j", v1.NodeNameAnnotation: "a"}), Spec: corev1.PodSpec{NodeName: "a"}, Status: corev1.PodStatus{Phase: corev1.PodFailed}},
			&corev1.Pod{ObjectMeta: kept(map[string]string{batchv1.JobNameLabel: "j"}, map[string]string{v1.NodeNameAnnotation: "a"}), Status: corev1.PodStatus{Phase: corev1.PodFailed}}},
		"a Node, which may be labelled": {
			&metav1.PartialObjectMetadata{TypeMeta: gather.NodeShell().TypeMeta, ObjectMeta: stuffed(ready)}, &metav1.PartialObjectMetadata{TypeMeta: gather.NodeShell().TypeMeta, ObjectMeta: kept(ready, nil)}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := slim(row.from)
			if err != nil {
				t.Fatal(err)
			}
			want := row.want
			if want.GetOwnerReferences() == nil {
				want.SetOwnerReferences([]metav1.OwnerReference{})
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	gone := cache.DeletedFinalStateUnknown{Key: "ns/n"}
	if got, err := slim(gone); err != nil || got != any(gone) {
		t.Errorf("what is no object became %v (%v)", got, err)
	}
}

// An object as a publisher writes it: five NICs, applied by kubectl, with a status of the bridge.
func published(t *testing.T, n int) []byte {
	t.Helper()
	name := fmt.Sprintf("worker-node-%04d", n)
	o := v1.MultiNicNodeConfig{TypeMeta: metav1.TypeMeta{APIVersion: v1.GroupVersion.String(), Kind: v1.NodeConfigKind},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: v1.SystemNamespace, UID: "0c497169-a104-4448-afde-f27b79fca904", ResourceVersion: "123456", Generation: 2,
			Labels: map[string]string{v1.NodeNameLabel: name, v1.InstanceIDLabel: "i-0123456789abcdef0"}},
		Spec: v1.MultiNicNodeConfigSpec{NodeName: name, InstanceID: "i-0123456789abcdef0", ProviderID: "0c497169-a104-4448-afde-f27b79fca904", SpecHash: "abc123def456"}}
	for i := range 5 {
		mac, address := fmt.Sprintf("02:00:00:00:%02x:%02x", n%256, i), fmt.Sprintf("192.168.%d.%d", 100+i, n%250+1)
		o.Spec.Interfaces = append(o.Spec.Interfaces, v1.Interface{PortID: "port-" + name, ID: new(int32(i)), MACAddress: mac, Address: address, CIDR: address + "/24", MTU: new(int32(1500))})
		o.Status.InterfaceStatuses = append(o.Status.InterfaceStatuses, v1.InterfaceStatus{ID: int32(i), Name: fmt.Sprint("multinic", i), MACAddress: mac,
			Status: v1.StateConfigured, Reason: v1.ReasonConfigured, Address: address + "/24", MTU: 1500, Message: "Interface configured successfully"})
	}
	applied, err := json.Marshal(o.Spec)
	if err != nil {
		t.Fatal(err)
	}
	o.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": string(applied)}
	fields := `{"f:spec":{"f:interfaces":{},"f:nodeName":{},"f:instanceId":{},"f:providerId":{},"f:specHash":{}},"f:metadata":{"f:labels":{},"f:annotations":{}}}`
	for _, manager := range []string{"viola", v1.BridgeFieldOwner} {
		o.ManagedFields = append(o.ManagedFields, metav1.ManagedFieldsEntry{Manager: manager, Operation: "Apply", APIVersion: "multinic.io/v1", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields)})
	}
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// heap is what a thousand objects take (two hundred with -short), as informers decode them, and as transform leaves them.
func heap(t *testing.T, text func(int) []byte, transform func(any) (any, error)) uint64 {
	t.Helper()
	objects := 1000
	if testing.Short() {
		objects = 200
	}
	var before, after runtime.MemStats
	all := make([]any, objects)
	runtime.GC()
	runtime.ReadMemStats(&before)
	for n := range all {
		var o v1.MultiNicNodeConfig
		if err := json.Unmarshal(text(n), &o); err != nil {
			t.Fatal(err)
		}
		var err error
		if all[n], err = transform(&o); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(all)
	return after.HeapAlloc - before.HeapAlloc
}

// The log has the numbers; a publisher that stuffs its objects gains nothing by it.
func TestAThousandObjectsInTheCache(t *testing.T) {
	whole := func(o any) (any, error) { return o, nil }
	plain := func(n int) []byte { return published(t, n) }
	large := func(n int) []byte {
		var o v1.MultiNicNodeConfig
		if err := json.Unmarshal(plain(n), &o); err != nil {
			t.Fatal(err)
		}
		o.Annotations["example.com/large"] = strings.Repeat("x", 8<<10)
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	kept := heap(t, plain, slim)
	for name, text := range map[string]func(int) []byte{"as kubectl applies them": plain, "with an annotation of 8 KiB each": large} {
		as, stripped, now := heap(t, text, whole), heap(t, text, cachesBefore), heap(t, text, slim)
		t.Logf("objects with 5 NICs, %s: %d bytes as they come, %d without managedFields, %d in the caches", name, as, stripped, now)
		if now > kept+kept/4 || now >= stripped {
			t.Errorf("%s: the caches hold %d bytes, want about %d", name, now, kept)
		}
	}
}

// cachesBefore is what the caches left out once.
func cachesBefore(o any) (any, error) {
	if m, ok := o.(client.Object); ok {
		m.SetManagedFields(nil)
	}
	return o, nil
}
