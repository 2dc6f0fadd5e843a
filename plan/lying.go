package plan

import (
	"fmt"
	"slices"

	"multinicd/nic"
)

// Links may lie on one of ours: a VLAN, a Pod's macvlan. When the link below gets a smaller MTU,
// the kernel makes theirs smaller too, and never greater again. When the link below is set down,
// the kernel sets VLANs down too, and their routes are lost. So the link below is not made smaller
// than they are, and not set down under a link that is up. A macvlan in another network namespace,
// as a Pod's usually is, is not seen from here.

// lying gives the links that lie on l, in the order of links.
func lying(l nic.Link, links []nic.Link) (out []nic.Link) {
	for _, o := range links {
		if o.Lower == l.Index && o.Lower != 0 && o.Index != l.Index {
			out = append(out, o)
		}
	}
	return out
}

// widest gives the link on l with the greatest MTU.
func widest(l nic.Link, links []nic.Link) (nic.Link, bool) {
	on := lying(l, links)
	if len(on) == 0 {
		return nic.Link{}, false
	}
	return slices.MaxFunc(on, func(a, b nic.Link) int { return a.MTU - b.MTU }), true
}

// roomy gives the MTU that a NIC can have, of the one that is wanted.
func (p *planner) roomy(c nic.Config) int {
	l, refusal := p.find(c)
	if l == nil || refusal != nil || c.MTU == 0 {
		return c.MTU
	}
	if on, ok := widest(*l, p.view.Links); ok && on.MTU > c.MTU && on.MTU <= l.MTU {
		return on.MTU
	}
	return c.MTU
}

// Spare takes out of a change of link l what would hurt the links that lie on l. note says what was
// taken out; "": nothing.
func Spare(ch *nic.Change, l nic.Link, links []nic.Link) (note string) {
	if on, ok := widest(l, links); ok && ch.MTU != 0 && ch.MTU < min(on.MTU, l.MTU) {
		note = fmt.Sprintf("link %s keeps MTU %d, since link %s, which lies on it, needs that", l.Name, on.MTU, on.Name)
		if ch.MTU = on.MTU; ch.MTU >= l.MTU {
			ch.MTU, ch.HadMTU = 0, 0
		}
	}
	for _, on := range lying(l, links) {
		if ch.Down && on.Up {
			ch.Down = false
			note = fmt.Sprintf("link %s stays up, since link %s lies on it", l.Name, on.Name)
		}
	}
	return note
}
