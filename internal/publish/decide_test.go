package publish

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
)

const (
	me, other = v1.PublisherIntake, "multinic-openstack"
	node      = "worker-1"
	provider  = "provider-a"
)

var by = Owner{Name: me}

// nic is a NIC of a wish: port, MAC and address end with n. Its id is not said.
func nic(n string) v1.Interface {
	return v1.Interface{PortID: "port-" + n, MACAddress: "02:00:00:00:01:0" + n, Address: "192.168.100.1" + n, CIDR: "192.168.100.1" + n + "/24"}
}

// with is the NIC with an id.
func with(n v1.Interface, id int32) v1.Interface { n.ID = &id; return n }

func wish(nics ...v1.Interface) Wish {
	return Wish{Node: node, InstanceID: "i-1", Provider: provider, NICs: nics}
}

// object is one that we have made, with NICs of which each has its id.
func object(nics ...v1.Interface) *v1.MultiNicNodeConfig {
	return &v1.MultiNicNodeConfig{
		ObjectMeta: metav1.ObjectMeta{
			Name: node, Namespace: v1.SystemNamespace, UID: "u", ResourceVersion: "7", Generation: 3,
			Labels: map[string]string{v1.PublisherLabel: me, v1.NodeNameLabel: node, v1.InstanceIDLabel: "i-1"},
		},
		Spec: v1.MultiNicNodeConfigSpec{NodeName: node, InstanceID: "i-1", ProviderID: provider, Interfaces: nics},
	}
}

// settledAt says that the node has reported a generation as done.
func settledAt(o *v1.MultiNicNodeConfig, generation int64) *v1.MultiNicNodeConfig {
	o.Status.ObservedGeneration = generation
	o.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: generation}}
	return o
}

func noted(o *v1.MultiNicNodeConfig, annotations ...string) *v1.MultiNicNodeConfig {
	for i := 0; i < len(annotations); i += 2 {
		metav1.SetMetaDataAnnotation(&o.ObjectMeta, annotations[i], annotations[i+1])
	}
	return o
}

func of(o *v1.MultiNicNodeConfig, owner string) *v1.MultiNicNodeConfig {
	if o.Labels[v1.PublisherLabel] = owner; owner == "" {
		delete(o.Labels, v1.PublisherLabel)
	}
	return o
}

// short is the list of an object: multinic1=01 is the NIC whose MAC ends with 01.
func short(o *v1.MultiNicNodeConfig) string {
	if o == nil {
		return ""
	}
	normals, _ := o.Validate()
	var out []string
	for _, n := range normals {
		out = append(out, n.Name+"="+n.MACAddress[len(n.MACAddress)-2:])
	}
	return strings.Join(out, " ")
}

