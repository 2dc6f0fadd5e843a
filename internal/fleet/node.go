// Package fleet is what an administrator is shown of all nodes: a list, and the list again when it
// changes.
//
// In go the objects of the nodes, their reports, Leases and identities. Out come a Node for each, and
// tables, JSON and YAML of them.
//
// It changes nothing, and asks the API server only through the reader that it is given. Texts of
// nodes are made plain before they are printed.
//
// Start reading at Node and List.
package fleet

import (
	"slices"
	"strings"
	"time"

	v1 "multinicd/api/v1"
)

// Node is what is known of one node. The JSON names are stable.
type Node struct {
	Node       string   `json:"node"`
	State      v1.State `json:"state"`
	Ready      string   `json:"ready"`
	Reason     string   `json:"reason"`
	Message    string   `json:"message,omitempty"`
	Interfaces string   `json:"interfaces"`
	Generation int64    `json:"generation"`
	Observed   int64    `json:"observedGeneration"`
	Released   int64    `json:"releasedGeneration,omitempty"`
	// Drift names the NICs that another writer fights over, and those that are not as wanted.
	Drift []string `json:"drift,omitempty"`
	// LastRepair is when the node last put back what somebody had changed on one of its NICs; nil:
	// none is known.
	LastRepair *time.Time `json:"lastRepair,omitempty"`
	// Degraded is the reason for which a person should look. Empty means that there is none.
	Degraded string `json:"degraded,omitempty"`
	Version  string `json:"version,omitempty"`  // of multinicd, as it last reported
	Executor string `json:"executor,omitempty"` // daemon or job
	LastJob  string `json:"lastJobName,omitempty"`
	// NoObject: the node's object is gone, and the fields above are empty. Message says what
	// happened to the node's NICs. Kept has the names of the NICs that the node says it keeps as
	// they are.
	NoObject bool     `json:"noObject,omitempty"`
	Kept     []string `json:"kept,omitempty"`
	// The bridge wrote Changed, the node wrote Seen, the API server wrote Credential. nil means
	// never, or not known.
	Changed    *time.Time `json:"lastProcessed,omitempty"`
	Seen       *time.Time `json:"leaseRenewed,omitempty"`
	Credential *time.Time `json:"credentialMade,omitempty"`
}

func describe(o *v1.MultiNicNodeConfig) Node {
	s := o.Status
	n := Node{Node: o.Name, State: s.State, Ready: "Unknown", Interfaces: s.ReadyInterfaces, Generation: o.Generation,
		Observed: s.ObservedGeneration, Released: s.ReleasedGeneration, LastJob: s.LastJobName}
	for _, c := range s.Conditions {
		switch {
		case c.Type == v1.ConditionReady:
			n.Ready, n.Reason, n.Message = string(c.Status), c.Reason, c.Message
		case c.Type == v1.ConditionDegraded && c.Status == "True":
			n.Degraded = c.Reason
		}
	}
	for _, i := range s.InterfaceStatuses {
		if o.Drifting(i) {
			n.Drift = append(n.Drift, i.Name)
		}
		if r := i.LastRepair; r != nil && (n.LastRepair == nil || r.Time.After(*n.LastRepair)) {
			n.LastRepair = &r.Time.Time
		}
	}
	if s.LastProcessed != nil {
		n.Changed = &s.LastProcessed.Time
	}
	return n
}

// driftText names the NICs that are not as wanted now. Where all are, it says when the last one was put
// back, if that was within a day.
func (n Node) driftText(now time.Time) string {
	if len(n.Drift) == 0 && n.LastRepair != nil && now.Sub(*n.LastRepair) < 24*time.Hour {
		return age(n.LastRepair, now) + " ago"
	}
	return strings.Join(n.Drift, ",")
}

func timeIn(times map[string]time.Time, name string) *time.Time {
	if t, ok := times[name]; ok {
		return &t
	}
	return nil
}

func HasReason(has, wanted []string) bool {
	return slices.ContainsFunc(has, func(r string) bool { return slices.Contains(wanted, r) })
}

// reasonsOf are the reasons of an object's conditions and NICs, fit to be printed.
func reasonsOf(o *v1.MultiNicNodeConfig) []string {
	var out []string
	for _, c := range o.Status.Conditions {
		out = append(out, c.Reason)
	}
	for _, n := range o.Status.InterfaceStatuses {
		out = append(out, v1.Printable(n.Reason, 64))
	}
	return out
}
