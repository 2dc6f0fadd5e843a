package web

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	v1 "multinicd/api/v1"
	"multinicd/docs"
)

// Detail is what a node's page has. Times are seconds since 1970, 0 if there is none.
type Detail struct {
	Row
	Known      bool        `json:"known"` // something in the cluster is about the node
	Facts      []Fact      `json:"facts,omitempty"`
	Interfaces []NIC       `json:"interfaces,omitempty"`
	Conditions []Condition `json:"conditions,omitempty"`
	Events     []Event     `json:"events,omitempty"` // newest first
	Rollout    []Fact      `json:"rollout,omitempty"`
	Token      []Fact      `json:"token,omitempty"`
}

// Fact is a line of a list: a name, and a text or a time.
type Fact struct {
	Name string `json:"name"`
	Text string `json:"text,omitempty"`
	At   int64  `json:"at,omitempty"`
}

// NIC is what is wanted of a NIC, what is there, and why.
type NIC struct {
	Name    string   `json:"name"`
	MAC     string   `json:"mac"`
	Wanted  []string `json:"wanted,omitempty"` // nil: the object does not name the NIC
	There   []string `json:"there,omitempty"`
	State   string   `json:"state,omitempty"`
	Reason  string   `json:"reason,omitempty"`
	Message string   `json:"message,omitempty"`
	Outcome string   `json:"outcome,omitempty"`
	Advice  string   `json:"advice,omitempty"` // of docs/reasons.md
	Since   int64    `json:"since,omitempty"`  // when it last became as wanted
	Drifts  bool     `json:"drifts,omitempty"`
	Repair  *Repair  `json:"repair,omitempty"` // the last one; nil: none is known
}

// Repair is the last time that somebody's change of a NIC was put back.
type Repair struct {
	At    int64  `json:"at"`
	Count int32  `json:"count,omitempty"` // of those that the node remembers
	About string `json:"about,omitempty"`
}

// Condition of the object.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	Advice  string `json:"advice,omitempty"`
	Since   int64  `json:"since,omitempty"`
}

