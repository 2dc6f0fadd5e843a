package daemon

import (
	"maps"

	"multinicd/plan"
)

// remember notes the ifindexes of our links, whose events count, and 0 where rules of ours can be
// lost. The new list takes the place of the old one at once: an event in between must not find a
// list that is being made.
func (d *Daemon) remember(m plan.View) {
	indexes := map[int]bool{}
	for _, o := range d.Applier.Record().NICs {
		if d.own.pace.Fights[o.MAC].Holds(d.now()) {
			continue // what is told of it wakes us for nothing
		}
		if len(o.Config.Rules) > 0 {
			indexes[0] = true
		}
		for _, l := range m.Links {
			if l.HasMAC(o.MAC) {
				indexes[l.Index] = true
			}
		}
	}
	d.indexes.Store(&indexes)
}

// rememberToo adds a link to those whose events count.
func (d *Daemon) rememberToo(index int) {
	if d.ours(index) {
		return
	}
	indexes := map[int]bool{index: true}
	if had := d.indexes.Load(); had != nil {
		maps.Copy(indexes, *had)
	}
	d.indexes.Store(&indexes)
}

// ours says whether events about a link count. Any goroutine may ask.
func (d *Daemon) ours(index int) bool {
	indexes := d.indexes.Load()
	return indexes != nil && (*indexes)[index]
}
