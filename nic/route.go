package nic

import (
	"fmt"
	"net/netip"
)

// Route is a unicast route through one link. It is comparable.
type Route struct {
	To       netip.Prefix // masked; 0.0.0.0/0 and ::/0 are default routes
	Via      netip.Addr   // zero: on link
	Source   netip.Addr   // preferred source; zero: the kernel chooses
	Metric   int          // 0: the kernel's default (0 for IPv4, 1024 for IPv6)
	Table    int          // 0 means main (254)
	Protocol int          // rtm_protocol, see rtnetlink(7); 0 in what is wanted means RouteProtocol
	OnLink   bool         // Via need not lie in a subnet of the link
}

// Values of a route's Protocol, as in rtnetlink(7) and linux/rtnetlink.h.
const (
	ProtocolKernel        = 2  // RTPROT_KERNEL: made for an address, and goes with it
	ProtocolBoot          = 3  // RTPROT_BOOT: by ip(8), or a script
	ProtocolStatic        = 4  // RTPROT_STATIC: by a network manager
	ProtocolAdvertisement = 9  // RTPROT_RA: by a router advertisement
	ProtocolDHCP          = 16 // RTPROT_DHCP
)

// RouteProtocol marks the routes that we make. Numbers above ProtocolStatic mean nothing to the
// kernel. /etc/iproute2/rt_protos and linux/rtnetlink.h give this number to nobody.
const RouteProtocol = 109

// TableMain is the kernel's main routing table (RT_TABLE_MAIN, linux/rtnetlink.h).
const TableMain = 254

// Key is what makes a route unique on a link: two routes of equal keys are the same route. It has
// the kernel's defaults filled in. Protocol and OnLink are not part of it.
func (r Route) Key() Route {
	r.Protocol, r.OnLink = 0, false
	r.To = r.To.Masked()
	if r.Table == 0 {
		r.Table = TableMain
	}
	if r.Metric == 0 && r.To.Addr().Is6() {
		r.Metric = 1024
	}
	return r
}

// MetBy says whether have is the route that r asks for. A source counts only if r has one.
func (r Route) MetBy(have Route) bool {
	h, w := have.Key(), r.Key()
	if !w.Source.IsValid() {
		h.Source = netip.Addr{}
	}
	return h == w
}

// Excludes says that r and o cannot both stand. There is one IPv6 route for a destination, metric
// and table: the kernel refuses a second one, or joins both. IPv4 routes stand beside each other.
func (r Route) Excludes(o Route) bool {
	a, b := r.Key(), o.Key()
	return a.To.Addr().Is6() && a.To == b.To && a.Metric == b.Metric && a.Table == b.Table
}

// IsDefault says that the route covers every address.
func (r Route) IsDefault() bool { return r.To.Bits() == 0 }

// String is for messages: "10.0.0.0/8 via 192.0.2.1 table 101".
func (r Route) String() string {
	s := r.To.String()
	if r.IsDefault() {
		s = "default"
	}
	if r.Via.IsValid() {
		s += " via " + r.Via.String()
	}
	if r.Source.IsValid() {
		s += " src " + r.Source.String()
	}
	if r.Metric != 0 {
		s += fmt.Sprintf(" metric %d", r.Metric)
	}
	if r.Table != 0 && r.Table != TableMain {
		s += fmt.Sprintf(" table %d", r.Table)
	}
	return s
}
