// Package plan decides: from what is wanted, what is there and what we remember, what has to happen to each NIC.
//
// In go []nic.Config, a Machine (links, paths that must not be cut) and a Record (what we own); out comes a Plan: one Action
// per NIC, with the change of its link spelled out, or the reason why nothing may be done. Verify compares afterwards.
//
// It touches nothing, reads nothing, knows no file format and no clock. Refusing and waiting are data, not errors.
//
// Start reading at Make, then guard.go (what is refused, rule 1 of the design) and change.go (what differs).
package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"multinicd/nic"
)

// Kind says what an Action does.
type Kind string

// The kinds of action. A Remove without a Link is of a NIC that is not plugged in: only files are left to remove.
const (
	Configure Kind = "Configure" // make link and files as wanted; an empty Change and equal files mean: nothing to do
	Remove    Kind = "Remove"    // take back what we own
	Refuse    Kind = "Refuse"    // not touched, for Reason
	Wait      Kind = "Wait"      // not there yet
)

// Machine is what is there. Links are as kernel.Kernel gives them, sorted by ifindex.
type Machine struct {
	Links     []nic.Link
	Lifelines []Lifeline // what must not be cut
	Deny      []string   // more name patterns (path.Match) of links never touched
	Kinds     []string   // kinds of virtual link that count as physical; test machines only
	// SubnetsOff: addresses in a subnet that several links share are set as they are.
	SubnetsOff bool `json:",omitempty"`
	// NoIPv6 says why no link of this host can have an IPv6 address; empty: some can.
	NoIPv6 string `json:",omitempty"`
	// Failed are NICs whose last change failed: no route that others need is entrusted to them. Any order.
	Failed []nic.MAC `json:",omitempty"`
	// NodeAddrs are the node's addresses by root's word; nil: nobody says which they are.
	NodeAddrs []NodeAddr `json:",omitempty"`
	// Answers are the links, by ifindex, through which an API server answered when it was asked by a
	// connection bound to that link. Sorted; only links with a default route are asked.
	Answers []int `json:",omitempty"`
	// Named are the NICs that the object names, sorted. Make sets it.
	Named []nic.MAC `json:",omitempty"`
	// NoTakeOver: what a machine wrote for a link does not give way to the object ([links] take_over).
	NoTakeOver bool `json:",omitempty"`
	// NoAdopt: what a person wrote does not give way either, whatever the object says ([links] adopt).
	NoAdopt bool `json:",omitempty"`
	// Elsewhere are NICs of which the device is here, and the link is in another network namespace. Any order.
	Elsewhere []nic.MAC `json:",omitempty"`
	// Protect are destinations that no route through a NIC of ours may draw, beside the cloud's metadata.
	Protect []Protected `json:",omitempty"`
	// Tables are the routing tables that a route may name beside main and the NIC's own ([routing] allow_tables).
	Tables []int `json:",omitempty"`
}

// Protected is a destination whose traffic no NIC of ours may draw.
type Protected struct {
	To   netip.Prefix
	What string // for messages: "a name server of this host (/etc/resolv.conf)"
	// Here: where the way leads through a link already, that link may keep it. So is a name server
	// that the NIC's own subnet has.
	Here bool `json:",omitempty"`
}

// NodeAddr is an address of the node, and the evidence for it: a sentence that names the file or the process.
type NodeAddr struct {
	Addr     netip.Addr
	Evidence string
}

// Lifeline is a way out of the host that the node lives by.
type Lifeline struct {
	What   string     // "the API server", with the proxy before it
	To     netip.Addr // where it leads
	Index  int        // ifindex of the link it takes now; 0: no route now
	Source netip.Addr // address it uses now
	Via    netip.Addr // next hop; zero: on link
}

// Plan holds one action per NIC, in the order in which they are to be done: first plain removals;
// then the NICs that are wanted, by id; last the removals of NICs that still carry the route of a
// shared subnet. Those wait until the next holder has that route (see lends).
type Plan struct {
	Actions []Action
}

// Action is what has to happen to one NIC.
type Action struct {
	Kind    Kind
	Asked   nic.Config // as the object has it; zero for Remove
	NIC     nic.Config // what that has become on this host (see laidOut), and is as asked for Refuse; for Remove what was applied last
	Link    *nic.Link  // as found; nil for Wait, for Remove of an unplugged NIC and for Refuse without a link
	Change  nic.Change // what differs in the kernel; for Configure and Remove
	Reason  Reason     // for Refuse and Wait
	Message string     // for Refuse and Wait: what, and what to do; for Remove why the link is left as it is; at most 256 bytes
	Note    string     // for Configure: what is not as it was asked for, and why; "" where all is
	After   *Owned     // the record once the action is done; nil: forget the NIC. For Configure and Remove
}

