package hosttest

import (
	"net/netip"
	"strings"

	"multinicd/nic"
)

// MAC is 02:00:00:00:01:<last>.
func MAC(last byte) nic.MAC { return nic.MAC{2, 0, 0, 0, 1, last} }

// Config is NIC id with MAC(id) and these addresses.
func Config(id int, addrs ...string) nic.Config {
	c := nic.Config{ID: id, Name: nic.NameFor(id), MAC: MAC(byte(id))}
	for _, a := range addrs {
		c.Addresses = append(c.Addresses, netip.MustParsePrefix(a))
	}
	return c
}

// Link is eth<id>, ifindex 10 + id, with the MAC of Config(id): there, down, and nobody's.
func Link(id int) nic.Link {
	return nic.Link{Index: 10 + id, Name: "eth" + string(rune('0'+id)), MAC: MAC(byte(id)), Device: true, MTU: 1500, MinMTU: 68, MaxMTU: 9000}
}

// Up is the link as it is once c was applied to it.
func Up(l nic.Link, c nic.Config) nic.Link {
	l.Name, l.Up, l.Carrier = c.Name, true, true
	for _, a := range c.Addresses {
		l.Addresses = append(l.Addresses, nic.Address{Prefix: a, Permanent: true})
		l.Routes = append(l.Routes, nic.Route{To: a.Masked(), Source: a.Addr(), Protocol: nic.ProtocolKernel})
	}
	for _, r := range c.Routes {
		r.Protocol = nic.RouteProtocol
		l.Routes = append(l.Routes, r)
	}
	return l
}

// Route reads "10.0.0.0/8", or "10.0.0.0/8 192.0.2.1" by way of a next hop.
func Route(s string) nic.Route {
	to, via, ok := strings.Cut(s, " ")
	r := nic.Route{To: netip.MustParsePrefix(to)}
	if ok {
		r.Via = netip.MustParseAddr(via)
	}
	return r
}

// RouteFrom is the route with a source.
func RouteFrom(source string, r nic.Route) nic.Route {
	r.Source = netip.MustParseAddr(source)
	return r
}

// StockLinks are a primary, eth0 with ifindex 2, by which everything goes, Link(1) and Link(2).
func StockLinks() []nic.Link {
	eth0 := nic.Link{Index: 2, Name: "eth0", MAC: MAC(0xee), Device: true, Up: true, Carrier: true, MTU: 1500,
		Addresses: []nic.Address{{Prefix: netip.MustParsePrefix("192.0.2.10/24"), Permanent: true}, {Prefix: netip.MustParsePrefix("2001:db8:2::10/64"), Permanent: true}},
		Routes:    []nic.Route{Route("0.0.0.0/0 192.0.2.254"), Route("::/0 fe80::1"), RouteFrom("192.0.2.10", Route("192.0.2.0/24")), Route("2001:db8:2::/64")}}
	return []nic.Link{eth0, Link(1), Link(2)}
}
