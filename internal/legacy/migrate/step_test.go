package migrate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/legacy"
	"multinicd/internal/publish"
)

// entry is one of node n, with NICs whose MACs end so.
func entry(n int, macs ...string) v1.BizNodeConfig {
	e := v1.BizNodeConfig{AttachedNodeID: fmt.Sprintf("i-%d", n), AttachedNodeName: fmt.Sprintf("worker-%d", n)}
	for _, m := range macs {
		e.Interfaces = append(e.Interfaces, v1.BizInterface{PortID: "port-" + m, MACAddress: "02:00:00:00:01:" + m, Address: "192.168.100.1" + m, CIDR: "192.168.100.1" + m + "/24"})
	}
	return e
}

// object is that of node n as the older object's publisher makes it of such an entry, with changes.
func object(n int, macs []string, changes ...func(*v1.MultiNicNodeConfig)) *v1.MultiNicNodeConfig {
	e := entry(n, macs...)
	o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: e.AttachedNodeName, Namespace: v1.SystemNamespace, Generation: 3,
		Labels: map[string]string{v1.PublisherLabel: v1.PublisherLegacy, v1.NodeNameLabel: e.AttachedNodeName, v1.InstanceIDLabel: e.AttachedNodeID}}}
	o.Spec = v1.MultiNicNodeConfigSpec{NodeName: e.AttachedNodeName, InstanceID: e.AttachedNodeID, ProviderID: "provider-a"}
	for i, b := range e.Interfaces {
		o.Spec.Interfaces = append(o.Spec.Interfaces, v1.Interface{PortID: b.PortID, ID: new(int32(i)), MACAddress: b.MACAddress, Address: b.Address, CIDR: b.CIDR})
	}
	by(v1.PublisherLegacy)(o)
	for _, change := range changes {
		change(o)
	}
	return o
}

