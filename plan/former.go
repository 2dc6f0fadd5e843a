package plan

import (
	"slices"

	"multinicd/nic"
)

// formerRules lists the rules by which the former agent led traffic from the NIC's addresses into a table that is for this link alone, and
// that are not wanted. Its rules say nothing else; whoever led the same address elsewhere keeps his.
func (p *planner) formerRules(c nic.Config, l nic.Link) (out []Retired) {
	for _, r := range l.Rules {
		r = r.Key()
		switch {
		case r.Other, r.NoDefault, r.To.IsValid(), !r.From.IsSingleIP(), !nic.FormerTable(r.Table), slices.Contains(c.Rules, r):
		case !contains(c, r.From.Addr()) && !l.Holds(r.From.Addr()):
		case slices.ContainsFunc(p.machine.Links, func(o nic.Link) bool {
			return o.Index != l.Index && slices.ContainsFunc(o.Routes, func(h nic.Route) bool { return h.Table == r.Table })
		}):
		default:
			out = append(out, Retired{Rule: &r})
		}
	}
	return out
}