func TestWhatBecomesOfTheListOfNICs(t *testing.T) {
	upper := nic("1")
	upper.MACAddress = "02:00:00:00:01:0A"
	moved := nic("1")
	moved.MACAddress = "02:00:00:00:01:0b"
	inherited := nic("1")
	inherited.PortID, inherited.Address, inherited.CIDR = "port-new", "192.168.100.19", "192.168.100.19/24"
	network := nic("1")
	network.CIDR = "192.168.100.0/24"
	larger := nic("1")
	larger.MTU = new(int32(9000))
	named := nic("1")
	named.Name = "multinic0"
	for _, row := range []struct {
		name     string
		removals Removals
		have     *v1.MultiNicNodeConfig
		wish     Wish
		action   Action
		want     string
		reserved string
	}{
		{"a node that has no object gets one, ids from 0", "", nil, wish(nic("1"), nic("2")), Created, "multinic0=01 multinic1=02", ""},
		{"a proposed id is taken where it is free", "", nil, wish(with(nic("1"), 5), nic("2")), Created, "multinic0=02 multinic5=01", ""},
		{"a proposed name is a proposed id", "", nil, wish(nic("2"), named), Created, "multinic0=01 multinic1=02", ""},
		{"the same again", "", object(with(nic("1"), 0)), wish(with(nic("1"), 0)), Unchanged, "multinic0=01", ""},
		{"the ids are another way round the next time", "", object(with(nic("1"), 0), with(nic("2"), 1)), wish(with(nic("2"), 0), with(nic("1"), 1)), Unchanged, "multinic0=01 multinic1=02", ""},
		{"a new NIC with a lower MAC renumbers nobody", "", object(with(nic("2"), 0)), wish(with(nic("1"), 0), with(nic("2"), 1)), Changed, "multinic0=02 multinic1=01", ""},
		{"the MAC is written in upper case", "", object(with(upper, 0)), wish(with(upper, 0)), Unchanged, "multinic0=0a", ""},
		{"and comes in lower case later", "", object(with(upper, 0)), wish(lower(with(upper, 0))), Unchanged, "multinic0=0a", ""},
		{"the other form of cidr", "", object(with(nic("1"), 0)), wish(network), Unchanged, "multinic0=01", ""},
		{"another MTU", "", object(with(nic("1"), 0)), wish(larger), Changed, "multinic0=01", ""},
		{"the port has another MAC", "", object(with(nic("1"), 4)), wish(moved), Changed, "multinic4=0b", ""},
		{"the MAC is another port's", "", object(with(nic("1"), 4)), wish(inherited), Changed, "multinic4=01", ""},
		{"ports count before MACs", "", object(with(nic("1"), 4)), wish(inherited, moved), Changed, "multinic4=0b multinic0=01", ""},
		{"a NIC that is not in the list stays", "", object(with(nic("1"), 0), with(nic("2"), 1)), wish(nic("1")), Unchanged, "multinic0=01 multinic1=02", ""},
		{"or goes, and its id is kept for it", RemovalsApply, object(with(nic("1"), 0), with(nic("2"), 1)), wish(nic("1")), Changed, "multinic0=01", `[{"id":1,"mac":"02:00:00:00:01:02","portId":"port-2","since":4}]`},
		{"the last one goes where that is said", RemovalsAll, object(with(nic("1"), 0)), wish(), Changed, "", `[{"id":0,"mac":"02:00:00:00:01:01","portId":"port-1","since":4}]`},
		{"a reserved id is not given to another NIC", RemovalsApply, noted(object(with(nic("1"), 0)), v1.ReservedIDsAnnotation, `[{"id":1,"mac":"02:00:00:00:01:02","since":3}]`), wish(nic("1"), with(nic("3"), 1)), Changed, "multinic0=01 multinic2=03", `[{"id":1,"mac":"02:00:00:00:01:02","since":3}]`},
		{"not even by the same request that removes it", RemovalsApply, object(with(nic("2"), 1)), wish(with(nic("3"), 1)), Changed, "multinic0=03", `[{"id":1,"mac":"02:00:00:00:01:02","portId":"port-2","since":4}]`},
		{"whoever had it gets it back", RemovalsApply, noted(object(with(nic("1"), 0)), v1.ReservedIDsAnnotation, `[{"id":7,"mac":"02:00:00:00:01:02","since":3}]`), wish(nic("1"), with(nic("2"), 1)), Changed, "multinic0=01 multinic7=02", ""},
		{"once the node has given it back the id is free", RemovalsApply, settledAt(noted(object(with(nic("1"), 0)), v1.ReservedIDsAnnotation, `[{"id":1,"mac":"02:00:00:00:01:02","since":3}]`), 3), wish(nic("1"), with(nic("3"), 1)), Changed, "multinic0=01 multinic1=03", ""},
		{"a report of an older generation frees nothing", RemovalsApply, settledAt(noted(object(with(nic("1"), 0)), v1.ReservedIDsAnnotation, `[{"id":1,"mac":"02:00:00:00:01:02","since":3}]`), 2), wish(nic("1"), with(nic("3"), 1)), Changed, "multinic0=01 multinic2=03", `[{"id":1,"mac":"02:00:00:00:01:02","since":3}]`},
		{"an annotation that cannot be read counts as none", RemovalsApply, noted(object(with(nic("1"), 0)), v1.ReservedIDsAnnotation, `{`), wish(nic("1"), with(nic("3"), 1)), Changed, "multinic0=01 multinic1=03", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := Owner{Name: me, Removals: row.removals}.Decide(node, row.wish, row.have)
			if d.Action != row.action || d.Object == nil || short(d.Object) != row.want {
				t.Fatalf("%s %s (%s %s), want %s %s", d.Action, short(d.Object), d.Reason, d.Message, row.action, row.want)
			}
			if got := d.Object.Annotations[v1.ReservedIDsAnnotation]; row.action != Unchanged && got != row.reserved {
				t.Errorf("reserved: %s, want %s", got, row.reserved)
			}
		})
	}
}

