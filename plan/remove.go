package plan

import (
	"fmt"
	"slices"

	"multinicd/nic"
)

// removals plans for every NIC owned but wanted no more; last are those that lend.
func (p *planner) removals() (out, last []Action) {
	clear(p.given)
	for _, o := range p.record.NICs {
		wanted := slices.ContainsFunc(p.asked, func(c nic.Config) bool { return c.MAC == o.MAC })
		if !wanted && !slices.Contains(p.hold, o.MAC) && (o.Applied || len(o.Retired) > 0) {
			if a, ok := p.remove(o); ok && p.lends(o) {
				last = append(last, a)
			} else if ok {
				out = append(out, a)
			}
		}
	}
	return out, last
}

// remove plans to give a NIC back. A guarded link is not touched, only our memory and files of it
// go.
func (p *planner) remove(o Owned) (Action, bool) {
	a := Action{Kind: Remove, NIC: o.Config}
	link, ambiguous := p.find(o.Config)
	var on nic.Link
	if link != nil {
		on = *link
	}
	after := o.give(on)
	after.Retired = p.nobodys(after.Retired)
	if len(after.Retired) > 0 {
		a.After = &after
	}
	if link == nil {
		a.Message = p.absent(o.Config, ambiguous)
		return a, o.Applied
	}
	if r := p.guard(*link); r != nil {
		a.Message = r.Message
		return a, o.Applied
	}
	a.Link = link
	a.Change = giveBack(o, after.Retired, *link)
	a.Message = Spare(&a.Change, *link, p.view.Links)
	if p.nameTaken(a.Change.Name, link.Index) {
		// The kernel gave its first name to a NIC that came later: it keeps the present one.
		a.Change.Name = ""
	}
	p.given[link.Index] = a.Change.Name
	return a, o.Applied || !a.Change.Empty()
}

// absent says why no link is given back with a NIC.
func (p *planner) absent(c nic.Config, ambiguous *Refusal) string {
	if ambiguous != nil {
		return ambiguous.Message
	}
	// Also a link that was ours before its kind was taken out of links.virtual_kinds.
	for _, l := range p.view.Links {
		if r := NotOurs(l, p.view); l.HasMAC(c.MAC) && r != nil {
			return r.Message
		}
	}
	if slices.Contains(p.view.Elsewhere, c.MAC) {
		return elsewhere(c.MAC)
	}
	return fmt.Sprintf("no NIC with MAC %s is plugged in", c.MAC)
}

func elsewhere(m nic.MAC) string {
	return fmt.Sprintf("NIC %s: its device is there, its link is in another network namespace, as if a Pod has it", m)
}

func (p *planner) nameTaken(name string, index int) bool {
	return name != "" && slices.ContainsFunc(p.view.Links, func(o nic.Link) bool {
		return o.Index != index && (o.Answers(name) || p.given[o.Index] == name)
	})
}
