package plan

import (
	"net/netip"
	"slices"
	"strings"

	"multinicd/nic"
)

// Record is what we own on this host, kept on disk between runs.
type Record struct {
	NICs []Owned // unique MAC, sorted by MAC
}

// Owned is what we remember of one NIC.
type Owned struct {
	MAC     nic.MAC
	Config  nic.Config // applied last
	Applied bool       // Config is in force; false once the NIC was given back
	Found   Found      // the link as we first found it
	Adopted bool       // somebody else's configuration was taken over
	Device  string     `json:",omitempty"` // the link's Parent, when it was here last
	From    string     `json:",omitempty"` // a sentence: whose it was, and how we know
	// Backend wrote Config, for these reasons; "" is netplan, the only one there was at first.
	Backend  string    `json:",omitempty"`
	Evidence []string  `json:",omitempty"`
	Conf     *nic.Conf `json:",omitempty"` // the link's own, before Config.Apart changed it; else nil
	// Conf6 is the link's own, before our first change of it; nil where we cannot set it.
	Conf6 *nic.Conf6 `json:",omitempty"`
	// Beside are the subnets of the NIC in which a link was that is not ours, when we last looked.
	Beside  []netip.Prefix `json:",omitempty"`
	Retired []Retired      `json:",omitempty"` // ours or taken over, and wanted no more; sorted
	// RenameBlocked: in this boot the kernel refused to rename the link while it is up.
	RenameBlocked bool `json:",omitempty"`
}

// Found is a link before our first change of it.
type Found struct {
	Name string
	MTU  int
	Up   bool
}

// FoundThen is what From says, for whoever reads it later: what was found is of the time when the NIC
// was taken over, and may be another by now.
func FoundThen(from string) string {
	whose, evidence, cut := strings.Cut(from, ": ")
	if !cut {
		return from
	}
	return whose + ", found then: " + evidence
}

// Retired is one address, one route or one rule that must not come back. Exactly one of them is
// set.
type Retired struct {
	Address netip.Prefix `json:",omitzero"`
	Route   *nic.Route   `json:",omitempty"`
	Rule    *nic.Rule    `json:",omitempty"`
	// Edited: nobody wanted the address; somebody had written it into a file of ours.
	Edited bool `json:",omitempty"`
}

// maxRetired bounds the memory per NIC. A network manager's stale state is what it read when it was
// last started, so the oldest entries may go.
const maxRetired = 256

// Find gives what we remember of a NIC.
func (r Record) Find(m nic.MAC) (Owned, bool) {
	i, ok := slices.BinarySearchFunc(r.NICs, m, func(o Owned, m nic.MAC) int { return o.MAC.Compare(m) })
	if !ok {
		return Owned{}, false
	}
	return r.NICs[i], true
}

// With gives a record in which the NIC is remembered as o, or not at all if o is nil. The receiver
// stays as it is.
func (r Record) With(m nic.MAC, o *Owned) Record {
	i, ok := slices.BinarySearchFunc(r.NICs, m, func(o Owned, m nic.MAC) int { return o.MAC.Compare(m) })
	out := slices.Clone(r.NICs)
	switch {
	case ok && o == nil:
		out = slices.Delete(out, i, i+1)
	case ok:
		out[i] = *o
	case o != nil:
		out = slices.Insert(out, i, *o)
	}
	return Record{NICs: out}
}

// NewBoot gives the record as it counts after a boot. The network managers have read the present
// files, so that nothing stale can come back, and a name that could not be changed has been changed
// by now.
func (r Record) NewBoot() Record {
	out := Record{}
	for _, o := range r.NICs {
		o.Retired, o.RenameBlocked = nil, false
		if o.Applied {
			out.NICs = append(out.NICs, o)
		}
	}
	return out
}

// take gives the record of a NIC once c is in force on l.
func (o Owned) take(c nic.Config, l nic.Link, known bool) Owned {
	out := o
	out.MAC, out.Config, out.Applied = c.MAC, c, true
	if !known {
		out.Found = Found{Name: l.Name, MTU: l.MTU, Up: l.Up}
	}
	out.Device = l.Parent
	var gone []Retired
	if o.Applied {
		gone = retire(o.Config, c)
	}
	why := takesOver(c, l, o)
	if why != "" {
		out.Adopted, out.From = true, why
	}
	// The former agent may have come back to what is ours, and a boot between its file and ours
	// brings both.
	if why != "" || len(l.Former) > 0 {
		gone = append(gone, former(c, l)...)
	}
	if why != "" {
		gone = append(gone, formerly(c, l)...)
	}
	switch {
	case !c.Apart:
		out.Conf = nil
	case out.Conf == nil:
		out.Conf = &l.Conf
	}
	if out.Conf6 == nil {
		out.Conf6 = l.Conf6
	}
	out.Retired = merge(o.unedited(l), append(gone, edited(o, c, l)...), c)
	return out
}

