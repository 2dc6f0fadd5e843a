package legacy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	v1 "multinicd/api/v1"
	"multinicd/internal/publish"
)

// World is what is known at one moment.
type World struct {
	// Old are the older objects. The first of several has no precedence.
	Old []*v1.MultiNicBizConfig
	// Machines are all Nodes of the cluster.
	Machines []publish.Machine
	// Unknown says that Machines is not known: an entry is about the node that it names.
	Unknown bool
	// Objects are those of the nodes, whoever owns them.
	Objects []*v1.MultiNicNodeConfig
}

// Entry is what becomes of one entry of an older object.
type Entry struct {
	// Old is the older object, and Index the entry's place in its spec.nodeConfigs.
	Old   *v1.MultiNicBizConfig
	Index int
	// InstanceID and Name as the entry gives them.
	InstanceID, Name string
	// Wish for internal/publish, made of the object as World has it.
	Wish publish.Wish
	// Object of the node as it is to be; nil if the entry is refused.
	Object *v1.MultiNicNodeConfig
	// Result says what is to be done. Its Node is the node that the entry is about, "" if there is
	// none.
	publish.Result
}

// The reasons that only this publisher has.
const (
	// NameOfAnother: the instance is one Node, and the entry has the name of another one.
	NameOfAnother publish.Reason = "NameOfAnother"
	// MACTwice: an entry of another node has the same MAC.
	MACTwice publish.Reason = "MACTwice"
	// TakenOver: somebody else wrote the NICs of the node's object last.
	TakenOver publish.Reason = "TakenOver"
	// ReadOnly: the older object counts no more.
	ReadOnly publish.Reason = "ReadOnly"
)

// owner is how the entries are taken: a NIC that leaves a list goes, unless it was the node's last.
var owner = publish.Owner{Name: v1.PublisherLegacy, Removals: publish.RemovalsApply}

// Publisher is who writes the objects of entries, and how.
func Publisher() publish.Owner { return owner }

// Judge says what is to be done about each entry, in the order of the older objects and of their
// entries. It is a pure function. An entry that is refused holds no other one up. A node without an
// entry is not spoken of: its object stays as it is.
func (w World) Judge() []Entry {
	entries := split(w.Old)
	wishes := make([]publish.Wish, len(entries))
	for i, e := range entries {
		wishes[i] = e.Wish
	}
	for i, r := range publish.Resolve(publish.NewDirectory(w.Machines), wishes, w.Unknown) {
		entries[i].Result = r
	}
	nodes := map[string]bool{}
	for _, m := range w.Machines {
		nodes[m.Name] = true
	}
	objects := w.byName()
	twice := twins(entries)
	for i := range entries {
		e := &entries[i]
		have := objects[e.Node]
		switch by := TakenBy(have); {
		case e.Action == publish.Refused:
		case e.Name != "" && e.Name != e.Node && nodes[e.Name]:
			e.refuse(NameOfAnother, fmt.Sprintf("the instance %s is Node %s, and attachedNodeName is that of another Node, %s: correct one of the two", e.InstanceID, e.Node, e.Name))
		case twice[i] != "":
			e.refuse(MACTwice, twice[i])
		case by != "":
			e.refuse(TakenOver, fmt.Sprintf("%s wrote the NICs of the object last; the annotation %s=%s gives the object back to the entry", by, v1.HandOverAnnotation, owner.Name))
		default:
			e.Wish.From = new(int64(0))
			if have != nil {
				*e.Wish.From = have.Generation
			}
			d := owner.Decide(e.Node, e.Wish, have)
			e.Result, e.Object = d.Result, d.Object
		}
	}
	return entries
}

func (e *Entry) refuse(reason publish.Reason, message string) {
	e.Result = publish.Result{Node: e.Node, Action: publish.Refused, Reason: reason, Message: message}
}

func (w World) byName() map[string]*v1.MultiNicNodeConfig {
	out := make(map[string]*v1.MultiNicNodeConfig, len(w.Objects))
	for _, o := range w.Objects {
		out[o.Name] = o
	}
	return out
}

// Orphans are the names of objects of ours that no entry is about, sorted. Nothing deletes them.
func (w World) Orphans(entries []Entry) []string {
	about := map[string]bool{}
	for _, e := range entries {
		about[e.Node] = true
	}
	var out []string
	for _, o := range w.Objects {
		if o.Labels[v1.PublisherLabel] == owner.Name && !about[o.Name] {
			out = append(out, o.Name)
		}
	}
	slices.Sort(out)
	return out
}

// split makes an Entry of each entry. A NIC has no id in the older object: its place in the list is
// proposed. An object that has the NIC already keeps the id.
//
// The specHash is one for all nodes. It is left out: each object would be written when one changes.
func split(old []*v1.MultiNicBizConfig) []Entry {
	var out []Entry
	for _, o := range old {
		for i, c := range o.Spec.NodeConfigs {
			e := Entry{Old: o, Index: i, InstanceID: c.AttachedNodeID, Name: c.AttachedNodeName}
			e.Wish = publish.Wish{Node: c.AttachedNodeName, InstanceID: c.AttachedNodeID, Provider: o.Spec.ProviderID}
			for place, nic := range c.Interfaces {
				e.Wish.NICs = append(e.Wish.NICs, v1.Interface{
					PortID: nic.PortID, ID: new(int32(place)), MACAddress: nic.MACAddress, Address: nic.Address, CIDR: nic.CIDR, MTU: nic.MTU,
				})
			}
			out = append(out, e)
		}
	}
	return out
}

// twins says for each entry with the MAC of another entry which one that is; "" for the others.
// Entries that are refused already do not count: a node that is gone keeps no other one from its NIC.
func twins(entries []Entry) []string {
	by := map[string][]int{}
	for i, e := range entries {
		if e.Action == publish.Refused {
			continue
		}
		for _, nic := range e.Wish.NICs {
			mac := strings.ToLower(nic.MACAddress)
			if all := by[mac]; len(all) == 0 || all[len(all)-1] != i { // in one entry: Decide says so
				by[mac] = append(all, i)
			}
		}
	}
	out := make([]string, len(entries))
	for i, e := range entries {
		for _, nic := range e.Wish.NICs {
			mac := strings.ToLower(nic.MACAddress)
			other := slices.IndexFunc(by[mac], func(k int) bool { return k != i })
			if e.Action != publish.Refused && other >= 0 && out[i] == "" {
				out[i] = fmt.Sprintf("the MAC %s is in the entry of node %s, too: leave it in one of the two", mac, entries[by[mac][other]].Node)
			}
		}
	}
	return out
}

// TakenBy says who wrote the NICs of an object of ours last; "" if this publisher did, if the object
// is not ours, and if the object does not say (kubectl prints no managedFields). A publisher that
// knows nothing of our label takes an object over by writing it.
func TakenBy(o *v1.MultiNicNodeConfig) string {
	if o == nil || o.Labels[v1.PublisherLabel] != owner.Name || o.Annotations[v1.HandOverAnnotation] == owner.Name || o.Spec.Interfaces == nil {
		return ""
	}
	other := ""
	for _, m := range o.ManagedFields {
		var has struct {
			Spec struct {
				Interfaces json.RawMessage `json:"f:interfaces"`
			} `json:"f:spec"`
		}
		if m.Subresource != "" || m.FieldsV1 == nil || json.Unmarshal(m.FieldsV1.GetRawBytes(), &has) != nil || has.Spec.Interfaces == nil {
			continue
		}
		if m.Manager == owner.Name {
			return ""
		}
		other = m.Manager
	}
	return other
}