// Make plans for every NIC wanted and for every NIC owned but wanted no more, unless hold names it. It never fails: what cannot be
// done is an action too. The same input gives the same plan.
func Make(want []nic.Config, hold []nic.MAC, m Machine, rec Record) Plan {
	want = slices.Clone(want)
	nic.SortConfigs(want)
	m.Named = named(want, hold, rec)
	p := planner{asked: want, hold: hold, machine: m, record: rec, given: map[int]string{}, refused: map[nic.MAC]Action{}, guarded: map[int]*Refusal{}}
	p.want = p.laidOut()
	p.removals() // fixpoint asks for the names that they give back, and they for what others have come to want, which fixpoint finds
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
	machine Machine
	record  Record
	given   map[int]string // by ifindex: the first names that removals in this plan give back
	refused map[nic.MAC]Action
	guarded map[int]*Refusal // by ifindex: what the guard has said of a link; nil: it is asked each time
}

// named lists the NICs that the object names, also where its entry cannot be read, and those that we have had in hand.
func named(want []nic.Config, hold []nic.MAC, rec Record) []nic.MAC {
	out := slices.Clone(hold)
	for _, c := range want {
		out = append(out, c.MAC)
	}
	for _, o := range rec.NICs {
		out = append(out, o.MAC)
	}
	slices.SortFunc(out, nic.MAC.Compare)
	return slices.Compact(out)
}

// guard asks GuardOf, once for each link: nothing that it looks at changes while a plan is made.
func (p *planner) guard(l nic.Link) *Refusal {
	if r, asked := p.guarded[l.Index]; asked {
		return r
	}
	r := GuardOf(p.record, l, p.machine)
	if p.guarded != nil {
		p.guarded[l.Index] = r
	}
	return r
}

// fixpoint finds all that is refused, until no refusal brings another: a NIC that is refused keeps its addresses, for which another may have to be refused too, and shares
// its subnets with the others no more than any foreign link does.
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

