// Package plan decides: from what is wanted, what is there and what we remember, what has to happen
// to each NIC.
//
// In go []nic.Config, a View (links, paths that must not be cut) and a Record (what we own); out
// comes a Plan: one Action per NIC, with the change of its link spelled out, or the reason why
// nothing may be done. Verify compares afterwards.
//
// It touches nothing, reads nothing, knows no file format and no clock. Refusing and waiting are
// data, not errors.
//
// Start reading at Make, then step.go and live.go (how a change is made, and undone). guard.go
// keeps the first rule of the product: a link that the node needs to reach its cluster is never
// touched. Package lifeline says which links these are. change.go has what differs on a link;
// find.go, rename.go and remove.go have what Make asks for.
package plan

import (
	"fmt"
	"slices"

	"multinicd/nic"
)

// Kind says what an Action does.
type Kind string

// The kinds of action. A Remove without a Link is of a NIC that is not plugged in: only files are
// left to remove.
const (
	Configure Kind = "Configure" // make link and files as wanted; nothing to do where they are
	Remove    Kind = "Remove"    // take back what we own
	Refuse    Kind = "Refuse"    // not touched, for Reason
	Wait      Kind = "Wait"      // not there yet
)

// Plan holds one action per NIC, in the order in which they are to be done: first plain removals;
// then the NICs that are wanted, by id; last the removals of NICs that still carry the route of a
// shared subnet. Those wait until the next holder has that route (see lends).
type Plan struct {
	Actions []Action
}

// Action is what has to happen to one NIC.
type Action struct {
	Kind  Kind
	Asked nic.Config // as the object has it; zero for Remove
	// NIC is what Asked has become on this host (see laidOut). For Refuse it is as asked, and for
	// Remove it is what was applied last.
	NIC nic.Config
	// Link is as found. It is nil for Wait, for Remove of an unplugged NIC and for Refuse without a
	// link.
	Link   *nic.Link
	Change nic.Change // what differs in the kernel; for Configure and Remove
	Reason Reason     // for Refuse and Wait
	// Message says for Refuse and Wait what is wrong and what to do, and for Remove why the link is
	// left as it is; at most 256 bytes.
	Message string
	Note    string // for Configure: what is not as it was asked for, and why; "" where all is
	After   *Owned // the record once the action is done; nil: forget the NIC. For Configure and Remove
}

// Make plans for every NIC wanted and for every NIC owned but wanted no more, unless hold names it.
// It never fails: what cannot be done is an action too. The same input gives the same plan.
func Make(want []nic.Config, hold []nic.MAC, m View, rec Record) Plan {
	want = slices.Clone(want)
	nic.SortConfigs(want)
	m.Named = named(want, hold, rec)
	p := planner{asked: want, hold: hold, view: m, record: rec, given: map[int]string{}, refused: map[nic.MAC]Action{}, guarded: map[int]*Refusal{}}
	p.want = p.laidOut()
	// Removals decide which names become free; fixpoint needs those. Then they are computed again,
	// since what fixpoint refuses changes what the others come to want.
	p.removals()
	p.fixpoint()
	out, last := p.removals()
	for i, c := range p.want {
		a, refused := p.refused[c.MAC]
		if !refused {
			a = p.configure(c)
		}
		a.Asked = p.asked[i]
		out = append(out, a)
	}
	return Plan{Actions: append(out, last...)}
}

type planner struct {
	asked   []nic.Config // as the object has it; sorted
	want    []nic.Config // the same, laid out for this host; see laidOut
	hold    []nic.MAC
	view    View
	record  Record
	given   map[int]string // by ifindex: the first names that removals in this plan give back
	refused map[nic.MAC]Action
	guarded map[int]*Refusal // by ifindex: the guard's word on a link; nil: it is asked each time
}

// guard asks GuardOf, once for each link: nothing that it looks at changes while a plan is made.
func (p *planner) guard(l nic.Link) *Refusal {
	if r, asked := p.guarded[l.Index]; asked {
		return r
	}
	r := GuardOf(p.record, l, p.view)
	if p.guarded != nil {
		p.guarded[l.Index] = r
	}
	return r
}

// fixpoint finds all NICs that are refused, until no refusal brings another one. A refused NIC
// keeps its addresses: another NIC that wants one of these addresses is refused too. A refused NIC
// shares a subnet with the others no more than a foreign link does: the others are laid out again.
func (p *planner) fixpoint() {
	for again := true; again; {
		again = false
		for i, c := range p.want {
			if _, refused := p.refused[c.MAC]; refused {
				continue
			}
			if a := p.configure(c); a.Kind == Refuse {
				a.NIC = p.asked[i]
				p.refused[c.MAC], again = a, true
			}
		}
		p.want = p.laidOut()
	}
}

func (p *planner) configure(c nic.Config) Action {
	link, refusal := p.find(c)
	if refusal != nil {
		return refusal.action(c, link)
	}
	if link == nil {
		if r := p.virtual(c); r != nil {
			return r.action(c, nil)
		}
		if slices.Contains(p.view.Elsewhere, c.MAC) {
			return Action{Kind: Wait, NIC: c, Reason: WaitingForNIC, Message: elsewhere(c.MAC) + "; it is configured as soon as it comes back" + p.instead(c)}
		}
		return Action{Kind: Wait, NIC: c, Reason: WaitingForNIC,
			Message: fmt.Sprintf("no NIC with MAC %s is plugged in; it is configured as soon as it appears", c.MAC) + p.instead(c)}
	}
	owned, known := p.record.Find(c.MAC)
	if r := p.guard(*link); r != nil {
		return r.action(c, link)
	}
	if r := p.foreign(c, *link, owned, known); r != nil {
		return r.action(c, link)
	}
	if r := p.conflicts(c, *link); r != nil {
		return r.action(c, link)
	}
	after := owned.take(c, *link, known)
	after.Beside = p.besides(c.MAC)
	if takesOver(c, *link, owned) != "" {
		after.From += p.view.lifelines(p.record).Remaining(*link)
	}
	if len(link.Former) > 0 {
		after.Retired = merge(after.Retired, p.formerRules(c, *link), c)
	}
	after.Retired = p.nobodys(after.Retired)
	if !owned.Applied {
		owned = Owned{}
	}
	other := p.inTheWay(c, *link)
	blocked := other != nil && p.renameBlocked(*other)
	if blocked {
		after.RenameBlocked = true // nor can this one have its name before the next boot
	}
	change := diff(c, owned, *link, after)
	note := Spare(&change, *link, p.view.Links)
	if asked := p.askedFor(c.MAC); asked.MTU != 0 && asked.MTU < c.MTU {
		on, _ := widest(*link, p.view.Links)
		note = fmt.Sprintf("it has MTU %d and not %d, since link %s, which lies on it, needs that", c.MTU, asked.MTU, on.Name)
	}
	switch {
	case blocked:
		change.Name = ""
	case other != nil && change.Name != "" && p.comesBehind(*other, c):
		change.Way = makeWay(*other)
	}
	return Action{Kind: Configure, NIC: c, Link: link, Change: change, After: &after, Note: note}
}
