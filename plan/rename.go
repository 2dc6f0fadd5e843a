package plan

import (
	"fmt"
	"slices"

	"multinicd/nic"
)

// inTheWay finds the link of another NIC of ours that has the name c is to have, and is to have
// another one itself: where two swap their names, one must step aside. nil: there is none.
func (p *planner) inTheWay(c nic.Config, l nic.Link) *nic.Link {
	for i, o := range p.view.Links {
		if o.Index != l.Index && o.Name == c.Name && p.movesOn(o, c.Name) {
			return &p.view.Links[i]
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

// comesBehind says whether the link's own NIC is planned for behind c: one before it has left the
// name when c takes it.
func (p *planner) comesBehind(o nic.Link, c nic.Config) bool {
	at := func(is func(w nic.Config) bool) int { return slices.IndexFunc(p.want, is) }
	return at(func(w nic.Config) bool { return o.HasMAC(w.MAC) }) > at(func(w nic.Config) bool { return w.MAC == c.MAC })
}

// renameBlocked says whether the kernel will not rename a link before the next boot, or the one
// whose name it is to have, and so on.
func (p *planner) renameBlocked(o nic.Link) bool {
	for range p.view.Links { // in a circle of names all are asked
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

// makeWay gives a link a name that nobody else has. Its own action, which comes behind, gives it
// the one that is wanted.
func makeWay(o nic.Link) *nic.Change {
	m := o.Permanent
	if m.IsZero() {
		m = o.MAC
	}
	return &nic.Change{Index: o.Index, MAC: m, Had: o.Name, Name: fmt.Sprintf("mnic-way%d", o.Index)}
}
