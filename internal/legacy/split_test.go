package legacy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/publish"
)

// nic is a NIC of an entry: port, MAC and address end with n.
func nic(n string) v1.BizInterface {
	return v1.BizInterface{PortID: "port-" + n, MACAddress: "02:00:00:00:01:" + n, Address: "192.168.100.1" + n, CIDR: "192.168.100.1" + n + "/24"}
}

// entry is one about the node with a number.
func entry(n int, nics ...v1.BizInterface) v1.BizNodeConfig {
	return v1.BizNodeConfig{AttachedNodeID: fmt.Sprintf("i-%d", n), AttachedNodeName: fmt.Sprintf("worker-%d", n), Interfaces: nics}
}

func old(entries ...v1.BizNodeConfig) *v1.MultiNicBizConfig {
	return &v1.MultiNicBizConfig{
		ObjectMeta: metav1.ObjectMeta{Name: "production", Namespace: v1.SystemNamespace, Generation: 4},
		Spec:       v1.MultiNicBizConfigSpec{ProviderID: "provider-a", SpecHash: "abc", NodeConfigs: entries},
	}
}

// nodes are so many Nodes, worker-1 (i-1) and so on.
func nodes(n int) []publish.Machine {
	var out []publish.Machine
	for i := range n {
		out = append(out, publish.Machine{Name: fmt.Sprintf("worker-%d", i+1), SystemUUID: fmt.Sprintf("I-%d", i+1)})
	}
	return out
}

// object is that of a node as this publisher has made it: the NIC with MAC n has the id of its place.
func object(node int, macs ...string) *v1.MultiNicNodeConfig {
	o := &v1.MultiNicNodeConfig{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("worker-%d", node), Namespace: v1.SystemNamespace, Generation: 3,
			Labels: map[string]string{v1.PublisherLabel: v1.PublisherLegacy, v1.NodeNameLabel: fmt.Sprintf("worker-%d", node), v1.InstanceIDLabel: fmt.Sprintf("i-%d", node)},
		},
		Spec: v1.MultiNicNodeConfigSpec{NodeName: fmt.Sprintf("worker-%d", node), InstanceID: fmt.Sprintf("i-%d", node), ProviderID: "provider-a"},
	}
	for place, n := range macs {
		b := nic(n)
		o.Spec.Interfaces = append(o.Spec.Interfaces, v1.Interface{PortID: b.PortID, ID: new(int32(place)), MACAddress: b.MACAddress, Address: b.Address, CIDR: b.CIDR})
	}
	return wroteBy(o, v1.PublisherLegacy)
}

