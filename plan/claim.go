package plan

import (
	"slices"

	"multinicd/nic"
)

// foreign says whether somebody else configured the link and the object does not say that it may be taken over.
func (p *planner) foreign(c nic.Config, l nic.Link, o Owned, known bool) *Refusal {
	if known && o.Applied || c.Adopt {
		return nil
	}
	if l.Claim != nil {
		return refuse(ForeignConfig, "link %s is configured by %s: %s; remove that, or set adopt: true to take it over", l.Name, l.Claim.Owner, l.Claim.Evidence)
	}
	if len(l.Former) > 0 {
		return nil // it did what we do now, for the same NICs
	}
	for _, a := range l.Addresses {
		retired := slices.ContainsFunc(o.Retired, func(r Retired) bool { return r.Address == a.Prefix })
		if global(a) && !retired && !slices.Contains(c.Addresses, a.Prefix) {
			return refuse(ForeignConfig, "link %s already has address %s, which is not ours; remove it, or set adopt: true to take the link over", l.Name, a.Prefix)
		}
	}
	return nil
}

// global says whether the address was configured: link-local ones and what IPv6 made of router advertisements were not.
func global(a nic.Address) bool {
	ip := a.Prefix.Addr()
	return !ip.IsLinkLocalUnicast() && (a.Permanent || ip.Is4())
}
