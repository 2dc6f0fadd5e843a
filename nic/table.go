package nic

import (
	"fmt"
	"net/netip"
)

// These numbers are ours in every network namespace. The NIC <id> has the table TableBase + id, and
// the rules that lead there have the priority RuleBase + id. Nothing else is made in either range.
// The numbers follow from the id alone, so they are the same after every run, restart and reboot.
//
// A NIC with a default route in its table has two more kinds of rule, which come before. The rule of
// priority MainBase + id leads to main, except to its default route. The rules of OwnFirst lead to
// the parts of the NIC's table that come even before main.
//
// The kernel asks a rule of a smaller priority first. Our rules come after those of all container
// networks that we know (Cilium 9 to 111, Calico 99, the AWS VPC CNI up to 1536, Tailscale 5210 to
// 5270, OVN-Kubernetes up to 6000), and before main (32766).
const (
	TableBase = 10000
	OwnFirst  = 9999 // of all NICs: their sources and tables tell such rules apart
	MainBase  = 10000
	RuleBase  = 20000
)

// Table is the routing table of the NIC with that id.
func Table(id int) int { return TableBase + id }

// Priority is the priority of the NIC's rules. It is also a metric: of the route in main that the
// NIC holds for all who share its subnet. That metric is worse than anybody else's.
func Priority(id int) int { return RuleBase + id }

// MainPriority is the priority of the rules by which main comes before the NIC's own default route.
func MainPriority(id int) int { return MainBase + id }

// OwnTable says whether a table is in our range.
func OwnTable(t int) bool { return t >= TableBase && t <= TableBase+MaxID }

// Rule is one policy routing rule, as far as we compare rules. It is comparable.
type Rule struct {
	Priority int
	From     netip.Prefix // zero: any
	To       netip.Prefix // zero: any
	Table    int
	// NoDefault: the table's default routes do not count (suppress_prefixlength 0 in ip-rule(8)).
	NoDefault bool `json:",omitempty"`
	Protocol  int  // fra_protocol; read from the kernel, and 0 in what is wanted
	// The rule looks at more than this (a mark, a link), or does not look up a table. Only read
	// from the kernel.
	Other bool
}

// Key is the rule without what the kernel adds. Two rules of equal keys are the same rule.
func (r Rule) Key() Rule {
	r.Protocol = 0
	return r
}

// String is for messages: "from 192.0.2.7/32 lookup 10001 priority 20001", and
// "from 192.0.2.7/32 lookup main suppress_prefixlength 0 priority 10001".
func (r Rule) String() string {
	s := "from all"
	if r.From.IsValid() {
		s = "from " + r.From.String()
	}
	if r.To.IsValid() {
		s += " to " + r.To.String()
	}
	if r.Table == TableMain {
		s += " lookup main"
	} else {
		s += fmt.Sprintf(" lookup %d", r.Table)
	}
	if r.NoDefault {
		s += " suppress_prefixlength 0"
	}
	return s + fmt.Sprintf(" priority %d", r.Priority)
}

// Conf is what the kernel keeps of IPv4 for each link: net.ipv4.conf.<link> in ip-sysctl(7). It is
// comparable.
type Conf struct {
	ARPIgnore   int // arp_ignore
	ARPAnnounce int // arp_announce
	RPFilter    int // rp_filter
}

// Apart is the Conf of a link that shares an IPv4 subnet with another link of its host. Such a link
// answers ARP only for its own addresses, and asks only with its own address. It takes packets from
// a neighbour although main would answer by the other link.
var Apart = Conf{ARPIgnore: 1, ARPAnnounce: 2, RPFilter: 2}

// Conf6 is what the kernel keeps of IPv6 for each link: net.ipv6.conf.<link> in ip-sysctl(7). It is
// comparable.
type Conf6 struct {
	AcceptRA int // accept_ra: 0 never, 1 unless the host forwards, 2 always
	// addr_gen_mode: how the kernel makes the link-local address; AddrGenNone: not at all
	AddrGenMode int
	Off         bool // disable_ipv6
}

// AddrGenNone is IN6_ADDR_GEN_MODE_NONE of linux/if_link.h.
const AddrGenNone = 1

func (c Conf6) String() string {
	off := 0
	if c.Off {
		off = 1
	}
	return fmt.Sprintf("accept_ra %d addr_gen_mode %d disable_ipv6 %d", c.AcceptRA, c.AddrGenMode, off)
}

func (c Conf) String() string {
	return fmt.Sprintf("arp_ignore %d arp_announce %d rp_filter %d", c.ARPIgnore, c.ARPAnnounce, c.RPFilter)
}
