package networkmanager

import (
	"crypto/sha1" // an identifier of RFC 9562, version 5, is made with it
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"multinicd/nic"
)

// AutoconnectPriority is the greatest that there is: at boot our profile is chosen before any other
// that is for the link too.
const AutoconnectPriority = 999

// PrefixMetric6 is the kernel's own metric of the route that an IPv6 address brings
// (IP6_RT_PRIO_ADDRCONF, include/net/ip6_route.h).
const PrefixMetric6 = 256

// UUID is that of the NIC's profile. It follows from the MAC alone: the same after every run and
// under every id.
func UUID(m nic.MAC) string {
	sum := sha1.Sum(append([]byte("multinicd NIC "), m[:]...))
	sum[6], sum[8] = sum[6]&0x0f|0x50, sum[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// Family is the part of a NIC that is of one family.
func Family(c nic.Config, is func(netip.Addr) bool) nic.Config {
	var out nic.Config
	for _, a := range c.Addresses {
		if is(a.Addr()) {
			out.Addresses = append(out.Addresses, a)
		}
	}
	for _, r := range c.Routes {
		if is(r.To.Addr()) {
			out.Routes = append(out.Routes, r)
		}
	}
	for _, r := range c.Rules {
		if is(r.From.Addr()) {
			out.Rules = append(out.Rules, r)
		}
	}
	return out
}

// RuleText is a rule in the words of ip-rule(8), which both formats use.
func RuleText(r nic.Rule) string {
	s := fmt.Sprintf("priority %d from %s", r.Priority, r.From)
	if r.To.IsValid() {
		s += fmt.Sprintf(" to %s", r.To)
	}
	s += fmt.Sprintf(" table %d", r.Table)
	if r.NoDefault {
		s += " suppress_prefixlength 0"
	}
	return s
}

// Parser reads the values of a profile.
type Parser struct{ Err error } // the first value that could not be read; nil: all could

// Fail notes, as the error of the Parser, that value is not what was expected there.
func (r *Parser) Fail(what, value string) {
	if r.Err == nil {
		r.Err = fmt.Errorf("reading the profile: %q is no %s", value, what)
	}
}

// Number reads a decimal number from 0 to 1<<32-1. "" is 0.
func (r *Parser) Number(s string) int {
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		r.Fail("number", s)
	}
	return int(n)
}

// Prefix reads an address with the length of its prefix.
func (r *Parser) Prefix(s string) netip.Prefix {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		r.Fail("prefix", s)
	}
	return p
}

// Addr reads an address.
func (r *Parser) Addr(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil {
		r.Fail("address", s)
	}
	return a
}

// Address reads one more address of a NIC.
func (r *Parser) Address(c *nic.Config, s string) { c.Addresses = append(c.Addresses, r.Prefix(s)) }

// Name reads the name of a NIC, and its id by the name.
func (r *Parser) Name(c *nic.Config, s string) {
	digits, ok := strings.CutPrefix(s, nic.NamePrefix)
	if !ok {
		r.Fail("name of a NIC", s)
	}
	c.Name, c.ID = s, r.Number(digits)
}

// MAC reads the MAC of a NIC.
func (r *Parser) MAC(c *nic.Config, s string) {
	m, err := nic.ParseMAC(s)
	if err != nil {
		r.Fail("MAC", s)
	}
	c.MAC = m
}

// Rule reads one more rule of a NIC, as RuleText writes it, in any order.
func (r *Parser) Rule(c *nic.Config, s string) {
	var out nic.Rule
	words := strings.Fields(s)
	for i := 0; i+1 < len(words); i += 2 {
		switch words[i] {
		case "priority":
			out.Priority = r.Number(words[i+1])
		case "from":
			out.From = r.Prefix(words[i+1])
		case "to":
			out.To = r.Prefix(words[i+1])
		case "table":
			out.Table = r.Number(words[i+1])
		case "suppress_prefixlength":
			out.NoDefault = true
			if words[i+1] != "0" {
				r.Fail("rule", s)
			}
		default:
			r.Fail("rule", s)
		}
	}
	c.Rules = append(c.Rules, out)
}
