package status

import (
	"fmt"
	"strings"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/plan"
)

// Line is the one line for the service manager: generation, NICs ready, last contact.
func (s Node) Line() string {
	out := append([]string{s.line()}, s.Credential.Problems()...)
	for _, p := range s.Down {
		out = append(out, p.String())
	}
	return strings.Join(out, "; ")
}

func (s Node) line() string {
	if s.State == "Waiting" {
		if s.Source.Idle != "" {
			return "idle: " + s.Source.Idle
		}
		if s.Source.Error != "" && s.Source.Mode == "file" {
			return "the file cannot be used, and no object was known before: " + s.Source.Error
		}
		return s.Message + s.contact()
	}
	ready := 0
	for _, n := range s.NICs {
		if n.Status == v1.StateConfigured {
			ready++
		}
	}
	state := s.State
	switch {
	case s.Held && s.InForce != 0:
		state = fmt.Sprintf("held back, generation %d in force", s.InForce)
	case s.Held:
		state = "held back, the one before in force"
	case s.State == string(v1.PhaseRemoved) && len(s.NICs) == 0:
		return s.Message + s.contact()
	}
	return fmt.Sprintf("generation %d %s, %d/%d NICs ready%s", s.Generation, state, ready, len(s.NICs), s.contact())
}

func (s Node) contact() string {
	switch {
	case s.Source.Error != "" && s.Source.Mode == "file":
		return ", what is in force is kept: the file cannot be used: " + s.Source.Error
	case s.Source.Idle != "":
		return ", idle: " + s.Source.Idle
	case s.Source.Error != "" && s.Source.Contact.IsZero():
		return ", no contact since the start: " + s.Source.Error
	case s.Source.Error != "":
		return ", last contact " + s.Source.Contact.Format(time.RFC3339) + ": " + s.Source.Error
	case s.Source.Contact.IsZero():
		return ""
	}
	return ", last contact " + s.Source.Contact.Format(time.RFC3339)
}

// Table is the status for a person.
func (s Node) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", s.Node, s.Line())
	if s.Message != "" && s.State != "Waiting" && !strings.HasPrefix(s.line(), s.Message) {
		fmt.Fprintf(&b, "%s\n", s.Message)
	}
	for _, n := range s.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	if s.NodeDoubt != "" {
		fmt.Fprintf(&b, "the name: %s\n", s.NodeDoubt)
	} else if s.NodeEvidence != "" {
		fmt.Fprintf(&b, "node %s (%s)\n", s.Node, s.NodeEvidence)
	}
	fmt.Fprintf(&b, "backend %s (%s)\n", s.Backend, strings.Join(s.Evidence, "; "))
	if s.Credential != nil {
		fmt.Fprintln(&b, s.Credential)
	}
	rows := [][]string{{"NIC", "MAC", "STATUS", "REASON", "WANTED", "THERE"}}
	for _, n := range s.NICs {
		rows = append(rows, []string{n.Name, n.MAC, string(n.Status), n.Reason, n.Want.String(), n.Have.String()})
	}
	if len(rows) > 1 {
		b.WriteString("\n" + align(rows))
	}
	for _, n := range s.NICs {
		b.WriteString(n.details(s.Backend))
	}
	return b.String()
}

// details are what a row of the table has no place for; usual is the backend of which nothing needs
// to be said.
func (n NIC) details(usual string) string {
	var b strings.Builder
	if n.Status != v1.StateConfigured || n.Reason != string(plan.Configured) || n.Message != configuredMessage && n.Message != "" {
		fmt.Fprintf(&b, "\n%s: %s\n", n.Name, n.Message)
	}
	if !n.NextTry.IsZero() {
		fmt.Fprintf(&b, "  tried again at %s, or when the object changes\n", n.NextTry.UTC().Format(time.RFC3339))
	}
	for _, diff := range n.Difference {
		fmt.Fprintf(&b, "  differs in %s\n", diff)
	}
	if n.From != "" {
		fmt.Fprintf(&b, "\n%s: %s\n", n.Name, n.From)
	}
	if n.Claimed != "" {
		fmt.Fprintf(&b, "\n%s: %s\n", n.Name, n.Claimed)
	}
	if n.Backend != "" && n.Backend != usual {
		fmt.Fprintf(&b, "\n%s: backend %s (%s)\n", n.Name, n.Backend, strings.Join(n.Evidence, "; "))
	}
	return b.String()
}

// String is the view in one cell of a table.
func (v *View) String() string {
	if v == nil {
		return "-"
	}
	state := "up"
	if !v.Up {
		state = "down"
	}
	parts := []string{v.Link, state}
	if v.MTU != 0 {
		parts = append(parts, fmt.Sprintf("mtu %d", v.MTU))
	}
	for _, a := range v.Addresses {
		parts = append(parts, a.String())
	}
	for _, r := range v.Routes {
		parts = append(parts, "route "+r)
	}
	for _, r := range v.Rules {
		parts = append(parts, "rule "+r)
	}
	return strings.Join(parts, " ")
}

// String is the line of the table.
func (c *Credential) String() string {
	out := "credential"
	switch c.Door {
	case string(v1.DoorKubelet):
		out += " by the kubelet's door"
	case string(v1.DoorJoinToken):
		out += " by a join token"
	}
	if !c.Ends.IsZero() {
		out += ", ends " + c.Ends.UTC().Format(time.RFC3339)
	}
	if !c.Renewal.IsZero() {
		out += ", next renewal " + c.Renewal.UTC().Format(time.RFC3339)
	}
	if c.Trouble != "" {
		out += ", cannot be renewed: " + c.Trouble
	}
	return out
}

func align(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, cell := range r {
			widths[i] = max(widths[i], len(cell))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		for i, cell := range r {
			if i < len(r)-1 {
				cell = fmt.Sprintf("%-*s  ", widths[i], cell)
			}
			b.WriteString(cell)
		}
		b.WriteString("\n")
	}
	return b.String()
}