// edited lists the addresses that somebody has written into our files of a NIC. A network manager
// brings such an address, at once or a while later. An address that the same somebody, or another,
// has put on the link by hand is that one's own.
func edited(o Owned, c nic.Config, l nic.Link) (gone []Retired) {
	for _, p := range l.Written {
		if o.Applied && !slices.Contains(c.Addresses, p) && !slices.Contains(o.Config.Addresses, p) && !byHandNow(l, p) {
			gone = append(gone, Retired{Address: p, Edited: true})
		}
	}
	return gone
}

// unedited lists what is retired of a NIC, without what had been in our files only, and was put on
// the link by hand since.
func (o Owned) unedited(l nic.Link) []Retired {
	return slices.DeleteFunc(slices.Clone(o.Retired), func(r Retired) bool { return r.Edited && byHandNow(l, r.Address) })
}

func byHandNow(l nic.Link, p netip.Prefix) bool {
	return slices.ContainsFunc(l.Addresses, func(a nic.Address) bool { return a.Prefix == p && a.Hand })
}

// retired says whether an address was ours, or taken over, and is wanted no more.
func (o Owned) retired(a netip.Prefix) bool {
	return slices.ContainsFunc(o.Retired, func(r Retired) bool { return r.Address == a })
}

// inForce lists the NICs whose configuration is in force.
func (r Record) inForce() (out []nic.MAC) {
	for _, o := range r.NICs {
		if o.Applied {
			out = append(out, o.MAC)
		}
	}
	return out
}

// configured says whether a network manager put the route there, not the kernel, a container
// network or a routing daemon.
func configured(r nic.Route) bool {
	return r.Protocol == nic.ProtocolBoot || r.Protocol == nic.ProtocolStatic || r.Protocol == nic.ProtocolDHCP
}

// give gives the record of a NIC once it was given back. l is its link, and zero where there is
// none.
func (o Owned) give(l nic.Link) Owned {
	out := o
	if o.Applied {
		gone := append(retire(o.Config, nic.Config{}), edited(o, nic.Config{}, l)...)
		out.Retired = merge(o.unedited(l), gone, nic.Config{})
	}
	out.Applied = false
	return out
}

// retire lists what old has and new has not.
func retire(old, c nic.Config) []Retired {
	var out []Retired
	for _, a := range old.Addresses {
		if !slices.Contains(c.Addresses, a) {
			out = append(out, Retired{Address: a})
		}
	}
	for _, r := range old.Routes {
		if !serves(c, r) {
			out = append(out, Retired{Route: &r})
		}
	}
	for _, r := range old.Rules {
		if !slices.Contains(c.Rules, r) {
			out = append(out, Retired{Rule: &r})
		}
	}
	return out
}

// merge joins both lists, the newest last, without what is wanted (again), at most maxRetired.
func merge(old, gone []Retired, c nic.Config) []Retired {
	var out []Retired
	for _, r := range append(slices.Clone(old), gone...) {
		wanted := r.Address.IsValid() && slices.Contains(c.Addresses, r.Address) || r.Route != nil && serves(c, *r.Route) ||
			r.Rule != nil && slices.Contains(c.Rules, *r.Rule)
		if !wanted && !slices.ContainsFunc(out, r.equal) {
			out = append(out, r)
		}
	}
	if len(out) > maxRetired {
		out = out[len(out)-maxRetired:]
	}
	return out
}

func (r Retired) equal(o Retired) bool {
	if r.Route != nil && o.Route != nil {
		return r.Route.Key() == o.Route.Key()
	}
	if r.Rule != nil && o.Rule != nil {
		return *r.Rule == *o.Rule
	}
	return r.Route == nil && o.Route == nil && r.Rule == nil && o.Rule == nil && r.Address == o.Address
}