func (p *planner) configure(c nic.Config) Action {
	link, refusal := p.find(c)
	if refusal != nil {
		return refusal.action(c, link)
	}
	if link == nil {
		if r := p.virtual(c); r != nil {
			return r.action(c, nil)
		}
		if slices.Contains(p.machine.Elsewhere, c.MAC) {
			return Action{Kind: Wait, NIC: c, Reason: WaitingForNIC, Message: elsewhere(c.MAC) + "; it is configured as soon as it comes back"}
		}
		return Action{Kind: Wait, NIC: c, Reason: WaitingForNIC,
			Message: fmt.Sprintf("no NIC with MAC %s is plugged in; it is configured as soon as it appears", c.MAC)}
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
	if len(link.Former) > 0 {
		after.Retired = merge(after.Retired, p.formerRules(c, *link), c)
	}
	after.Retired = p.nobodys(after.Retired)
	if !owned.Applied {
		owned = Owned{}
	}
	other := p.inTheWay(c, *link)
	blocked := other != nil && p.renameBlocked(*other)
	after.RenameBlocked = after.RenameBlocked || blocked // nor can this one have its name before the next boot
	change := diff(c, owned, *link, after)
	note := Spare(&change, *link, p.machine.Links)
	if asked := p.askedFor(c.MAC); asked.MTU != 0 && asked.MTU < c.MTU {
		on, _ := widest(*link, p.machine.Links)
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

// askedFor gives what the object has of a NIC that is wanted.
func (p *planner) askedFor(m nic.MAC) nic.Config {
	return p.asked[slices.IndexFunc(p.asked, func(c nic.Config) bool { return c.MAC == m })]
}

// virtual refuses a MAC that virtual links have and no NIC: no port with it will be plugged in. Links that may just have
// borrowed the MAC of a NIC, which comes back, say nothing.
func (p *planner) virtual(c nic.Config) *Refusal {
	for _, l := range p.machine.Links {
		if l.HasMAC(c.MAC) && !physical(l, p.machine.Kinds) && !slices.Contains(borrowers, l.Kind) {
			return refuse(NotPhysical, "MAC %s is that of link %s, which is virtual (kind %q) and no NIC; name the MAC of a NIC, or take it out of the object", c.MAC, l.Name, l.Kind)
		}
	}
	return nil
}

// borrowers are the kinds of link that take the MAC of one of their members.
var borrowers = []string{"bond", "bridge", "team"}

// inTheWay finds the link of another NIC of ours that has the name c is to have, and is to have another one itself: where two swap their
// names, one must step aside. nil: there is none.
func (p *planner) inTheWay(c nic.Config, l nic.Link) *nic.Link {
	for i, o := range p.machine.Links {
		if o.Index != l.Index && o.Name == c.Name && p.movesOn(o, c.Name) {
			return &p.machine.Links[i]
		}
	}
	return nil
}

// movesOn says whether a link is that of a NIC of ours that is wanted, under another name.
func (p *planner) movesOn(o nic.Link, name string) bool {
	own, ok := p.changeable(o)
	if _, refused := p.refused[own.MAC]; !ok || refused {
		return false
	}
	return slices.ContainsFunc(p.want, func(w nic.Config) bool { return w.MAC == own.MAC && w.Name != name })
}

// comesBehind says whether the link's own NIC is planned for behind c: one before it has left the name when c takes it.
func (p *planner) comesBehind(o nic.Link, c nic.Config) bool {
	at := func(is func(w nic.Config) bool) int { return slices.IndexFunc(p.want, is) }
	return at(func(w nic.Config) bool { return o.HasMAC(w.MAC) }) > at(func(w nic.Config) bool { return w.MAC == c.MAC })
}

// renameBlocked says whether the kernel will not rename a link before the next boot, or the one whose name it is to have, and so on.
func (p *planner) renameBlocked(o nic.Link) bool {
	for range p.machine.Links { // in a circle of names all are asked
		if own, _ := p.changeable(o); own.RenameBlocked && o.Up {
			return true
		}
		i := slices.IndexFunc(p.want, func(w nic.Config) bool { return o.HasMAC(w.MAC) })
		next := p.inTheWay(p.want[i], o)
		if next == nil {
			return false
		}
		o = *next
	}
	return false
}

// makeWay gives a link a name that nobody else has. Its own action, which comes behind, gives it the one that is wanted.
func makeWay(o nic.Link) *nic.Change {
	m := o.Permanent
	if m.IsZero() {
		m = o.MAC
	}
	return &nic.Change{Index: o.Index, MAC: m, Had: o.Name, Name: fmt.Sprintf("mnic-way%d", o.Index)}
}

// remove plans to give a NIC back. A guarded link is not touched, only our memory and files of it go.
func (p *planner) remove(o Owned) (Action, bool) {
	a := Action{Kind: Remove, NIC: o.Config}
	link, ambiguous := p.find(o.Config)
	after := o.give()
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
	a.Message = Spare(&a.Change, *link, p.machine.Links)
	if p.nameTaken(a.Change.Name, link.Index) {
		a.Change.Name = "" // the kernel gave its first name to a NIC that came later: it keeps the present one
	}
	p.given[link.Index] = a.Change.Name
	return a, o.Applied || !a.Change.Empty()
}

// absent says why no link is given back with a NIC.
func (p *planner) absent(c nic.Config, ambiguous *Refusal) string {
	if ambiguous != nil {
		return ambiguous.Message
	}
	for _, l := range p.machine.Links { // also one that was ours before its kind was taken out of links.virtual_kinds
		if r := NotOurs(l, p.machine); l.HasMAC(c.MAC) && r != nil {
			return r.Message
		}
	}
	if slices.Contains(p.machine.Elsewhere, c.MAC) {
		return elsewhere(c.MAC)
	}
	return fmt.Sprintf("no NIC with MAC %s is plugged in", c.MAC)
}

func elsewhere(m nic.MAC) string {
	return fmt.Sprintf("NIC %s: its device is there, its link is in another network namespace, as if a Pod has it", m)
}

func (p *planner) nameTaken(name string, index int) bool {
	return name != "" && slices.ContainsFunc(p.machine.Links, func(o nic.Link) bool {
		return o.Index != index && (o.Answers(name) || p.given[o.Index] == name)
	})
}

// find looks for the one link that a NIC means: nil and no refusal if it is not there. A NIC may have an enslaved twin of the
// same MAC, which the kernel uses for it (the VF of an hv_netvsc or of a net_failover): that one does not count beside it.
func (p *planner) find(c nic.Config) (*nic.Link, *Refusal) {
	var found []nic.Link
	for _, l := range p.machine.Links {
		if l.HasMAC(c.MAC) && physical(l, p.machine.Kinds) {
			found = append(found, l)
		}
	}
	if free := slices.DeleteFunc(slices.Clone(found), func(l nic.Link) bool { return l.Master != 0 }); len(free) > 0 {
		found = free
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return &found[0], nil
	}
	slices.SortFunc(found, func(a, b nic.Link) int { return cmp.Compare(a.Index, b.Index) })
	return nil, refuse(AmbiguousMAC, "%d links have MAC %s (%s, %s); give each its own", len(found), c.MAC, found[0].Name, found[1].Name)
}
