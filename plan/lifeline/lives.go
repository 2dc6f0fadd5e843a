package lifeline

import (
	"fmt"
	"net/netip"
	"slices"

	"multinicd/nic"
)

// Life says why the node lives by a link.
type Life struct {
	Why string // with the evidence; a clause that follows the link's name: "holds 192.0.2.10, ..."
	// Default: because of its default route, and of nothing else. Silent: because the API server
	// does not answer through the link whose default route would remain. At most one of them is
	// set.
	Default, Silent bool
}

// Lives says why the node lives by link l, or nil. The node lives by a link that holds its address,
// that carries the path to the API server, or whose default route counts (see counting), and by all
// that lies below such a link. Whoever asks is about to change l: l counts as named by the object.
//
// l is taken as given, also where h.Links shows it otherwise. It need not be in h.Links.
func (h Host) Lives(l nic.Link) *Life {
	f := life{Host: h, asked: l}
	f.Links = append(slices.DeleteFunc(slices.Clone(h.Links), func(o nic.Link) bool { return o.Index == l.Index }), l)
	for _, o := range f.above(l) {
		if found := f.by(o); found != nil {
			if o.Index != l.Index {
				found.Why = "lies below " + o.Name + ", which " + found.Why
			}
			return found
		}
	}
	return nil
}

