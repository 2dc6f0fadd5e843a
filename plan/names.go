package plan

import (
	"slices"

	"multinicd/nic"
)

// Names gives the changes by which the links of our NICs get their names back at boot, before
// anybody has set the links up. cloud-init gives a NIC that it knows its own name at every boot,
// and older kernels rename no link that is up. The daemon sees to a link that is up, and to a name
// that another link has. The changes have nothing but names. m needs Links, Deny and Kinds.
func Names(m View, rec Record) (out []nic.Change) {
	p := planner{view: m, record: rec}
	for _, o := range rec.NICs {
		l, refusal := p.find(o.Config)
		if !o.Applied || o.Config.Name == "" || l == nil || refusal != nil || l.Up || l.Name == o.Config.Name || NotOurs(*l, m) != nil {
			continue
		}
		taken := slices.ContainsFunc(m.Links, func(other nic.Link) bool { return other.Answers(o.Config.Name) })
		if !taken {
			out = append(out, nic.Change{Index: l.Index, MAC: o.MAC, Had: l.Name, Name: o.Config.Name})
		}
	}
	return out
}
