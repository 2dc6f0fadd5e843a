package fleet

import (
	"maps"
	"slices"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"

	v1 "multinicd/api/v1"
)

// withoutObject names the nodes that have a report or a Lease but no object, sorted. Either the object
// was deleted and the bridge has not taken over the node's last report, or there was no object yet.
func withoutObject(objects []v1.MultiNicNodeConfig, reports []corev1.ConfigMap, leases []coordinationv1.Lease) []string {
	nodes := map[string]bool{}
	for _, cm := range reports {
		if node, ok := strings.CutPrefix(cm.Name, v1.ReportName("")); ok {
			nodes[node] = true
		}
	}
	for _, l := range leases {
		if node, ok := strings.CutPrefix(l.Name, v1.LeaseName("")); ok {
			nodes[node] = true
		}
	}
	for _, o := range objects {
		delete(nodes, o.Name)
	}
	return slices.Sorted(maps.Keys(nodes))
}

// gone is what a node without an object has last said about its NICs.
func gone(node string, said map[string]v1.Report) Node {
	r := said[v1.ReportName(node)]
	if r.Node != node { // there is none, or it is about another node
		r = v1.Report{}
	}
	n := Node{Node: node, NoObject: true, Version: r.Version, Executor: string(r.Executor)}
	var words string
	n.Reason, words = r.WithoutObject()
	n.Message = "no object; " + words
	if n.Reason == v1.ReasonRetained {
		for _, i := range r.Interfaces {
			n.Kept = append(n.Kept, i.Name)
		}
	}
	return n
}

// stateText is the text of the table's column STATE.
func (n Node) stateText() string {
	if n.NoObject {
		return "no object"
	}
	return string(n.State)
}

// nicsText is the text of the table's column INTERFACES.
func (n Node) nicsText() string {
	if _, fate, ok := strings.Cut(n.Message, "; "); ok && n.NoObject && n.Reason != "" {
		return fate
	}
	return n.Interfaces
}