// Event about the object.
type Event struct {
	Type    string `json:"type"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Count   int32  `json:"count"`
	Last    int64  `json:"last,omitempty"`
}

// mostEvents bounds those of one node: the newest are shown.
const mostEvents = 100

// detailOf has what is known of a node, also if that is nothing.
func (h *hub) detailOf(node string) Detail {
	d := Detail{Row: Row{Node: line(node)}}
	if r, ok := h.rowOf(node); ok {
		d.Row, d.Known = r, true
	}
	said, reported := value[v1.Report](h, reports, v1.ReportName(node))
	o, there := value[*v1.MultiNicNodeConfig](h, objects, node)
	if there {
		d.Interfaces = nicsOf(o)
		for _, c := range o.Status.Conditions {
			shown := Condition{Type: line(c.Type), Status: line(string(c.Status)), Reason: line(c.Reason), Message: line(c.Message), Since: at(c.LastTransitionTime.Time)}
			if c.Reason != v1.ReasonInterfacesFailed && c.Reason != v1.ReasonInterfacesWaiting { // these only say to look at the NICs
				shown.Advice = advice(c.Reason)
			}
			d.Conditions = append(d.Conditions, shown)
		}
		d.Rollout = rolloutOf(o)
	} else {
		for _, n := range said.Interfaces {
			d.Interfaces = append(d.Interfaces, nicOf(n))
		}
	}
	d.Facts = append(factsOf(o), executionOf(o, said, reported)...)
	d.Events = h.eventsOf(node)
	d.Token = h.tokenOf(node)
	return d
}

// at is a time in seconds; 0 if there is none. JavaScript knows no greater years.
func at(t time.Time) int64 {
	if t.IsZero() || t.Unix() < 0 || t.UTC().Year() > 9999 {
		return 0
	}
	return t.Unix()
}

// advised has what advice gave. It is bounded, because a node may write any reason.
var (
	advised    = map[string]string{}
	advisedMux sync.Mutex
)

const mostAdvised = 1000

// advice is what docs/reasons.md says to do about a reason. That nothing is to be done is no advice.
func advice(reason string) string {
	advisedMux.Lock()
	defer advisedMux.Unlock()
	text, ok := advised[reason]
	if !ok {
		if text = docs.WhatToDo(reason); text == "Nothing." {
			text = ""
		}
		if len(advised) < mostAdvised {
			advised[reason] = text
		}
	}
	return text
}

func nicsOf(o *v1.MultiNicNodeConfig) []NIC {
	var out []NIC
	said := slices.Clone(o.Status.InterfaceStatuses)
	for _, want := range o.Spec.Interfaces {
		n := NIC{MAC: line(strings.ToLower(want.MACAddress))}
		i := slices.IndexFunc(said, func(s v1.InterfaceStatus) bool { return strings.EqualFold(s.MACAddress, want.MACAddress) })
		if i >= 0 {
			n = nicOf(said[i])
			n.Drifts = o.Drifting(said[i])
			said = slices.Delete(said, i, i+1)
		}
		switch {
		case want.Name != "":
			n.Name = line(want.Name)
		case want.ID != nil:
			n.Name = fmt.Sprintf("multinic%d", *want.ID)
		}
		n.Wanted = wantedOf(want)
		out = append(out, n)
	}
	for _, s := range said { // the object no longer names them
		out = append(out, nicOf(s))
	}
	return out
}

// wantedOf is what the object says of a NIC, a line each.
func wantedOf(want v1.Interface) []string {
	out := []string{}
	switch {
	case want.Address != "" && strings.HasPrefix(want.CIDR, want.Address+"/"), want.Address == "" && want.CIDR != "":
		out = append(out, line(want.CIDR))
	case want.Address != "":
		_, length, _ := strings.Cut(want.CIDR, "/")
		out = append(out, line(want.Address+"/"+length))
	}
	for _, a := range want.Addresses {
		out = append(out, line(a))
	}
	if want.MTU != nil {
		out = append(out, fmt.Sprintf("MTU %d", *want.MTU))
	}
	if want.Gateway != "" {
		out = append(out, "gateway "+line(want.Gateway))
	}
	for _, r := range want.Routes {
		text := "route to " + r.To
		if r.Via != "" {
			text += " via " + r.Via
		}
		if r.Metric != nil {
			text += fmt.Sprintf(" metric %d", *r.Metric)
		}
		if r.Table != nil {
			text += fmt.Sprintf(" table %d", *r.Table)
		}
		out = append(out, line(text))
	}
	if want.Adopt {
		out = append(out, "adopt")
	}
	if want.PortID != "" {
		out = append(out, "port "+line(want.PortID))
	}
	return out
}

// nicOf is what the node says of a NIC.
func nicOf(s v1.InterfaceStatus) NIC {
	n := NIC{Name: line(s.Name), MAC: line(s.MACAddress), State: line(string(s.Status)), Reason: line(s.Reason), Message: line(s.Message), Outcome: line(string(s.Outcome))}
	if s.Address != "" {
		n.There = append(n.There, line(s.Address))
	}
	if s.MTU != 0 {
		n.There = append(n.There, fmt.Sprintf("MTU %d", s.MTU))
	}
	if s.Status != v1.StateConfigured {
		n.Advice = advice(s.Reason)
	}
	if s.LastConfigured != nil {
		n.Since = at(s.LastConfigured.Time)
	}
	if r := s.LastRepair; r != nil {
		n.Repair = &Repair{at(r.Time.Time), r.Count, line(r.Message)}
	}
	return n
}

// facts leaves those out that are empty.
func facts(all ...Fact) []Fact {
	return slices.DeleteFunc(all, func(f Fact) bool { return f.Text == "" && f.At == 0 })
}

func factsOf(o *v1.MultiNicNodeConfig) []Fact {
	if o == nil {
		return nil
	}
	return facts(Fact{Name: "Object", Text: fmt.Sprintf("generation %d", o.Generation), At: at(o.CreationTimestamp.Time)},
		Fact{Name: "Publisher", Text: line(o.Labels[v1.PublisherLabel])},
		Fact{Name: "Instance", Text: line(o.Spec.InstanceID)}, Fact{Name: "Provider", Text: line(o.Spec.ProviderID)})
}

func executionOf(o *v1.MultiNicNodeConfig, said v1.Report, reported bool) []Fact {
	var out []Fact
	if o != nil {
		if o.Status.LastProcessed != nil {
			out = append(out, Fact{Name: "Reported", At: at(o.Status.LastProcessed.Time)})
		}
		out = append(out, Fact{Name: "Last Job or run", Text: line(o.Status.LastJobName)})
		if o.Status.RequestedRun != "" {
			out = append(out, Fact{Name: "Asked to do next", Text: line(string(o.Status.RequestedAction) + " " + o.Status.RequestedRun)})
		}
	}
	if reported && said.Schema == "" {
		out = append(out, Fact{Name: "Report", Text: "cannot be read"})
	}
	if said.Schema != "" {
		out = append(out, Fact{Name: "Report", Text: line(fmt.Sprintf("%s, of generation %d, by %s", said.Phase, said.Generation, said.Executor))})
	}
	return facts(out...)
}

func rolloutOf(o *v1.MultiNicNodeConfig) []Fact {
	s := o.Status
	out := []Fact{{Name: "Wanted", Text: fmt.Sprintf("generation %d", o.Generation)}, {Name: "Observed", Text: fmt.Sprintf("generation %d", s.ObservedGeneration)}}
	switch {
	case s.ReleasedGeneration == 0:
		out = append(out, Fact{Name: "Released", Text: "there is no brake"})
	case s.ReleasedGeneration < o.Generation:
		out = append(out, Fact{Name: "Released", Text: v1.WaitingForReleaseMessage})
	default:
		f := Fact{Name: "Released", Text: fmt.Sprintf("generation %d", s.ReleasedGeneration)}
		if s.ReleasedAt != nil {
			f.At = at(s.ReleasedAt.Time)
		}
		out = append(out, f)
	}
	return out
}

// eventsOf are the events about the node's object. Those about a former object of its name count too.
func (h *hub) eventsOf(node string) []Event {
	var out []Event
	for _, e := range h.kept[events] {
		if e.node != node {
			continue
		}
		if is, ok := e.value.(*corev1.Event); ok {
			out = append(out, eventOf(is))
		}
	}
	slices.SortFunc(out, func(a, b Event) int {
		return cmp.Or(cmp.Compare(b.Last, a.Last), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Message, b.Message))
	})
	return out[:min(len(out), mostEvents)]
}

func eventOf(e *corev1.Event) Event {
	out := Event{Type: line(e.Type), Reason: line(e.Reason), Message: line(e.Message), Count: max(e.Count, 1),
		Last: max(at(e.LastTimestamp.Time), at(e.EventTime.Time), at(e.FirstTimestamp.Time))}
	if e.Series != nil {
		out.Count, out.Last = max(e.Series.Count, out.Count), max(out.Last, at(e.Series.LastObservedTime.Time))
	}
	return out
}

// tokenOf is what is known of the node's credential. No token is among it: nobody here reads one.
func (h *hub) tokenOf(node string) []Fact {
	var out []Fact
	if list, ok := value[*corev1.ConfigMap](h, blocked, v1.BlockedName); ok {
		if since, is := list.Data[node]; is {
			out = append(out, Fact{Name: "Blocked", Text: "since " + line(since)})
		}
	}
	if made, ok := value[time.Time](h, accounts, v1.ServiceAccountName(node)); ok {
		out = append(out, Fact{Name: "Identity made", At: at(made)})
	}
	if renewed, ok := value[time.Time](h, leases, v1.LeaseName(node)); ok {
		f := Fact{Name: "Lease", At: at(renewed)}
		if f.At == 0 {
			f.Text = "never"
		}
		out = append(out, f)
	}
	if j, ok := value[join](h, accounts, v1.JoinAccountName(node)); ok {
		text := "not used yet"
		if j.replace {
			text += ", may replace a machine that has joined"
		}
		if !j.ends.IsZero() {
			text += ", ends at " + j.ends.UTC().Format(time.RFC3339)
		}
		out = append(out, Fact{Name: "Join token", Text: text})
	}
	if r, ok := value[*v1.NodeTokenRequest](h, requests, node); ok {
		f := Fact{Name: "Request for a token", Text: "not answered yet", At: at(r.CreationTimestamp.Time)}
		switch {
		case r.Status.SealedAt != nil:
			f.Text, f.At = "answered", at(r.Status.SealedAt.Time)
		case r.Status.Reason != "":
			f.Text = line("refused: " + r.Status.Reason + ": " + r.Status.Message)
		}
		f.Text = line(string(r.Spec.Door)) + ": " + f.Text
		out = append(out, f)
	}
	return out
}