// What a publisher keeps beside the spec is written without a new generation, and stays if it says
// nothing about it.
func TestThePrimaryPortIsKeptBesideTheSpec(t *testing.T) {
	have := object(with(nic("1"), 0))
	w := wish(nic("1"))
	w.PrimaryPort = "p"
	d := by.Decide(node, w, have)
	if d.Action != Changed || d.Object.Annotations[v1.PrimaryPortAnnotation] != "p" || len(d.Diff) != 1 || !cmp.Equal(d.Object.Spec, have.Spec) {
		t.Fatalf("%s %v %v", d.Action, d.Diff, d.Object)
	}
	if again := by.Decide(node, w, d.Object); again.Action != Unchanged {
		t.Errorf("the same again is %s %v", again.Action, again.Diff)
	}
	w.PrimaryPort = ""
	if again := by.Decide(node, w, d.Object); again.Action != Unchanged {
		t.Errorf("without it: %s %v", again.Action, again.Diff)
	}
	w.NICs[0].MTU = new(int32(9000))
	if again := by.Decide(node, w, d.Object); again.Object.Annotations[v1.PrimaryPortAnnotation] != "p" {
		t.Errorf("another change loses it: %v", again.Object.Annotations)
	}
}

func TestAWishOfAnOlderObjectIsRefused(t *testing.T) {
	have := object(with(nic("1"), 0))
	for from, want := range map[int64]Action{have.Generation: Unchanged, have.Generation - 1: Refused, 0: Refused} {
		w := wish(nic("1"))
		w.From = &from
		if d := by.Decide(node, w, have); d.Action != want || want == Refused && d.Reason != Outdated {
			t.Errorf("from %d: %s %s", from, d.Action, d.Reason)
		}
	}
	w := wish(nic("1"))
	w.From = new(int64(3))
	if d := by.Decide(node, w, nil); d.Reason != Outdated {
		t.Errorf("the object is gone: %s %s", d.Action, d.Reason)
	}
}

func lower(n v1.Interface) v1.Interface { n.MACAddress = strings.ToLower(n.MACAddress); return n }

