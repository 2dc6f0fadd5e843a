package web

import (
	"slices"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/terminal"
)

// Row is what the table has of a node. A page takes it as it is; a field that is absent is empty.
type Row struct {
	Node     string   `json:"node"`
	State    string   `json:"state,omitempty"` // one of v1.State; "no object"; or "", if nothing has been said of the object yet
	Ready    string   `json:"ready,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Message  string   `json:"message,omitempty"` // only if the node is not Ready
	NICs     string   `json:"nics,omitempty"`
	Changed  int64    `json:"changed,omitempty"` // seconds since 1970
	Drift    []string `json:"drift,omitempty"`
	Version  string   `json:"version,omitempty"`
	Degraded string   `json:"degraded,omitempty"`
	Others   []string `json:"others,omitempty"` // reasons of NICs that are not Configured
}

// noObject is the state of a node whose object is gone.
const noObject = "no object"

// mostText bounds each text in bytes.
const mostText = 1024

// line is a text that somebody else wrote, fit for one line. Script in it is no matter here: it goes
// out as JSON and into the page as text.
func line(s string) string { return terminal.Line(s, mostText) }

// rowOf is false if there is nothing to show of the node.
func (h *hub) rowOf(node string) (Row, bool) {
	if o, ok := value[*v1.MultiNicNodeConfig](h, objects, node); ok {
		r := ofObject(o)
		if said, ok := value[v1.Report](h, reports, v1.ReportName(node)); ok {
			r.Version = line(said.Version)
		}
		return r, true
	}
	said, reported := value[v1.Report](h, reports, v1.ReportName(node))
	_, alive := value[time.Time](h, leases, v1.LeaseName(node))
	// Without the objects nobody knows which nodes have one.
	if !h.all || !h.trouble[objects].read || !reported && !alive {
		return Row{}, false
	}
	r := Row{Node: line(node), State: noObject, Version: line(said.Version)}
	r.Reason, r.Message = said.WithoutObject()
	return r, true
}

// value is what a source has under a name.
func value[T any](h *hub, source int, name string) (T, bool) {
	t, ok := h.kept[source][name].value.(T)
	return t, ok
}

func ofObject(o *v1.MultiNicNodeConfig) Row {
	s := o.Status
	r := Row{Node: line(o.Name), State: line(string(s.State)), Ready: "Unknown", NICs: line(s.ReadyInterfaces)}
	for _, c := range s.Conditions {
		switch {
		case c.Type == v1.ConditionReady:
			r.Ready, r.Reason = line(string(c.Status)), line(c.Reason)
			if c.Status != "True" {
				r.Message = line(c.Message)
			}
		case c.Type == v1.ConditionDegraded && c.Status == "True":
			r.Degraded = line(c.Reason)
		}
	}
	for _, n := range s.InterfaceStatuses {
		if o.Drifting(n) {
			r.Drift = append(r.Drift, line(n.Name))
		}
		if reason := line(n.Reason); reason != "" && n.Status != v1.StateConfigured && reason != r.Reason && reason != r.Degraded && !slices.Contains(r.Others, reason) {
			r.Others = append(r.Others, reason)
		}
	}
	if s.LastProcessed != nil {
		r.Changed = s.LastProcessed.Unix()
	}
	return r
}
