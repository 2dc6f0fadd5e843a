package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "multinicd/api/v1"
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

// String is the view in one line.
func (v *View) String() string {
	if v == nil {
		return "no such link"
	}
	state := "up"
	if !v.Up {
		state = "down"
	}
	return strings.Join(slices.Concat([]string{v.Link, state}, v.mtu(), v.addresses(), v.paths()), " ")
}

// words are what there is to say beside a NIC that is called name. Its own name, and that the link is
// up, are left out.
func (v *View) words(name string) []string {
	if v == nil {
		return []string{"no such link"}
	}
	var out []string
	if v.Link != name {
		out = append(out, v.Link)
	}
	if !v.Up {
		out = append(out, "down")
	}
	// Where there is no room for all, addresses are what is looked for.
	return slices.Concat(out, v.addresses(), v.mtu(), v.paths())
}

func (v *View) mtu() []string {
	if v.MTU == 0 {
		return nil
	}
	return []string{fmt.Sprintf("mtu %d", v.MTU)}
}

func (v *View) addresses() (out []string) {
	for _, a := range v.Addresses {
		out = append(out, a.String())
	}
	return out
}

func (v *View) paths() (out []string) {
	for _, r := range v.Routes {
		out = append(out, "route "+r)
	}
	for _, r := range v.Rules {
		out = append(out, "rule "+r)
	}
	return out
}

// String is what is said of the credential in one line.
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