func TestWhoMayChangeWhat(t *testing.T) {
	bad := nic("1")
	bad.MACAddress = "02-00"
	same := nic("1")
	same.Address = nic("2").Address
	same.CIDR = nic("2").CIDR
	theirs := func() *v1.MultiNicNodeConfig { return of(object(with(nic("1"), 0)), other) }
	byHand := func() *v1.MultiNicNodeConfig { return of(object(with(nic("1"), 0)), "") }
	elsewhere := object(with(nic("1"), 0))
	elsewhere.Spec.ProviderID = "provider-b"
	for _, row := range []struct {
		name   string
		by     Owner
		have   *v1.MultiNicNodeConfig
		wish   Wish
		action Action
		reason Reason
		take   bool
	}{
		{"what another publisher has made", by, theirs(), wish(nic("1")), Refused, NotOurs, false},
		{"what a person has made", by, byHand(), wish(nic("1")), Refused, NotOurs, false},
		{"what a person gives to us", by, noted(byHand(), v1.HandOverAnnotation, me), wish(nic("1")), Changed, "", true},
		{"what another publisher gives to us", by, noted(theirs(), v1.HandOverAnnotation, me), wish(nic("1")), Changed, "", true},
		{"what is given to somebody else", by, noted(byHand(), v1.HandOverAnnotation, other), wish(nic("1")), Refused, NotOurs, false},
		{"ours, given to somebody else", by, noted(object(with(nic("1"), 0)), v1.HandOverAnnotation, other), wish(nic("1")), Refused, HandedOver, false},
		{"ours, with an annotation that has been carried out", by, noted(object(with(nic("1"), 0)), v1.HandOverAnnotation, me), wish(nic("1")), Changed, "", true},
		{"another provider's", by, elsewhere, wish(nic("1")), Refused, AnotherProvider, false},
		{"a MAC that is none", by, nil, wish(bad), Refused, Invalid, false},
		{"two proposals of one id", by, nil, wish(with(nic("1"), 1), with(nic("2"), 1)), Refused, Invalid, false},
		{"an address that a NIC has which stays", by, object(with(nic("2"), 0)), wish(same), Refused, Invalid, false},
		{"an empty list, where lists count", Owner{Name: me, Removals: RemovalsApply}, object(with(nic("1"), 0)), wish(), Refused, EmptyList, false},
		{"an empty list, where NICs stay", by, object(with(nic("1"), 0)), wish(), Unchanged, "", false},
		{"an empty list, for a node that has none", Owner{Name: me, Removals: RemovalsApply}, object(), wish(), Unchanged, "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := row.have.DeepCopy()
			d := row.by.Decide(node, row.wish, row.have)
			if d.Action != row.action || d.Reason != row.reason || d.Take != row.take {
				t.Errorf("%s %s %t (%s), want %s %s %t", d.Action, d.Reason, d.Take, d.Message, row.action, row.reason, row.take)
			}
			if (d.Object == nil) != (row.action == Refused) || row.action == Refused && d.Message == "" {
				t.Errorf("object %v, message %q", d.Object, d.Message)
			}
			if diff := cmp.Diff(before, row.have); diff != "" {
				t.Errorf("the object that was given is another one now:\n%s", diff)
			}
		})
	}
}

// What was handed over is as it was, except its owner: the spec, with its spelling and its mark, makes no
// new generation.
func TestAHandOverChangesTheOwnerOnly(t *testing.T) {
	have := noted(of(object(with(nic("1"), 3)), ""), v1.HandOverAnnotation, me, "example.com/x", "y")
	have.Spec.SpecHash, have.Spec.Interfaces[0].Name, have.Spec.Interfaces[0].MACAddress = "theirs", "multinic3", "02:00:00:00:01:01"
	d := by.Decide(node, wish(nic("1")), have)
	if diff := cmp.Diff(have.Spec, d.Object.Spec); diff != "" {
		t.Errorf("the spec has changed:\n%s", diff)
	}
	if diff := cmp.Diff([]string{`~ owner: "" -> "multinic-intake"`}, d.Diff); diff != "" {
		t.Error(diff)
	}
	if d.Object.Annotations["example.com/x"] != "y" || d.Object.Annotations[v1.HandOverAnnotation] != "" {
		t.Errorf("annotations: %v", d.Object.Annotations)
	}
}

