package openstack

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/publish"
)

// World is what is known at one moment.
type World struct {
	Now time.Time
	// Machines are all Nodes of the cluster.
	Machines []Machine
	// Objects are all of them, whoever owns them.
	Objects []*v1.MultiNicNodeConfig
	Seen    Seen
}

// Instances are the ids for which Neutron is asked, sorted, each once.
func Instances(machines []Machine, regions map[string]bool) []string {
	var out []string
	for _, m := range machines {
		if id := m.instance(regions); id != "" {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Verdict is what is to be done.
type Verdict struct {
	// Nodes are all machines, in the order of their names.
	Nodes []NodeVerdict
	// Orphans are the names of objects of ours that have no Node any more. Nothing deletes them.
	Orphans []string
	// Held is how many removals the brake holds, and Word what releases them.
	Held int
	Word string
	// Memory for the next walk.
	Memory Memory
}

// NodeVerdict is what is to be done about one node.
type NodeVerdict struct {
	Node, Instance string
	// Frozen says why the object stays as it is; "" if it does not.
	Frozen  Reason
	Message string
	// Primary are the ids of the ports that are never managed.
	Primary []string
	// Wish for internal/publish; nil if there is nothing to write. NICs that are not in it go.
	Wish *publish.Wish
	// Remarks are sorted by port, and NICs without a port come first.
	Remarks []Remark
	// Removed are the names of NICs that go.
	Removed []string
}

// Judge says what objects Neutron's ports make. It is a pure function. A NIC goes only if its port
// was absent in two whole walks and for long enough, if the proof says so too, and if the brake lets
// it go. proofs has one for each of Doubts, by the port's id; one that is missing proves nothing.
func Judge(w World, m Memory, proofs map[string]Proof, r Rules) Verdict {
	nodes := w.look(r)
	out := Verdict{Memory: m.remember(w, nodes)}
	may := map[key]bool{}
	for _, n := range nodes {
		for _, e := range n.entries {
			proof, asked := proofs[e.nic.PortID]
			if n.frozen == "" && out.Memory.ripe(w, n, e, r) && asked && proof.proves(e.absent, n.instance, r) {
				may[key{n.machine.Name, e.nic.PortID}] = true
			}
		}
	}
	var goes map[key]bool
	goes, out.Word, out.Held = out.Memory.brake(w.Now, nodes, may)
	names := map[string]bool{}
	for _, n := range nodes {
		names[n.machine.Name] = true
		out.Nodes = append(out.Nodes, n.verdict(w, r, out, may, goes))
	}
	for _, o := range w.Objects {
		if !names[o.Name] && ours(o) {
			out.Orphans = append(out.Orphans, o.Name)
		}
	}
	slices.Sort(out.Orphans)
	return out
}

func (n *node) verdict(w World, r Rules, all Verdict, may, goes map[key]bool) NodeVerdict {
	v := NodeVerdict{Node: n.machine.Name, Instance: n.instance, Frozen: n.frozen, Message: n.message, Primary: n.primary}
	if n.frozen != "" {
		return v
	}
	of := func(e entry) key { return key{n.machine.Name, e.nic.PortID} }
	nics := n.compose(w.Seen, r, func(e entry) bool { return goes[of(e)] })
	for _, e := range n.entries {
		switch s := all.Memory.absent[of(e)]; {
		case e.absent == present:
		case goes[of(e)]:
			v.Removed = append(v.Removed, e.normal.Name)
		case may[of(e)]:
			n.remark(e.nic.PortID, e.normal.Name, RemovalHeld, fmt.Sprintf("%d NICs would go, which are too many within %s: the annotation %s=%s lets this node's go", all.Held, brakeTime, v1.ConfirmRemovalsAnnotation, all.Word))
		case all.Memory.ripe(w, n, e, r):
			n.remark(e.nic.PortID, e.normal.Name, RemovalUnproved, "the port is not among those of the instance, and by its id it is not said to be gone")
		default:
			n.remark(e.nic.PortID, e.normal.Name, RemovalPending, fmt.Sprintf("the port is gone, or not given to us any more: said in %d whole walks", s.walks))
		}
	}
	slices.SortStableFunc(n.remarks, func(a, b Remark) int { return cmp.Compare(a.PortID, b.PortID) })
	v.Remarks = n.remarks
	if len(nics) == 0 && !n.ours {
		return v
	}
	wish := publish.Wish{Node: n.machine.Name, InstanceID: n.instance, Provider: r.Provider, NICs: nics, PrimaryPort: strings.Join(n.primary, ","), From: new(int64(0))}
	if n.object != nil {
		*wish.From = n.object.Generation
		wish.Provider = cmp.Or(n.object.Spec.ProviderID, r.Provider)
		if strings.EqualFold(n.object.Spec.InstanceID, n.instance) {
			wish.InstanceID = n.object.Spec.InstanceID
		}
	}
	v.Wish = &wish
	return v
}
