package migrate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v1 "multinicd/api/v1"
	"multinicd/internal/legacy"
	"multinicd/internal/publish"
)

// Verified is what was found about a node.
type Verified struct {
	// Node is "" if an entry leads to none.
	Node string `json:"node"`
	From string `json:"from,omitempty"`
	// Owner is the publisher of the node's object; "" if the object names none, or there is none.
	Owner string `json:"owner,omitempty"`
	// Generation of the object, 0 for no object, and the one that the status is about.
	Generation int64    `json:"generation"`
	Observed   int64    `json:"observedGeneration"`
	State      v1.State `json:"state,omitempty"`
	// Kernel counts the NICs that the kernel has as wanted, by the node's report, of all: 2/2.
	Kernel string `json:"kernel"`
	OK     bool   `json:"ok"`
	// Wrong has a sentence for each thing that is not as it shall be.
	Wrong []string `json:"wrong,omitempty"`
}

// Verify says for each node whether its object is there, whether the status is of the object's
// generation and Configured, and whether the kernel has what the object says. It is a pure function.
// Nodes are sorted by name.
func Verify(w legacy.World) []Verified {
	out := []Verified{}
	objects := map[string]*v1.MultiNicNodeConfig{}
	for _, o := range w.Objects {
		objects[o.Name] = o
	}
	from := map[string]string{}
	for _, e := range w.Judge() {
		at := fmt.Sprintf("%s[%d]", e.Old.Name, e.Index)
		if objects[e.Node] != nil {
			from[e.Node] = at
			continue
		}
		v := Verified{Node: e.Node, From: at, Kernel: "-"}
		why := "there is no object of the node"
		if e.Action == publish.Refused {
			why += ": " + string(e.Reason) + ": " + e.Message
		}
		v.Wrong = append(v.Wrong, why)
		out = append(out, v)
	}
	for _, o := range w.Objects {
		v := verify(o)
		v.From = from[o.Name]
		out = append(out, v)
	}
	slices.SortStableFunc(out, func(a, b Verified) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

func verify(o *v1.MultiNicNodeConfig) Verified {
	s := o.Status
	v := Verified{Node: o.Name, Owner: o.Labels[v1.PublisherLabel], Generation: o.Generation, Observed: s.ObservedGeneration, State: s.State}
	wrong := func(format string, args ...any) { v.Wrong = append(v.Wrong, fmt.Sprintf(format, args...)) }
	switch {
	case s.ObservedGeneration == 0:
		wrong("the node has said nothing about its object")
	case s.ObservedGeneration != o.Generation:
		wrong("the status is of generation %d, and the object has %d", s.ObservedGeneration, o.Generation)
	case s.State != v1.StateConfigured:
		wrong("the node is %s", cmp.Or(string(s.State), "without a state"))
	}
	for _, c := range s.Conditions {
		if c.Type == v1.ConditionReady && c.Status != "True" && s.ObservedGeneration == o.Generation {
			wrong("Ready is %s: %s: %s", c.Status, c.Reason, c.Message)
		}
	}
	normals, errs := o.Validate()
	if len(errs) > 0 {
		wrong("the object breaks the rules: %s", errs[0].Error())
	}
	good := 0
	for i, n := range normals {
		mac := strings.ToLower(o.Spec.Interfaces[i].MACAddress)
		k := slices.IndexFunc(s.InterfaceStatuses, func(x v1.InterfaceStatus) bool { return strings.EqualFold(x.MACAddress, mac) })
		name := cmp.Or(n.Name, mac)
		if k < 0 {
			wrong("%s: the node has reported nothing about the NIC", name)
			continue
		}
		got := s.InterfaceStatuses[k]
		switch {
		case got.Status != v1.StateConfigured:
			wrong("%s: %s: %s", name, cmp.Or(got.Reason, string(got.Status)), got.Message)
		case len(n.Addresses) > 0 && got.Address != n.Addresses[0].String():
			wrong("%s: the kernel has the address %q, and the object says %s", name, got.Address, n.Addresses[0])
		case n.MTU != 0 && int(got.MTU) != int(n.MTU):
			wrong("%s: the kernel has the MTU %d, and the object says %d", name, got.MTU, n.MTU)
		default:
			good++
		}
	}
	v.Kernel = fmt.Sprintf("%d/%d", good, len(normals))
	v.OK = len(v.Wrong) == 0
	return v
}

// Well is ErrLeft unless every node is as it shall be.
func Well(all []Verified) error {
	bad := 0
	for _, v := range all {
		if !v.OK {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%w: %d of %d nodes are not as they shall be, see above", ErrLeft, bad, len(all))
	}
	return nil
}
