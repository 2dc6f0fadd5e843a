package hosttest

import (
	"net/netip"

	"multinicd/nic"
)

// AnyConfig is a NIC made of what a fuzzer gives: an id and a name that fit, and besides addresses,
// routes and rules of any form that their types allow. No object would get so far with most of them.
func AnyConfig(id int, mac []byte, mtu int, addresses, routes []byte, zone string, metric, table int) nic.Config {
	c := nic.Config{ID: int(uint(id) % (nic.MaxID + 1)), MTU: mtu, MAC: nic.MAC{2}}
	c.Name = nic.NameFor(c.ID)
	copy(c.MAC[1:], mac)
	c.Addresses = Prefixes(addresses)
	for i, to := range Prefixes(routes) {
		r := nic.Route{To: to.Masked(), Metric: metric, Table: table}
		if i%2 == 0 {
			r.Via, r.OnLink = to.Addr().WithZone(zone), i%4 == 0
		}
		if i%3 == 0 {
			r.Source = to.Addr().WithZone(zone)
		}
		c.Routes = append(c.Routes, r)
		if table > 0 {
			c.Rules = append(c.Rules, nic.Rule{From: to, Table: table, Priority: nic.Priority(c.ID)})
			if i%2 == 1 {
				c.Rules = append(c.Rules, nic.Rule{From: to, To: c.Routes[0].To, Table: table, Priority: nic.OwnFirst})
			}
		}
	}
	return c
}

// Prefixes takes a length and an address of either family, as often as there are bytes.
func Prefixes(b []byte) (out []netip.Prefix) {
	for len(b) >= 5 {
		n, addr := int(b[0]), netip.AddrFrom4([4]byte(b[1:5]))
		b = b[5:]
		if n > 32 && len(b) >= 12 {
			six := addr.As4()
			addr, b = netip.AddrFrom16([16]byte(append(six[:], b[:12]...))), b[12:]
		}
		if p := netip.PrefixFrom(addr, n); p.IsValid() {
			out = append(out, p)
		}
	}
	return out
}
