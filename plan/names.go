package plan

import (
	"slices"

	"multinicd/nic"
)

// Names gives the changes that give the links of our NICs their names back at boot, before anybody has
// set them up: cloud-init calls a NIC that it knows by its own name at every boot, and older kernels
// rename no link that is up. A link that is up, and a name that another link has, are left to the daemon.
// Nothing but names is in the changes. m needs Links, Deny and Kinds.
func Names(m Machine, rec Record) (out []nic.Change) {
	p := planner{machine: m, record: rec}
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