// by says who wrote the NICs of an object last.
func by(managers ...string) func(*v1.MultiNicNodeConfig) {
	return func(o *v1.MultiNicNodeConfig) {
		o.ManagedFields = nil
		for _, m := range managers {
			o.ManagedFields = append(o.ManagedFields, metav1.ManagedFieldsEntry{Manager: m, FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:interfaces":{}}}`)})
		}
	}
}

func of(publisher string) func(*v1.MultiNicNodeConfig) {
	return func(o *v1.MultiNicNodeConfig) {
		if o.Labels[v1.PublisherLabel] = publisher; publisher == "" {
			delete(o.Labels, v1.PublisherLabel)
		}
	}
}

func noted(name, value string) func(*v1.MultiNicNodeConfig) {
	return func(o *v1.MultiNicNodeConfig) { metav1.SetMetaDataAnnotation(&o.ObjectMeta, name, value) }
}

// moved: run has handed the object over.
var moved = noted(v1.MigratedAnnotation, v1.PublisherLegacy)

func world(entries []v1.BizNodeConfig, objects ...*v1.MultiNicNodeConfig) legacy.World {
	w := legacy.World{Objects: objects, Old: []*v1.MultiNicBizConfig{{
		ObjectMeta: metav1.ObjectMeta{Name: "production", Namespace: v1.SystemNamespace},
		Spec:       v1.MultiNicBizConfigSpec{ProviderID: "provider-a", NodeConfigs: entries},
	}}}
	for n := range 5 {
		w.Machines = append(w.Machines, publish.Machine{Name: fmt.Sprintf("worker-%d", n+1), SystemUUID: fmt.Sprintf("i-%d", n+1)})
	}
	return w
}

func told(steps []Step) []string {
	var out []string
	for _, s := range steps {
		words := []string{s.Title(), string(s.Action), string(s.Reason)}
		if s.give {
			words = append(words, "given")
		}
		out = append(out, strings.Join(strings.Fields(strings.Join(words, " ")), " "))
	}
	return out
}

func list(entries ...v1.BizNodeConfig) []v1.BizNodeConfig { return entries }

func TestWhatRunDoesAboutANode(t *testing.T) {
	one := []string{"01"}
	for name, row := range map[string]struct {
		world legacy.World
		want  []string
	}{
		"an object as its entry says is handed over":            {world(list(entry(1, "01")), object(1, one)), []string{"worker-1 hand over"}},
		"a node without an object gets one first":               {world(list(entry(1, "01"))), []string{"worker-1 write"}},
		"an object that is not as its entry says is written":    {world(list(entry(1, "02")), object(1, one)), []string{"worker-1 write"}},
		"what somebody else wrote last is handed over as it is": {world(list(entry(1, "02")), object(1, one, by("kubectl-edit"))), []string{"worker-1 hand over TakenOver"}},
		"an object without an entry is handed over as it is":    {world(nil, object(1, one)), []string{"worker-1 hand over"}},
		"an object that waits for its later owner":              {world(list(entry(1, "01")), object(1, one, moved, noted(v1.HandOverAnnotation, "viola"))), []string{"worker-1 handed over"}},
		"an object that waits for another one":                  {world(list(entry(1, "01")), object(1, one, noted(v1.HandOverAnnotation, "multinic-intake"))), []string{"worker-1 skipped HandedToAnother"}},
		"an object of the later owner":                          {world(list(entry(1, "02")), object(1, one, moved, of("viola"))), []string{"worker-1 done"}},
		"an object of somebody else":                            {world(list(entry(1, "02")), object(1, one, of("multinic-openstack"))), []string{"worker-1 kept"}},
		"an object of nobody":                                   {world(list(entry(1, "02")), object(1, one, of(""))), []string{"worker-1 kept"}},
		"an object that somebody gives to the older object":     {world(list(entry(1, "01")), object(1, one, of("multinic-intake"), noted(v1.HandOverAnnotation, v1.PublisherLegacy))), []string{"worker-1 write"}},
		"a node that is not there is skipped, the others not":   {world(list(entry(9, "09"), entry(1, "01")), object(1, one)), []string{"production[0] skipped NodeUnknown", "worker-1 hand over"}},
		"two entries for one node":                              {world(list(entry(1, "01"), entry(1, "02"), entry(2, "03")), object(1, one)), []string{"worker-1 skipped NamedTwice", "worker-1 skipped NamedTwice", "worker-2 write"}},
		"a MAC twice":                                           {world(list(entry(1, "01"), entry(2, "01"), entry(3, "03")), object(1, one)), []string{"worker-1 skipped MACTwice", "worker-2 skipped MACTwice", "worker-3 write"}},
		"what the rules refuse":                                 {world(list(entry(1, "zz"))), []string{"worker-1 skipped Invalid"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, told(Steps(row.world, "viola"))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestWhatRollbackDoesAboutANode(t *testing.T) {
	one := []string{"01"}
	for name, row := range map[string]struct {
		world legacy.World
		want  []string
	}{
		"an object that was handed over":                            {world(list(entry(1, "01")), object(1, one, moved, of("viola"), by())), []string{"worker-1 give back"}},
		"an object that its later owner has not taken":              {world(list(entry(1, "01")), object(1, one, moved, noted(v1.HandOverAnnotation, "multinic-intake"))), []string{"worker-1 give back"}},
		"an object that its later owner wrote the same way":         {world(list(entry(1, "01")), object(1, one, moved, of("viola"), by("viola"))), []string{"worker-1 give back given"}},
		"an object that its later owner has changed stays as it is": {world(list(entry(1, "02")), object(1, one, moved, of("viola"), by("viola"))), []string{"worker-1 give back"}},
		"an object whose entry has changed meanwhile":               {world(list(entry(1, "02")), object(1, one, moved, of("viola"), by())), []string{"worker-1 skipped ChangesNICs"}},
		"an object whose entry is gone":                             {world(nil, object(1, one, moved, of("viola"), by("viola"))), []string{"worker-1 give back"}},
		"an object that was never handed over":                      {world(list(entry(1, "01")), object(1, one, of("viola")), object(2, one)), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, told(Back(row.world))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestWhatStillDependsOnTheOlderObject(t *testing.T) {
	one := []string{"01"}
	for name, row := range map[string]struct {
		world              legacy.World
		writable, leaveOut bool
		want               []string
	}{
		"nothing":                                   {world(list(entry(1, "01")), object(1, one, moved, of("viola"))), false, false, nil},
		"an object that was not handed over":        {world(list(entry(1, "01")), object(1, one)), false, false, []string{"worker-1: the object belongs to the older object; migrate run hands it over"}},
		"an object that was not taken":              {world(list(entry(1, "01")), object(1, one, noted(v1.HandOverAnnotation, "multinic-intake"))), false, false, []string{"worker-1: multinic-intake has not taken the object yet; it does so with its next list"}},
		"an entry without an object":                {world(list(entry(1, "01"))), false, false, []string{"production[0]: the entry has no object of a node (migrate run writes it)"}},
		"an entry without a node":                   {world(list(entry(9, "01"))), false, false, []string{`production[0]: the entry has no object of a node (NodeUnknown: no Node has the instance id "i-9", and none is called "worker-9")`}},
		"an entry without a node, left out":         {world(list(entry(9, "01"))), false, true, nil},
		"an older object that may still be changed": {world(nil), true, false, []string{"the older object can still be changed, and nobody would follow: set legacyMode=readonly first, or delete the older object"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, Depends(row.world, row.writable, row.leaveOut)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// settled: the node has said that it has what the object says.
func settled(o *v1.MultiNicNodeConfig) {
	o.Status.ObservedGeneration, o.Status.State = o.Generation, v1.StateConfigured
	for i, n := range o.Spec.Interfaces {
		o.Status.InterfaceStatuses = append(o.Status.InterfaceStatuses, v1.InterfaceStatus{ID: int32(i), MACAddress: n.MACAddress, Status: v1.StateConfigured, Address: n.CIDR})
	}
}

func TestWhatIsVerified(t *testing.T) {
	one := []string{"01"}
	nic := func(change func(*v1.InterfaceStatus)) func(*v1.MultiNicNodeConfig) {
		return func(o *v1.MultiNicNodeConfig) { change(&o.Status.InterfaceStatuses[0]) }
	}
	for name, row := range map[string]struct {
		objects []*v1.MultiNicNodeConfig
		want    []string
	}{
		"all is well":                     {[]*v1.MultiNicNodeConfig{object(1, one, settled)}, []string{"worker-1 1/1"}},
		"there is no object":              {nil, []string{"worker-1 -: there is no object of the node"}},
		"the node has said nothing":       {[]*v1.MultiNicNodeConfig{object(1, one)}, []string{"worker-1 0/1: the node has said nothing about its object; multinic0: the node has reported nothing about the NIC"}},
		"the status is of another object": {[]*v1.MultiNicNodeConfig{object(1, one, settled, func(o *v1.MultiNicNodeConfig) { o.Generation++ })}, []string{"worker-1 1/1: the status is of generation 3, and the object has 4"}},
		"the node failed":                 {[]*v1.MultiNicNodeConfig{object(1, one, settled, func(o *v1.MultiNicNodeConfig) { o.Status.State = v1.StateFailed })}, []string{"worker-1 1/1: the node is Failed"}},
		"the node is silent": {[]*v1.MultiNicNodeConfig{object(1, one, settled, func(o *v1.MultiNicNodeConfig) {
			o.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Status: metav1.ConditionUnknown, Reason: v1.ReasonNodeSilent, Message: "m"}}
		})}, []string{"worker-1 1/1: Ready is Unknown: NodeSilent: m"}},
		"a NIC failed":                   {[]*v1.MultiNicNodeConfig{object(1, one, settled, nic(func(s *v1.InterfaceStatus) { s.Status, s.Reason, s.Message = v1.StateFailed, "R", "m" }))}, []string{"worker-1 0/1: multinic0: R: m"}},
		"the kernel has another address": {[]*v1.MultiNicNodeConfig{object(1, one, settled, nic(func(s *v1.InterfaceStatus) { s.Address = "10.0.0.1/24" }))}, []string{`worker-1 0/1: multinic0: the kernel has the address "10.0.0.1/24", and the object says 192.168.100.101/24`}},
		"the kernel has another MTU":     {[]*v1.MultiNicNodeConfig{object(1, one, settled, func(o *v1.MultiNicNodeConfig) { o.Spec.Interfaces[0].MTU = new(int32(1450)) }, nic(func(s *v1.InterfaceStatus) { s.MTU = 1500 }))}, []string{"worker-1 0/1: multinic0: the kernel has the MTU 1500, and the object says 1450"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			all := Verify(world(list(entry(1, "01")), row.objects...))
			for _, v := range all {
				got = append(got, strings.TrimSuffix(fmt.Sprintf("%s %s: %s", v.Node, v.Kernel, strings.Join(v.Wrong, "; ")), ": "))
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if well := Well(all) == nil; well != !strings.Contains(row.want[0], ":") {
				t.Errorf("all is well: %v", well)
			}
		})
	}
}
