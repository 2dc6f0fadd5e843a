package plan

import (
	"slices"

	"multinicd/nic"
)

// formerRules lists the rules of the former agent for the NIC's addresses that are not wanted. Such
// a rule leads into a table of the former agent that only this link uses, and says nothing else. A
// rule that leads the same address elsewhere is somebody else's, and stays.
func (p *planner) formerRules(c nic.Config, l nic.Link) (out []Retired) {
	for _, r := range l.Rules {
		r = r.Key()
		switch {
		case r.Other, r.NoDefault, r.To.IsValid(), !r.From.IsSingleIP(), !nic.FormerTable(r.Table), slices.Contains(c.Rules, r):
		case !contains(c, r.From.Addr()) && !l.Holds(r.From.Addr()):
		case slices.ContainsFunc(p.view.Links, func(o nic.Link) bool {
			return o.Index != l.Index && slices.ContainsFunc(o.Routes, func(h nic.Route) bool { return h.Table == r.Table })
		}):
		default:
			out = append(out, Retired{Rule: &r})
		}
	}
	return out
}
