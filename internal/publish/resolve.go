package publish

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	v1 "multinicd/api/v1"
)

// Machine is what is read of a Node.
type Machine struct {
	// Name of the Node.
	Name string
	// ProviderID is spec.providerID; "" if nothing has set it.
	ProviderID string
	// SystemUUID is status.nodeInfo.systemUUID, which the kubelet says of itself.
	SystemUUID string
}

// instance is the id of the machine in its cloud, in lower case; "" if nothing is known. The
// provider's word counts before the machine's own.
func (m Machine) instance() string {
	id := m.ProviderID
	if id == "" {
		id = m.SystemUUID
	}
	// openstack:///UUID, openstack://REGION/UUID, aws:///ZONE/i-...
	return strings.ToLower(id[strings.LastIndexByte(id, '/')+1:])
}

// Directory finds the Nodes of instances.
type Directory struct {
	nodes map[string][]string // by instance; names
	known map[string]string   // by name; the instance
}

// NewDirectory makes a directory of all Nodes of a cluster.
func NewDirectory(all []Machine) *Directory {
	d := &Directory{nodes: map[string][]string{}, known: map[string]string{}}
	for _, m := range all {
		id := m.instance()
		d.known[m.Name] = id
		if id != "" {
			d.nodes[id] = append(d.nodes[id], m.Name)
		}
	}
	for _, names := range d.nodes {
		slices.Sort(names)
	}
	return d
}

// find gives the name of the Node that a wish is about, or the reason for which there is none.
func (d *Directory) find(w Wish, unknown bool) (string, Reason, string) {
	instance := strings.ToLower(w.InstanceID)
	is, there := d.known[w.Node]
	name := w.Node
	switch names := d.nodes[instance]; {
	case len(names) > 0:
		name, is, there = names[0], instance, true
	case there && instance != "" && is != "":
		return "", AnotherInstance, fmt.Sprintf("Node %s is instance %s, not %s", w.Node, is, w.InstanceID)
	}
	if twins := d.nodes[is]; there && len(twins) > 1 {
		return "", InstanceTwice, fmt.Sprintf("the Nodes %s have the same instance id %s: nothing is written for any of them", strings.Join(twins, " and "), is)
	}
	if !there && !unknown {
		return "", NodeUnknown, fmt.Sprintf("no Node has the instance id %q, and none is called %q", w.InstanceID, w.Node)
	}
	if wrong := validation.IsDNS1123Subdomain(name); len(wrong) > 0 || len(name) > v1.MaxNodeName {
		return "", NoName, fmt.Sprintf("%q cannot be the name of a node", w.Node)
	}
	return name, "", ""
}

// Resolve finds the Node of each wish, in the order of the wishes. The Node field of a result is
// its name, if the result is not refused. With unknown, a wish without a Node has the name that the
// publisher gives.
func Resolve(d *Directory, wishes []Wish, unknown bool) []Result {
	out := make([]Result, len(wishes))
	by := map[string][]int{}
	for i, w := range wishes {
		if w.Unread != nil {
			out[i] = refused("", Unreadable, w.Unread.Error())
			continue
		}
		name, reason, message := d.find(w, unknown)
		if reason != "" {
			out[i] = refused("", reason, message)
			continue
		}
		out[i].Node = name
		by[name] = append(by[name], i)
	}
	for name, several := range by {
		if len(several) == 1 {
			continue
		}
		for _, i := range several {
			out[i] = refused(name, NamedTwice, fmt.Sprintf("%d entries of the request are about node %s: give one", len(several), name))
		}
	}
	return out
}
