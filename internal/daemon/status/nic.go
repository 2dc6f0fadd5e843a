package status

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/pace"
	"multinicd/nic"
	"multinicd/plan"
)

// NIC is one NIC: wanted, there, and the difference.
type NIC struct {
	ID             int       `json:"id"` // -1: the object gives none that can be read
	Name           string    `json:"name"`
	MAC            string    `json:"macAddress"`
	Status         v1.State  `json:"status"`
	Reason         string    `json:"reason"`
	Message        string    `json:"message,omitempty"`
	Want           View      `json:"want"`
	Have           *View     `json:"have,omitempty"`       // nil: no such link
	Difference     []string  `json:"difference,omitempty"` // empty: as wanted
	LastConfigured time.Time `json:"lastConfigured,omitzero"`
	// LastRepair is the last time that somebody's change was put back; nil: none is remembered.
	LastRepair *Repair  `json:"lastRepair,omitempty"`
	Backend    string   `json:"backend,omitempty"`  // by which it is configured
	Evidence   []string `json:"evidence,omitempty"` // why by that one
	From       string   `json:"from,omitempty"`     // whose configuration it took over, and how we know
	Claimed    string   `json:"claimed,omitempty"`  // who else has a configuration for it, of which From says nothing
	// Outcome is what this pass did; empty where nothing was to be done.
	Outcome apply.Outcome `json:"outcome,omitempty"`
	// NextTry is when a change that failed is tried again by itself at the latest; zero: nothing
	// failed, or only an event can help.
	NextTry time.Time `json:"nextTry,omitzero"`
	// Unwanted: the object names the NIC no more, and it could not be given back.
	Unwanted bool `json:"unwanted,omitempty"`
	// Between: it came, went or was changed while the pass was at work on the NICs, and the next pass
	// says what has become of it.
	Between bool   `json:"-"`
	address string // the one that a report has of it; empty: none
}

// Repair is one repair of a NIC.
type Repair struct {
	At    time.Time `json:"at"`
	Count int       `json:"count"` // of those that are remembered, this one included
	About string    `json:"about"` // what differed, and by whom
}

// View is one side of the comparison.
type View struct {
	Link      string         `json:"link"`
	Up        bool           `json:"up"`
	MTU       int            `json:"mtu,omitempty"`
	Addresses []netip.Prefix `json:"addresses"`
	Routes    []string       `json:"routes,omitempty"`
	Rules     []string       `json:"rules,omitempty"` // of the NIC's own table
}

// Known is what tells how NICs are, beside what was done and what the kernel shows.
type Known struct {
	Record  plan.Record
	Halfway []nic.MAC // NICs that a change left half way
	Pace    pace.NICs
	Repairs map[nic.MAC]Repair // the last of each NIC
	// Namer says why a link will not be called want with the next boot either, and what to do; "": it
	// will. nil: nobody can say.
	Namer func(l nic.Link, want string) string
}

// NICs says of each NIC how it is, from what the kernel shows now and not from what was done.
func NICs(desired asked.Desired, results []apply.Result, m *plan.View, k Known) []NIC {
	var out []NIC
	for _, r := range results {
		switch {
		case r.Action.Kind != plan.Remove:
			out = append(out, one(r, m, k))
		case undone(r):
			n := one(r, m, k)
			n.Unwanted, n.Want, n.Difference = true, View{}, nil
			if !slices.Contains(k.Halfway, r.Action.NIC.MAC) {
				n.Message = "the object names this NIC no more, and it could not be given back: " + n.Message
			}
			out = append(out, n)
		}
	}
	for _, bad := range desired.Invalid {
		n := NIC{ID: bad.ID, Name: bad.Name, MAC: bad.Text, Status: v1.StateFailed, Reason: string(plan.InvalidSpec), Message: bad.Message, Outcome: apply.Refused}
		if owned, ok := k.Record.Find(bad.MAC); ok && owned.Applied {
			if link := findLink(m, bad.MAC); link != nil {
				n.Message = stays(n.Message, view(*link, owned.Config).Addresses)
			}
		}
		out = append(out, n)
	}
	slices.SortStableFunc(out, func(a, b NIC) int { return cmp.Compare(uint(a.ID), uint(b.ID)) }) // none, -1, comes last
	return out
}

// one says how one NIC is: what was asked, what the link has, and how that differs from what was
// asked in the form that it has on this host.
func one(r apply.Result, m *plan.View, k Known) NIC {
	c := r.Action.NIC
	out := NIC{ID: c.ID, Name: c.Name, MAC: c.MAC.String(), Want: wanted(r.Action.Asked), Reason: string(r.Reason), Message: r.Message, Outcome: r.Outcome}
	owned, _ := k.Record.Find(c.MAC)
	if owned.Applied {
		out.Backend, out.Evidence, out.From = owned.Backend, owned.Evidence, owned.From
	}
	if r, known := k.Repairs[c.MAC]; known {
		out.LastRepair = &r
	}
	link := findLink(m, c.MAC)
	if link != nil {
		out.compare(r.Action, *link, owned)
	}
	switch r.Outcome {
	case apply.Waiting:
		out.Status, out.Between = v1.StatePending, link != nil
	case apply.Done, apply.Unchanged:
		out.standing(r, link, k)
	default:
		out.Status, out.NextTry = v1.StateFailed, k.Pace.NextTry(c.MAC)
		out.Between = m != nil && r.Action.Link != nil && !slices.ContainsFunc(m.Links, func(l nic.Link) bool { return l.Index == r.Action.Link.Index })
		if owned.Applied && link != nil && r.Action.Kind != plan.Remove && r.Outcome != apply.RollbackFailed {
			out.Message = stays(out.Message, out.Have.Addresses)
		}
	}
	if f := k.Pace.Fights[c.MAC]; f.Fighting() && link != nil && r.Outcome != apply.RollbackFailed {
		out.Status, out.Reason, out.Message, out.Between = v1.StateInProgress, v1.ReasonDriftFighting, f.Message(), false
	}
	return out
}