// wroteBy says who wrote the NICs of an object.
func wroteBy(o *v1.MultiNicNodeConfig, managers ...string) *v1.MultiNicNodeConfig {
	o.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "multinic-bridge", Subresource: "status", FieldsV1: metav1.NewFieldsV1(`{"f:status":{}}`)}}
	for _, m := range managers {
		o.ManagedFields = append(o.ManagedFields, metav1.ManagedFieldsEntry{Manager: m, FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:interfaces":{},"f:nodeName":{}}}`)})
	}
	return o
}

func of(o *v1.MultiNicNodeConfig, publisher string) *v1.MultiNicNodeConfig {
	if o.Labels[v1.PublisherLabel] = publisher; publisher == "" {
		delete(o.Labels, v1.PublisherLabel)
	}
	return wroteBy(o, "somebody")
}

func noted(o *v1.MultiNicNodeConfig, name, value string) *v1.MultiNicNodeConfig {
	metav1.SetMetaDataAnnotation(&o.ObjectMeta, name, value)
	return o
}

// told is an entry in one line: worker-1 changed multinic0=01, or worker-1 refused NotOurs.
func told(e Entry) string {
	words := []string{e.Node, string(e.Action)}
	if e.Action == publish.Refused {
		return strings.Join(append(words, string(e.Reason)), " ")
	}
	normals, _ := e.Object.Validate()
	for _, n := range normals {
		words = append(words, n.Name+"="+n.MACAddress[len(n.MACAddress)-2:])
	}
	return strings.Join(words, " ")
}

func TestWhatBecomesOfAnEntry(t *testing.T) {
	renamed := func(e v1.BizNodeConfig, name string) v1.BizNodeConfig { e.AttachedNodeName = name; return e }
	without := func(e v1.BizNodeConfig) v1.BizNodeConfig { e.AttachedNodeID = ""; return e }
	moved := func(n v1.BizInterface, mac string) v1.BizInterface { n.MACAddress = mac; return n }
	long := strings.Repeat("a", 62) + "." + strings.Repeat("b", 63)
	for name, row := range map[string]struct {
		world World
		want  []string
	}{
		"a node without an object gets one, and the place in the list is the id": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("01"), nic("02")))}, Machines: nodes(1)},
			[]string{"worker-1 created multinic0=01 multinic1=02"},
		},
		"the object of a node that is as the entry says is not written": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("01"), nic("02")))}, Machines: nodes(1), Objects: []*v1.MultiNicNodeConfig{object(1, "01", "02")}},
			[]string{"worker-1 unchanged multinic0=01 multinic1=02"},
		},
		"a NIC at the beginning of the list takes no other one's id": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("03"), nic("01"), nic("02")))}, Machines: nodes(1), Objects: []*v1.MultiNicNodeConfig{object(1, "01", "02")}},
			[]string{"worker-1 changed multinic0=01 multinic1=02 multinic2=03"},
		},
		"a NIC that leaves the list goes": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("02")))}, Machines: nodes(1), Objects: []*v1.MultiNicNodeConfig{object(1, "01", "02")}},
			[]string{"worker-1 changed multinic1=02"},
		},
		"the last NIC of a node does not": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1))}, Machines: nodes(1), Objects: []*v1.MultiNicNodeConfig{object(1, "01")}},
			[]string{"worker-1 refused EmptyList"},
		},
		"the instance leads to the Node, whatever name the cloud has for it": {
			World{Old: []*v1.MultiNicBizConfig{old(renamed(entry(1, nic("01")), "vm-0815"))}, Machines: nodes(1)},
			[]string{"worker-1 created multinic0=01"},
		},
		"an instance with the name of another Node": {
			World{Old: []*v1.MultiNicBizConfig{old(renamed(entry(1, nic("01")), "worker-2"))}, Machines: nodes(2)},
			[]string{"worker-1 refused NameOfAnother"},
		},
		"a name that is another instance": {
			World{Old: []*v1.MultiNicBizConfig{old(renamed(entry(7, nic("01")), "worker-2"))}, Machines: nodes(2)},
			[]string{" refused AnotherInstance"},
		},
		"an entry without an instance is about the Node of its name": {
			World{Old: []*v1.MultiNicBizConfig{old(without(entry(1, nic("01"))))}, Machines: nodes(1)},
			[]string{"worker-1 created multinic0=01"},
		},
		"a node that is not there holds no other one up": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("01")), entry(9, nic("09")), entry(2, nic("02")))}, Machines: nodes(2)},
			[]string{"worker-1 created multinic0=01", " refused NodeUnknown", "worker-2 created multinic0=02"},
		},
		"two entries for one node": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("01")), entry(2, nic("02")), renamed(entry(1, nic("03")), ""))}, Machines: nodes(2)},
			[]string{"worker-1 refused NamedTwice", "worker-2 created multinic0=02", "worker-1 refused NamedTwice"},
		},
		"two older objects about one node": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("01"))), old(entry(1, nic("01")))}, Machines: nodes(1)},
			[]string{"worker-1 refused NamedTwice", "worker-1 refused NamedTwice"},
		},
		"a MAC twice in one entry": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("01"), moved(nic("02"), nic("01").MACAddress)), entry(2, nic("03")))}, Machines: nodes(2)},
			[]string{"worker-1 refused Invalid", "worker-2 created multinic0=03"},
		},
		"a MAC in the entries of two nodes, in another case": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, moved(nic("01"), "02:00:00:00:01:aa")), entry(2, moved(nic("02"), "02:00:00:00:01:AA")), entry(3, nic("03")))}, Machines: nodes(3)},
			[]string{"worker-1 refused MACTwice", "worker-2 refused MACTwice", "worker-3 created multinic0=03"},
		},
		"a MAC that is also in the entry of a node that is gone": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("01")), entry(9, nic("01")))}, Machines: nodes(1)},
			[]string{"worker-1 created multinic0=01", " refused NodeUnknown"},
		},
		"what the rules refuse": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, moved(nic("01"), "nonsense")), entry(2, nic("02")))}, Machines: nodes(2)},
			[]string{"worker-1 refused Invalid", "worker-2 created multinic0=02"},
		},
		"the object of another publisher wins": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("01")))}, Machines: nodes(1), Objects: []*v1.MultiNicNodeConfig{of(object(1, "02"), v1.PublisherIntake)}},
			[]string{"worker-1 refused NotOurs"},
		},
		"an object that a person has made wins": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("01")))}, Machines: nodes(1), Objects: []*v1.MultiNicNodeConfig{of(object(1, "02"), "")}},
			[]string{"worker-1 refused NotOurs"},
		},
		"an object of ours that somebody else has written wins": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("01")))}, Machines: nodes(1), Objects: []*v1.MultiNicNodeConfig{wroteBy(object(1, "02"), "kubectl-edit")}},
			[]string{"worker-1 refused TakenOver"},
		},
		"an object that somebody else has written the same way does not": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("02")))}, Machines: nodes(1), Objects: []*v1.MultiNicNodeConfig{wroteBy(object(1, "01"), v1.PublisherLegacy, "kubectl")}},
			[]string{"worker-1 changed multinic1=02"},
		},
		"an object that does not say who wrote it is taken by its label": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("01")))}, Machines: nodes(1), Objects: []*v1.MultiNicNodeConfig{func() *v1.MultiNicNodeConfig { o := object(1, "01"); o.ManagedFields = nil; return o }()}},
			[]string{"worker-1 unchanged multinic0=01"},
		},
		"an object that is handed to us is taken": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("01")))}, Machines: nodes(1), Objects: []*v1.MultiNicNodeConfig{noted(of(object(1, "01"), v1.PublisherIntake), v1.HandOverAnnotation, v1.PublisherLegacy)}},
			[]string{"worker-1 changed multinic0=01"},
		},
		"an object that somebody took over is given back": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("01")))}, Machines: nodes(1), Objects: []*v1.MultiNicNodeConfig{noted(wroteBy(object(1, "01"), "kubectl-edit"), v1.HandOverAnnotation, v1.PublisherLegacy)}},
			[]string{"worker-1 changed multinic0=01"},
		},
		"an object that is given to another publisher is left to it": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("02")))}, Machines: nodes(1), Objects: []*v1.MultiNicNodeConfig{noted(object(1, "01"), v1.HandOverAnnotation, v1.PublisherIntake)}},
			[]string{"worker-1 refused HandedOver"},
		},
		"a provider that is not the object's": {
			World{Old: []*v1.MultiNicBizConfig{func() *v1.MultiNicBizConfig {
				o := old(entry(1, nic("01")))
				o.Spec.ProviderID = "provider-b"
				return o
			}()}, Machines: nodes(1), Objects: []*v1.MultiNicNodeConfig{object(1, "01")}},
			[]string{"worker-1 refused AnotherProvider"},
		},
		"a name of more than 63 characters": {
			World{Old: []*v1.MultiNicBizConfig{old(renamed(entry(1, nic("01")), long))}, Machines: []publish.Machine{{Name: long, SystemUUID: "i-1"}}},
			[]string{long + " created multinic0=01"},
		},
		"where the Nodes are not known the entry's name counts": {
			World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("01")), renamed(entry(2, nic("02")), ""))}, Unknown: true},
			[]string{"worker-1 created multinic0=01", " refused NoName"},
		},
		"without an older object nothing becomes of anything": {
			World{Machines: nodes(1), Objects: []*v1.MultiNicNodeConfig{object(1, "01")}}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, e := range row.world.Judge() {
				got = append(got, told(e))
				if e.Action == publish.Refused && (e.Message == "" || e.Object != nil) {
					t.Errorf("refused with %q and the object %v", e.Message, e.Object)
				}
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A change of the whole list's hash would otherwise write a thousand objects.
func TestAHashOfAllNodesWritesNoObject(t *testing.T) {
	o := old(entry(1, nic("01")))
	o.Spec.SpecHash = "another"
	got := World{Old: []*v1.MultiNicBizConfig{o}, Machines: nodes(1), Objects: []*v1.MultiNicNodeConfig{object(1, "01")}}.Judge()
	if got[0].Action != publish.Unchanged {
		t.Errorf("the object is %s: %v", got[0].Action, got[0].Diff)
	}
}

func TestOrphansAreObjectsOfOursWithoutAnEntry(t *testing.T) {
	w := World{Old: []*v1.MultiNicBizConfig{old(entry(1, nic("01")))}, Machines: nodes(4),
		Objects: []*v1.MultiNicNodeConfig{object(3, "03"), object(1, "01"), object(2, "02"), of(object(4, "04"), v1.PublisherIntake)}}
	if diff := cmp.Diff([]string{"worker-2", "worker-3"}, w.Orphans(w.Judge())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAProviderIDThatRepeatsTheNodesNameIsNoInstance(t *testing.T) {
	for id, want := range map[string]string{"k3s://worker-1": "", "kind://docker/kind/worker-1": "", "openstack:///i-1": "openstack:///i-1", "worker-1": "", "": ""} {
		n := node("worker-1", "i-1")
		n.Spec.ProviderID = id
		if got := MachineOf(n).ProviderID; got != want {
			t.Errorf("%q counts as %q, want %q", id, got, want)
		}
	}
}