// ToAsk lists the links, by ifindex and sorted, of which h.Answers should tell. A NIC that is
// named, or ours, may carry the path to the API server by its own default route: then these are the
// links whose default route would remain. Mostly there is none, and nothing has to be asked.
func (h Host) ToAsk() (out []int) {
	for _, l := range h.Links {
		f := life{Host: h}
		if !f.named(l) {
			continue
		}
		f.asked = l
		for _, w := range h.Paths {
			if w.Index != l.Index || !f.gives(l, w) {
				continue
			}
			remain, _ := f.remain(l, w)
			if slices.ContainsFunc(remain, func(c candidate) bool { return c.link.Index == l.Index }) {
				continue // protected, whatever answers
			}
			for _, c := range remain {
				out = append(out, c.link.Index)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Remaining says which default route is the node's from now on where link l loses its own with what
// is taken over: the end of a sentence. "" where l has none that others follow.
func (h Host) Remaining(l nic.Link) (out string) {
	f := life{Host: h, asked: l}
	for _, t := range f.tables(l) {
		counting, why := f.counting(t)
		if t.table == nic.TableMain && len(counting) > 0 && counting[0].link.Index != l.Index {
			out += fmt.Sprintf("; the node's default route of %s is that of link %s, since %s (%s)", t, counting[0].link.Name, why, counting[0].route)
		}
	}
	return out
}

// life is the question by which links the node lives. Its Links are as they would be with asked.
type life struct {
	Host
	asked nic.Link
}

// by says why the node lives by link o alone, whatever lies on it.
func (f *life) by(o nic.Link) *Life {
	for _, a := range f.NodeAddrs {
		if o.Holds(a.Addr) {
			return &Life{Why: fmt.Sprintf("holds %s, the node's address (%s)", a.Addr, a.Evidence)}
		}
	}
	for _, w := range f.Paths {
		switch {
		case w.To.IsValid() && o.Holds(w.To):
			return &Life{Why: fmt.Sprintf("holds %s, the address of %s", w.To, w.What)}
		case w.Index == o.Index && w.Index != 0:
			if f.gives(o, w) {
				continue
			}
			return &Life{Why: fmt.Sprintf("carries the path to %s (%s)", w.What, w.To)}
		case w.Source.IsValid() && o.Holds(w.Source):
			return &Life{Why: fmt.Sprintf("holds %s, the node's own address towards %s", w.Source, w.What)}
		}
	}
	for _, t := range f.tables(o) {
		counting, why := f.counting(t)
		if i := slices.IndexFunc(counting, func(c candidate) bool { return c.link.Index == o.Index }); i >= 0 {
			return &Life{Why: fmt.Sprintf("has the default route of %s that counts, since %s (%s)", t, why, counting[i].route), Default: true}
		}
	}
	for _, w := range f.Paths {
		if w.Index == o.Index && w.Index != 0 {
			if found := f.silent(o, w); found != nil {
				return found
			}
		}
	}
	return nil
}

// gives says whether the path w goes by a default route of o, where o is the link that is asked
// about. Such a path may move to the default route that remains, if the API server answers through
// it. A path by a longer route has no other way that we know of.
func (f *life) gives(o nic.Link, w Path) bool {
	return o.Index == f.asked.Index && w.byDefault(o, f.Links)
}

// byDefault says whether the path leaves link l, by which it goes, by nothing longer than a default
// route. It follows from the routes of l, and from who looks up their tables.
func (w Path) byDefault(l nic.Link, links []nic.Link) bool {
	found := false
	for _, r := range l.Routes {
		if r.To.Addr().Is4() != w.To.Is4() || !r.To.Contains(w.To) || !open(r, l, links) {
			continue
		}
		if !r.IsDefault() {
			return false
		}
		found = true
	}
	return found
}

// silent says why a path has nowhere to go, if its default route does not count. nil: the API
// server answers through each link whose default route counts and so would remain.
func (f *life) silent(o nic.Link, w Path) *Life {
	remain, why := f.remain(o, w)
	if len(remain) == 0 {
		return &Life{Why: fmt.Sprintf("carries the only path to %s (%s)", w.What, w.To)}
	}
	for _, c := range remain {
		if !slices.Contains(f.Answers, c.link.Index) {
			return &Life{Why: fmt.Sprintf("carries the path to %s (%s) now, and there is no answer through %s, whose default route would remain (%s)", w.What, w.To, c.link.Name, why), Silent: true}
		}
	}
	return nil
}

// remain gives the links by whose default routes a path goes on when it leaves o: those that count,
// and those that the kernel follows next.
func (f *life) remain(o nic.Link, w Path) ([]candidate, string) {
	main := family{w.To.Is4(), nic.TableMain}
	counting, why := f.counting(main)
	if len(counting) == 0 {
		return nil, ""
	}
	others := slices.DeleteFunc(f.defaults(main), func(c candidate) bool { return c.link.Index == o.Index })
	for _, c := range others {
		better := slices.ContainsFunc(others, func(b candidate) bool { return b.route.Key().Metric < c.route.Key().Metric })
		if !better && !slices.ContainsFunc(counting, func(h candidate) bool { return h.link.Index == c.link.Index }) {
			counting = append(counting, c)
		}
	}
	return counting, why
}

// family is a routing table as far as it is of one address family.
type family struct {
	four  bool
	table int
}

func (t family) String() string {
	s := "IPv6"
	if t.four {
		s = "IPv4"
	}
	if t.table != nic.TableMain {
		s += fmt.Sprintf(" in table %d", t.table)
	}
	return s
}

// tables lists where link o has a default route that others than o itself may follow.
func (f *life) tables(o nic.Link) (out []family) {
	for _, r := range o.Routes {
		t := family{r.To.Addr().Is4(), r.Key().Table}
		if r.IsDefault() && open(r, o, f.Links) && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// candidate is a link with a default route, and of several the one of the lowest metric.
type candidate struct {
	link  nic.Link
	route nic.Route
	drift bool // a DHCP client brought it to a NIC that is ours and in force
}

// candidates lists the links that have a default route in a table, without drift where there is
// another.
//
// On a NIC of ours that is in force, a default route by a router advertisement is always drift: our
// files keep it away from the next boot on. A default route by a DHCP client is drift where there
// is another default route.
func (f *life) candidates(t family) []candidate {
	out := f.defaults(t)
	meant := slices.DeleteFunc(slices.Clone(out), func(c candidate) bool { return c.drift })
	if len(meant) > 0 {
		return meant
	}
	return out
}

// defaults lists the links that have a default route in a table, except links of ours that have it
// by a router advertisement alone.
func (f *life) defaults(t family) (out []candidate) {
	for _, o := range f.Links {
		ours := f.ours(o)
		found := false
		c := candidate{link: o}
		for _, r := range o.Routes {
			if !r.IsDefault() || r.To.Addr().Is4() != t.four || r.Key().Table != t.table || !open(r, o, f.Links) || ours && r.Protocol == nic.ProtocolAdvertisement {
				continue
			}
			drift := ours && r.Protocol == nic.ProtocolDHCP
			if !found || c.drift && !drift || c.drift == drift && r.Key().Metric < c.route.Key().Metric {
				found, c.route, c.drift = true, r, drift
			}
		}
		if found {
			out = append(out, c)
		}
	}
	return out
}

// counting gives the links whose default route counts in a table, and why.
//
// The links that hold the node's address count. If none of them has a default route, the link by
// which the kernel leads to the API server counts; else the link of the lowest metric. Of several
// equal links, those count that the object does not name; if it names them all, all count. Chance
// decides which of several equal routes the kernel follows: whose lease came first.
func (f *life) counting(t family) (out []candidate, why string) {
	all := f.candidates(t)
	if len(all) == 1 {
		return all, "it is the only one"
	}
	for _, c := range all {
		for _, a := range f.NodeAddrs {
			if a.Addr.Is4() == t.four && c.link.Holds(a.Addr) {
				out, why = append(out, c), fmt.Sprintf("%s, the node's address, is on the link", a.Addr)
				break
			}
		}
	}
	if len(out) > 0 {
		return out, why
	}
	why = "it leads to the API server now"
	best := slices.DeleteFunc(slices.Clone(all), func(c candidate) bool {
		return !slices.ContainsFunc(f.Paths, func(w Path) bool { return w.Index == c.link.Index && w.To.IsValid() && w.To.Is4() == t.four })
	})
	if len(best) == 0 && len(all) > 0 {
		why = "its metric is the lowest"
		best = []candidate{slices.MinFunc(all, func(a, b candidate) int { return a.route.Key().Metric - b.route.Key().Metric })}
	}
	counts := map[int]bool{}
	for _, b := range best {
		equal := slices.DeleteFunc(slices.Clone(all), func(c candidate) bool { return !tied(b.route, c.route, len(all)) })
		unnamed := slices.DeleteFunc(slices.Clone(equal), func(c candidate) bool { return f.named(c.link) })
		if len(unnamed) > 0 && len(unnamed) < len(equal) {
			equal, why = unnamed, "of equal ones the object does not name its link"
		}
		for _, c := range equal {
			counts[c.link.Index] = true
		}
	}
	return slices.DeleteFunc(all, func(c candidate) bool { return !counts[c.link.Index] }), why
}

// tied says whether chance alone decided between two default routes: their metrics are equal, or
// the same DHCP client gave both on n links. NetworkManager adds 1 for each link that came before.
func tied(a, b nic.Route, n int) bool {
	d := a.Key().Metric - b.Key().Metric
	lease := a.Protocol == b.Protocol && (a.Protocol == nic.ProtocolDHCP || a.Protocol == nic.ProtocolAdvertisement)
	return d == 0 || lease && max(d, -d) < n
}

// named says whether a link is that of a NIC which the object names, or which is ours.
func (f *life) named(l nic.Link) bool {
	return l.Index == f.asked.Index || l.Physical(f.Kinds) &&
		(slices.ContainsFunc(f.Ours, l.HasMAC) || slices.ContainsFunc(f.Named, l.HasMAC))
}

// ours says whether a link is that of a NIC in force, and not one that lies on it and has its MAC.
func (f *life) ours(l nic.Link) bool {
	return l.Physical(f.Kinds) && slices.ContainsFunc(f.Ours, l.HasMAC)
}

// tableDefault is the kernel's table behind main (RT_TABLE_DEFAULT, linux/rtnetlink.h). Everybody
// looks this table up, as main.
const tableDefault = 253

// open says whether anybody except the link itself looks up the table of its route r. Nobody else
// does where the table is ours or the former agent's, or where all rules that lead there are for
// addresses of the link. A table to which no rule leads may be a VRF's, and counts as open.
func open(r nic.Route, l nic.Link, links []nic.Link) bool {
	t := r.Key().Table
	if nic.OwnTable(t) || len(l.Former) > 0 && nic.FormerTable(t) {
		return false
	}
	if t == nic.TableMain || t == tableDefault {
		return true
	}
	led := false
	for _, rule := range l.Rules {
		if rule.Table == t && ofFamily(rule, r.To.Addr().Is4()) {
			if !ofLink(rule, l, links) {
				return true
			}
			led = true
		}
	}
	return !led
}

// ofFamily says whether a rule is for IPv4 (four), or for IPv6. A rule without addresses counts for
// both.
func ofFamily(r nic.Rule, four bool) bool {
	a := r.From.Addr()
	if !a.IsValid() {
		a = r.To.Addr()
	}
	return !a.IsValid() || a.Is4() == four
}

// ofLink says whether a rule is only for what comes from addresses of the link: one address, or the
// link's subnet where no other link has an address in it.
func ofLink(r nic.Rule, l nic.Link, links []nic.Link) bool {
	from := func(is func(netip.Prefix) bool) bool {
		return slices.ContainsFunc(l.Addresses, func(a nic.Address) bool { return is(a.Prefix) })
	}
	if r.Other || r.NoDefault || !r.From.IsValid() {
		return false
	}
	if r.From.IsSingleIP() {
		return from(func(a netip.Prefix) bool { return a.Addr() == r.From.Addr() })
	}
	return from(func(a netip.Prefix) bool { return a.Masked() == r.From }) && !slices.ContainsFunc(links, func(o nic.Link) bool {
		return o.Index != l.Index && slices.ContainsFunc(o.Addresses, func(a nic.Address) bool { return r.From.Contains(a.Prefix.Addr()) })
	})
}

// above gives a link and all links that lie on it, however far: VLANs and macvlans, and the bonds,
// bridges and VRFs to which one of these links belongs.
func (f *life) above(l nic.Link) []nic.Link {
	out := []nic.Link{l}
	for i := 0; i < len(out); i++ {
		for _, o := range f.Links {
			if (o.Lower != 0 && o.Lower == out[i].Index || o.Index != 0 && o.Index == out[i].Master) && !slices.ContainsFunc(out, func(h nic.Link) bool { return h.Index == o.Index }) {
				out = append(out, o)
			}
		}
	}
	return out
}
