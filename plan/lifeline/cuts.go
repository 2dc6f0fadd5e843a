package lifeline

import (
	"fmt"
	"net/netip"
	"slices"

	"multinicd/nic"
)

// Cuts says whose traffic a route in main to dst through l would draw, of what the node lives by;
// "": of none. It asks for the API server, its next hop, the subnet of the node's address, and the
// next hop of each default route. The answer is the end of a sentence: "for 192.0.2.1, which is
// ...". A destination counts where the present way there is a shorter prefix.
func (h Host) Cuts(dst netip.Prefix, l nic.Link) string {
	drawn := func(a netip.Addr, by int) bool {
		return dst.Contains(a) && dst.Bits() > h.longest(netip.PrefixFrom(a, a.BitLen()), by)
	}
	for _, a := range h.NodeAddrs {
		i := slices.IndexFunc(h.Links, func(o nic.Link) bool { return o.Holds(a.Addr) })
		if i >= 0 && h.Links[i].Index != l.Index && drawn(a.Addr, h.Links[i].Index) {
			return fmt.Sprintf("around %s, the node's address (%s)", a.Addr, a.Evidence)
		}
	}
	for _, w := range h.Paths {
		ends, by := []netip.Addr{w.To, w.Via, w.Source}, w.Index
		// The path goes by a default route that is to go (see Lives); the one that remains is as
		// short.
		if w.Index == l.Index {
			ends, by = ends[:1], 0
		}
		for _, to := range ends {
			if to.IsValid() && drawn(to, by) {
				return fmt.Sprintf("for %s, which is %s", to, w.What)
			}
		}
	}
	for _, o := range h.Links {
		for _, r := range o.Routes {
			if o.Index != l.Index && r.IsDefault() && r.Key().Table == nic.TableMain && r.Via.IsValid() && drawn(r.Via, o.Index) {
				return fmt.Sprintf("for %s, the gateway of the default route of %s", r.Via, o.Name)
			}
		}
	}
	return ""
}

// metadata is where clouds answer machines that ask who they are.
var metadata = []Protected{
	{To: netip.MustParsePrefix("169.254.0.0/16"), What: "the cloud's metadata (link-local)"},
	{To: netip.MustParsePrefix("fd00:ec2::254/128"), What: "the cloud's metadata"},
}

// Draws gives the protected destination whose traffic a route to dst through l would draw, or nil.
func (h Host) Draws(dst netip.Prefix, table int, l nic.Link) *Protected {
	for _, d := range slices.Concat(metadata, h.Protect) {
		if !dst.Overlaps(d.To) || dst.Addr().IsLinkLocalUnicast() && dst.Addr().Is6() {
			continue
		}
		if table == nic.TableMain && slices.ContainsFunc(h.Links, func(o nic.Link) bool {
			return o.Index != l.Index && h.longest(d.To, o.Index) >= dst.Bits()
		}) {
			continue // by another link, whatever we add
		}
		if d.Here && h.longest(d.To, l.Index) > 0 {
			continue
		}
		return &d
	}
	return nil
}

// longest is the longest prefix in main by which link index reaches all of dst now; 0: by none, or
// by a default route only. A longer prefix wins over any route that we add. An equal prefix may
// lose, by its metric: the probe after the change shows that.
func (h Host) longest(dst netip.Prefix, index int) (bits int) {
	for _, l := range h.Links {
		for _, r := range l.Routes {
			if l.Index == index && r.Key().Table == nic.TableMain && r.To.Bits() <= dst.Bits() && r.To.Contains(dst.Addr()) {
				bits = max(bits, r.To.Bits())
			}
		}
	}
	return bits
}