// compare says what the link has, and what of that is not as wanted.
func (n *NIC) compare(a plan.Action, link nic.Link, owned plan.Owned) {
	v := view(link, a.NIC)
	n.Have, n.address = &v, address(v.Addresses, a)
	if claim := link.Claim; owned.Applied && claim != nil && !strings.Contains(owned.From, claim.Evidence) {
		n.Claimed = fmt.Sprintf("%s has a configuration for it too: %s; multinicd's counts before it, also at the next boot", claim.Owner, claim.Evidence)
	}
	for _, diff := range plan.Verify(a.NIC, link, owned) {
		if diff.State == plan.Absent && len(v.Addresses) > 0 {
			diff.Have = prefixes(v.Addresses)
		}
		n.Difference = append(n.Difference, diff.String())
	}
}

// standing says how a NIC is by now that was as wanted at the end of its action. link is nil where
// there is none any more.
func (n *NIC) standing(r apply.Result, link *nic.Link, k Known) {
	n.Status, n.Message = v1.StateConfigured, configuredMessage
	switch {
	case link == nil:
		n.Status, n.Reason, n.Message = v1.StatePending, string(plan.WaitingForNIC), "the NIC was unplugged"
	case len(n.Difference) > 0:
		n.Status, n.Reason, n.Message = v1.StateInProgress, v1.ReasonApplying, n.Difference[0]
	case link.Name != n.Name:
		n.Reason, n.Message = string(plan.RenameAtReboot), k.unnamed(*link, n.Name, r.Action.Note)
	}
	if n.Message == configuredMessage && r.Action.Note != "" {
		n.Message = "Interface configured; " + r.Action.Note
	}
	n.Between = n.Status != v1.StateConfigured
	if r.Outcome == apply.Unchanged {
		n.Outcome = ""
	}
}

// unnamed says of a link that is configured, and not called want, when it will be. note is what else
// differs from what was asked for. It comes first, since the end of a long message is cut off.
func (k Known) unnamed(l nic.Link, want, note string) string {
	why := ""
	if k.Namer != nil {
		why = k.Namer(l, want)
	}
	if why == "" {
		why = fmt.Sprintf("the kernel does not rename a link that is up, it is %s from the next boot on", want)
	}
	if note != "" {
		why = note + "; " + why
	}
	return v1.Printable(fmt.Sprintf("configured as %s; %s", l.Name, why), v1.MaxMessage)
}

// address is the one of those that a link has which stands for all: the first that was asked for,
// as it was asked for, or else the link's first.
func address(have []netip.Prefix, a plan.Action) string {
	if len(have) == 0 {
		return ""
	}
	if asked := a.Asked.Addresses; len(asked) > 0 && slices.ContainsFunc(have, func(p netip.Prefix) bool { return a.AsAsked(p) == asked[0] }) {
		return asked[0].String()
	}
	return have[0].String()
}

// stays adds to a message why a NIC of ours is not as wanted that it is left as it is, and what
// that is: the old configuration, unless somebody else has changed it meanwhile. What to do, at the
// message's end, stays within what a report takes.
func stays(message string, have []netip.Prefix) string {
	what := "; the NIC stays as it is, without an address"
	if len(have) > 0 {
		what = "; the NIC stays as it is: " + prefixes(have)
	}
	if len(message)+len(what) > v1.MaxMessage {
		what = "; the NIC stays as it is"
	}
	if cause, remedy, ok := cutLast(message, "; "); ok {
		return cause + what + "; " + remedy
	}
	return message + what
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func prefixes(list []netip.Prefix) string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.String()
	}
	return strings.Join(out, " ")
}

// configuredMessage is of a NIC that is all as it was asked for.
const configuredMessage = "Interface configured successfully"

func findLink(m *plan.View, mac nic.MAC) *nic.Link {
	if m == nil {
		return nil
	}
	for i, l := range m.Links {
		if l.HasMAC(mac) && plan.NotOurs(l, *m) == nil {
			return &m.Links[i]
		}
	}
	return nil
}

func wanted(c nic.Config) View {
	v := View{Link: c.Name, Up: true, MTU: c.MTU, Addresses: c.Addresses}
	for _, r := range c.Routes {
		v.Routes = append(v.Routes, r.String())
	}
	if c.Gateway.IsValid() {
		v.Routes = append(v.Routes, fmt.Sprintf("default via %s table %d", c.Gateway, nic.Table(c.ID)))
	}
	return v
}

// view leaves out what is not configured by anybody: link-local addresses and the kernel's own
// routes.
func view(l nic.Link, c nic.Config) View {
	v := View{Link: l.Name, Up: l.Up, MTU: l.MTU}
	for _, a := range l.Addresses {
		if !a.Prefix.Addr().IsLinkLocalUnicast() {
			v.Addresses = append(v.Addresses, a.Prefix)
		}
	}
	for _, r := range l.Routes {
		if r.Protocol != nic.ProtocolKernel {
			v.Routes = append(v.Routes, r.String())
		}
	}
	for _, r := range l.Rules {
		if r.Table == nic.Table(c.ID) || r.Priority == nic.MainPriority(c.ID) && r.NoDefault {
			v.Rules = append(v.Rules, r.String())
		}
	}
	return v
}