func TestADryRunIsADiff(t *testing.T) {
	larger := nic("1")
	larger.MTU = new(int32(9000))
	w := wish(larger, nic("3"))
	w.InstanceID, w.SpecHash = "i-2", "b"
	have := object(with(nic("1"), 0), with(nic("2"), 1))
	have.Spec.SpecHash = "a"
	got := Owner{Name: me, Removals: RemovalsApply}.Decide(node, w, have).Diff
	want := []string{
		`~ instanceId: "i-1" -> "i-2"`,
		`~ specHash: "a" -> "b"`,
		"~ multinic0 02:00:00:00:01:01 192.168.100.11/24 port port-1 -> multinic0 02:00:00:00:01:01 192.168.100.11/24 mtu 9000 port port-1",
		"+ multinic2 02:00:00:00:01:03 192.168.100.13/24 port port-3",
		"- multinic1 02:00:00:00:01:02 192.168.100.12/24 port port-2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOlderObjectsThanTheRules(t *testing.T) {
	nameless := nic("1")
	many := object()
	for range v1.MaxInterfaces + 6 {
		many.Spec.Interfaces = append(many.Spec.Interfaces, v1.Interface{MACAddress: "x"})
	}
	for _, row := range []struct {
		name string
		have *v1.MultiNicNodeConfig
		want string
	}{
		{"an entry without an id gets one", object(nameless, with(nic("2"), 0)), "changed multinic0=02 multinic1=01"},
		{"an entry with an id out of range is refused", object(with(nic("1"), 100000)), "refused "},
		{"more entries than are taken are refused", many, "refused "},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := by.Decide(node, wish(nic("1")), row.have)
			if got := string(d.Action) + " " + short(d.Object); got != row.want {
				t.Errorf("%s (%s), want %s", got, d.Message, row.want)
			}
		})
	}
}

func TestTheNodeIsFoundByItsInstance(t *testing.T) {
	d := NewDirectory([]Machine{
		{Name: "a", ProviderID: "openstack:///AAAA"},
		{Name: "b", ProviderID: "openstack://region/bbbb", SystemUUID: "aaaa"}, // what it says of itself does not count
		{Name: "c", SystemUUID: "CCCC"},
		{Name: "plain"},
		{Name: "twin-1", SystemUUID: "dddd"},
		{Name: "twin-2", ProviderID: "openstack:///dddd"},
	})
	for _, row := range []struct {
		name           string
		node, instance string
		unknown        bool
		want           string
	}{
		{"by its provider's id, whatever the name", "whatever", "aaaa", false, "a"},
		{"with a region", "", "BBBB", false, "b"},
		{"by what the kubelet says", "uuid", "cccc", false, "c"},
		{"by its name, if the Node says nothing about itself", "plain", "eeee", false, "plain"},
		{"by its name, if the publisher says nothing", "a", "", false, "a"},
		{"the Node of that name is another instance", "a", "ffff", false, "AnotherInstance"},
		{"two Nodes are the instance", "x", "dddd", false, "InstanceTwice"},
		{"and by the name of one of them", "twin-1", "", false, "InstanceTwice"},
		{"no such Node", "nobody", "ffff", false, "NodeUnknown"},
		{"no such Node, and that is right", "nobody", "ffff", true, "nobody"},
		{"no such Node, and a name that cannot be one", "No Body", "ffff", true, "NoName"},
		{"no such Node, and no name", "", "ffff", true, "NoName"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := Resolve(d, []Wish{{Node: row.node, InstanceID: row.instance}}, row.unknown)[0]
			if got.Action == Refused {
				got.Node = string(got.Reason)
			}
			if got.Node != row.want {
				t.Errorf("%+v, want %s", got, row.want)
			}
		})
	}
	t.Run("two wishes for one Node freeze both, and nobody else", func(t *testing.T) {
		got := Resolve(d, []Wish{{Node: "a"}, {Node: "plain"}, {InstanceID: "aaaa"}, {Node: "c"}}, false)
		var all []string
		for _, r := range got {
			all = append(all, r.Node+" "+string(r.Reason))
		}
		if diff := cmp.Diff([]string{"a NamedTwice", "plain ", "a NamedTwice", "c "}, all); diff != "" {
			t.Error(diff)
		}
	})
}
