package plan_test

import (
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"multinicd/internal/hosttest"
	"multinicd/nic"
	"multinicd/plan"
	"multinicd/plan/lifeline"
)

// host is a machine with a primary NIC, by which everything goes, and two more NICs that are
// nobody's.
func host() plan.View {
	return plan.View{Links: hosttest.StockLinks(), Lifelines: []lifeline.Path{apiByGateway}, Tables: []int{100, 20000, math.MaxInt32}}
}

// The ways to an API server.
var (
	apiByGateway = lifeline.Path{What: "the API server", To: netip.MustParseAddr("198.51.100.1"), Index: 2, Source: netip.MustParseAddr("192.0.2.10"), Via: netip.MustParseAddr("192.0.2.254")}
	apiOnLink    = lifeline.Path{What: "the API server", To: netip.MustParseAddr("192.0.2.100"), Index: 2, Source: netip.MustParseAddr("192.0.2.10")}
	apiNowhere   = lifeline.Path{What: "the API server", To: netip.MustParseAddr("198.51.100.1")}
	apiIPv6      = lifeline.Path{What: "the API server", To: netip.MustParseAddr("2001:db8:9::1"), Index: 2, Source: netip.MustParseAddr("2001:db8:2::10"), Via: netip.MustParseAddr("fe80::1")}
)

// nodeIs is an address of the node by root's word.
func nodeIs(a string) lifeline.NodeAddr {
	return lifeline.NodeAddr{Addr: netip.MustParseAddr(a), Evidence: "--node-ip in kubeadm-flags.env"}
}

// input is what Make is asked in a row: NIC 1 is wanted with 10.1.0.5/24, on a host as above.
type input struct {
	plan.View
	want   []nic.Config
	hold   []nic.MAC
	record plan.Record
}

func (in *input) nic() *nic.Config { return &in.want[0] }
func (in *input) link() *nic.Link  { return &in.Links[1] } // of NIC 1
func (in *input) other() *nic.Link { return &in.Links[2] }
func (in *input) is(addrs ...string) {
	in.want[0].Addresses = prefixes(addrs...)
}
func (in *input) has(l *nic.Link, addrs ...string) {
	for _, p := range prefixes(addrs...) {
		l.Addresses = append(l.Addresses, nic.Address{Prefix: p, Permanent: true})
	}
}

// ours makes both NICs ours and applied, and wanted, NIC 2 with 10.2.0.5/24.
func (in *input) ours() {
	in.want = append(in.want, config(2, "10.2.0.5/24"))
	for i, c := range in.want {
		in.Links[i+1] = up(in.Links[i+1], c)
		in.record.NICs = append(in.record.NICs, owned(c))
	}
}

// advertised puts on a link what a router's advertisement brings: a default route, and an address.
func (in *input) advertised(l *nic.Link) {
	l.Routes = append(l.Routes, proto(9, route("::/0 fe80::bad")))
	l.Addresses = append(l.Addresses, nic.Address{Prefix: netip.MustParsePrefix("2001:db8:f::1234/64"), Advertised: true})
}

func proto(protocol int, r nic.Route) nic.Route {
	r.Protocol = protocol
	return r
}

// Each refusal of the guard and its neighbour that is just allowed. An empty reason: NIC 1 is
// configured.
var guardTable = map[string]struct {
	change func(in *input)
	reason plan.Reason
	says   string
}{
	"a NIC that is nobody's is configured": {func(*input) {}, "", ""},

	// What kind of link it is.
	"a MAC that only a virtual link has": {func(in *input) { in.link().Kind, in.link().Device = "veth", false }, plan.NotPhysical, "link eth1, which is virtual (kind \"veth\")"},
	"a MAC that only a macvlan on another NIC has, as a subport of a trunk": {func(in *input) {
		in.link().MAC = mac(9)
		in.lying("eth1.100", 1500)
	}, plan.NotPhysical, "eth1.100"},
	"a NIC that a Pod has":                                        {func(in *input) { in.link().MAC = mac(9); in.Elsewhere = []nic.MAC{mac(1)} }, plan.WaitingForNIC, "its device is there, its link is in another network namespace"},
	"the enslaved twin of a NIC does not count beside it":         {func(in *input) { in.twin() }, "", ""},
	"nor beside one that is ours":                                 {func(in *input) { in.ours(); in.twin() }, "", ""},
	"two twins, as a NIC with failover has":                       {func(in *input) { in.twin(); in.twin(); in.Links[4].Index = 42 }, "", ""},
	"an enslaved NIC of whose twin nothing is seen":               {func(in *input) { in.twin(); in.link().MAC = mac(9) }, plan.NotPhysical, "enP1s1"},
	"two free NICs of one MAC beside an enslaved one":             {func(in *input) { in.twin(); in.other().MAC = mac(1) }, plan.AmbiguousMAC, "eth1, eth2"},
	"a virtual kind that counts as hardware here is configured":   {func(in *input) { in.link().Kind, in.Kinds = "veth", []string{"veth"} }, "", ""},
	"a bridge that borrows the MAC does not stand in its way":     {func(in *input) { in.borrow("bridge") }, "", ""},
	"a bond that borrows the MAC does not stand in its way":       {func(in *input) { in.borrow("bond") }, "", ""},
	"a VLAN that borrows the MAC does not stand in its way":       {func(in *input) { in.borrow("vlan") }, "", ""},
	"a macvlan that borrows the MAC does not stand in its way":    {func(in *input) { in.borrow("macvlan") }, "", ""},
	"a borrowed MAC is not matched where the real NIC is gone":    {func(in *input) { in.borrow("bond"); in.link().MAC = mac(9) }, plan.WaitingForNIC, ""},
	"two NICs of one MAC are ambiguous":                           {func(in *input) { in.other().MAC = mac(1) }, plan.AmbiguousMAC, "eth1, eth2"},
	"of two NICs of one MAC the one that has it burnt in is one":  {func(in *input) { in.other().MAC, in.other().Permanent = mac(1), mac(2) }, "", ""},
	"a NIC is known by its burnt-in MAC":                          {func(in *input) { in.link().MAC, in.link().Permanent = mac(9), mac(1) }, "", ""},
	"part of a bond or bridge":                                    {func(in *input) { in.link().Master = 7 }, plan.NotPhysical, "part of a bond"},
	"hardware with the name of a container network":               {func(in *input) { in.link().Name = "cali12345" }, plan.NotPhysical, "cali*"},
	"hardware with a name that the administrator denies":          {func(in *input) { in.link().Name, in.Deny = "storage0", []string{"storage*"} }, plan.NotPhysical, "storage*"},
	"hardware with a name that the administrator does not deny":   {func(in *input) { in.link().Name, in.Deny = "stor0", []string{"storage*"} }, "", ""},
	"a broken pattern of the administrator's denies nothing":      {func(in *input) { in.Deny = []string{"[", "a["} }, "", ""},
	"a NIC called like a bridge of docker except for the dash":    {func(in *input) { in.link().Name = "bri0" }, "", ""},
	"a protected kind stays protected where all virtual is taken": {func(in *input) { in.link().Name, in.link().Kind, in.Kinds = "lxc1", "veth", []string{"veth"} }, plan.NotPhysical, "lxc*"},

	// What the node lives by; plan/lifeline has a table of its own.
	"the link has the only default route":              {func(in *input) { in.Links[0].Routes = nil; in.link().Routes = []nic.Route{route("0.0.0.0/0 10.1.0.1")} }, plan.ProtectedLink, "default route"},
	"a default route that does not count protects not": {func(in *input) { in.link().Routes = []nic.Route{route("0.0.0.0/0 10.1.0.1")} }, "", ""},
	"the link has a default route in another table":    {func(in *input) { in.link().Routes = []nic.Route{in2(100, "0.0.0.0/0 10.1.0.1")} }, plan.ProtectedLink, "table 100"},
	"just below our tables it is not ours":             {func(in *input) { in.link().Routes = []nic.Route{in2(9999, "0.0.0.0/0 10.1.0.1")} }, plan.ProtectedLink, "table 9999"},
	"our first table":                                  {func(in *input) { in.link().Routes = []nic.Route{in2(10000, "0.0.0.0/0 10.1.0.1")} }, "", ""},
	"our last table":                                   {func(in *input) { in.link().Routes = []nic.Route{in2(19999, "0.0.0.0/0 10.1.0.1")} }, "", ""},
	"just above our tables it is not ours":             {func(in *input) { in.link().Routes = []nic.Route{in2(20000, "0.0.0.0/0 10.1.0.1")} }, plan.ProtectedLink, "table 20000"},
	"half of the Internet is no default route":         {func(in *input) { in.link().Routes = []nic.Route{route("0.0.0.0/1 10.1.0.1")} }, "", ""},
	"the link carries the way to the API server":       {func(in *input) { in.Lifelines[0].Index = in.link().Index }, plan.ProtectedLink, "the API server"},
	"the link holds the API server's address":          {func(in *input) { in.has(in.link(), "198.51.100.1/32") }, plan.ProtectedLink, "the API server"},
	"the link holds the source towards the API server": {func(in *input) { in.has(in.link(), "192.0.2.10/32") }, plan.ProtectedLink, "the API server"},
	"the link holds kubelet's node IP": {func(in *input) {
		in.NodeAddrs = []lifeline.NodeAddr{nodeIs("10.9.0.1")}
		in.has(in.link(), "10.9.0.1/24")
	}, plan.ProtectedLink, "10.9.0.1, the node's address (--node-ip in kubeadm-flags.env)"},
	"a router has advertised itself on a NIC of ours":          {func(in *input) { in.ours(); in.advertised(in.link()) }, "", ""},
	"a router has advertised itself on a NIC that is not ours": {func(in *input) { in.advertised(in.link()) }, "", ""},
	"the only router of IPv6 is on a NIC that is not ours":     {func(in *input) { in.Links[0].Routes = in.Links[0].Routes[:1]; in.advertised(in.link()) }, plan.ProtectedLink, "default route of IPv6"},
	"the only router of IPv6 is on a NIC that was ours": {func(in *input) {
		in.Links[0].Routes = in.Links[0].Routes[:1]
		in.ours()
		in.advertised(in.link())
		in.record.NICs[0].Applied = false
	}, plan.ProtectedLink, "default route of IPv6"},
	"the only router of IPv6 is on a NIC of ours": {func(in *input) { in.Links[0].Routes = in.Links[0].Routes[:1]; in.ours(); in.advertised(in.link()) }, "", ""},
	"the API server is reached by the router that advertised itself": {func(in *input) {
		in.ours()
		in.advertised(in.link())
		in.Lifelines[0] = apiIPv6
		in.Lifelines[0].Index = in.link().Index
	}, plan.ProtectedLink, "the API server"},
	"an advertised address is the node's": {func(in *input) {
		in.ours()
		in.advertised(in.link())
		in.NodeAddrs = []lifeline.NodeAddr{nodeIs("2001:db8:f::1234")}
	}, plan.ProtectedLink, "node"},
	"a NIC of ours has by hand the only default route of IPv6": {func(in *input) {
		in.ours()
		in.Links[0].Routes = in.Links[0].Routes[:1]
		in.link().Routes = append(in.link().Routes, proto(4, route("::/0 fe80::2")))
	}, plan.ProtectedLink, "default route"},
	"a NIC of ours has by a DHCP client the only default route of IPv6": {func(in *input) {
		in.ours()
		in.Links[0].Routes = in.Links[0].Routes[:1]
		in.link().Routes = append(in.link().Routes, proto(16, route("::/0 fe80::2")))
	}, plan.ProtectedLink, "default route"},
	"a NIC of ours has a second default route by a DHCP client": {func(in *input) {
		in.ours()
		in.link().Routes = append(in.link().Routes, proto(16, route("::/0 fe80::2")))
	}, "", ""},
	"a NIC of ours has an advertised default route, and by hand the only one": {func(in *input) {
		in.ours()
		in.Links[0].Routes = in.Links[0].Routes[:1]
		in.advertised(in.link())
		in.link().Routes = append(in.link().Routes, proto(4, route("::/0 fe80::2")))
	}, plan.ProtectedLink, "default route"},
	"a router has advertised itself on a NIC of ours that is in a bond now": {func(in *input) { in.ours(); in.advertised(in.link()); in.link().Master = 7 }, plan.NotPhysical, "part of a bond"},

	// What the host cannot do.
	"an IPv6 address where the host has no IPv6":                             {func(in *input) { in.is("2001:db8:7::5/64"); in.NoIPv6 = "ipv6.disable=1" }, plan.NotSupported, "ipv6.disable=1"},
	"an IPv6 address on a link that has it switched off, and may have it on": {func(in *input) { in.is("2001:db8:7::5/64"); in.link().Conf6 = &nic.Conf6{Off: true} }, "", ""},
	"an IPv6 address on a link that has it switched off for good":            {func(in *input) { in.is("2001:db8:7::5/64"); in.link().NoIPv6 = true }, plan.NotSupported, "net.ipv6.conf.eth1.disable_ipv6=1"},
	"an IPv4 address on a link that has IPv6 switched off for good":          {func(in *input) { in.link().NoIPv6 = true }, "", ""},
	"an IPv4 address where the host has no IPv6":                             {func(in *input) { in.NoIPv6 = "ipv6.disable=1" }, "", ""},
	"an IPv6 address where only this link has IPv6 switched on": {func(in *input) {
		in.is("2001:db8:7::5/64")
		in.NoIPv6 = "all.disable_ipv6=1"
		in.link().Conf6 = &nic.Conf6{}
	}, "", ""},
	"an IPv6 address where this link has it switched off, too": {func(in *input) {
		in.is("2001:db8:7::5/64")
		in.NoIPv6 = "all.disable_ipv6=1"
		in.link().Conf6 = &nic.Conf6{Off: true}
	}, plan.NotSupported, "all.disable_ipv6=1"},

	"the node IP on another link is no matter":            {func(in *input) { in.NodeAddrs = []lifeline.NodeAddr{nodeIs("192.0.2.10")} }, "", ""},
	"a path that leads nowhere protects no link by index": {func(in *input) { in.Lifelines[0] = apiNowhere; in.link().Index = 0 }, "", ""},

	// Whose configuration it has.
	"netplan has a definition for it":                            {func(in *input) { in.link().Claim = claim }, plan.ForeignConfig, "50-cloud-init.yaml"},
	"netplan's definition may be taken over":                     {func(in *input) { in.link().Claim = claim; in.nic().Adopt = true }, "", ""},
	"the former agent's definition is taken over":                {func(in *input) { in.link().Former = former; in.has(in.link(), "10.9.0.5/24") }, "", ""},
	"but not another's beside it":                                {func(in *input) { in.link().Former, in.link().Claim = former, claim }, plan.ForeignConfig, "50-cloud-init.yaml"},
	"the former agent's default route in its table goes with it": {func(in *input) { in.link().Former = former; in.link().Routes = inTable(101, "0.0.0.0/0 10.9.0.1") }, "", ""},
	"the former agent's only default route in main stays": {func(in *input) {
		in.Links[0].Routes = in.Links[0].Routes[1:]
		in.link().Former = former
		in.link().Routes = inTable(254, "0.0.0.0/0 10.9.0.1")
	}, plan.ProtectedLink, "default"},
	"a default route in such a table without that agent stays": {func(in *input) { in.link().Routes = inTable(101, "0.0.0.0/0 10.9.0.1") }, plan.ProtectedLink, "default"},
	"a definition counts not once the NIC is ours":             {func(in *input) { in.ours(); in.link().Claim = claim }, "", ""},
	"a definition counts again once the NIC was given up":      {func(in *input) { in.ours(); in.link().Claim = claim; in.record.NICs[0].Applied = false }, plan.ForeignConfig, ""},
	"somebody gave it an address":                              {func(in *input) { in.has(in.link(), "10.9.0.1/24") }, plan.ForeignConfig, "10.9.0.1/24"},
	"somebody gave it an address of IPv6":                      {func(in *input) { in.has(in.link(), "2001:db8:7::1/64") }, plan.ForeignConfig, "2001:db8:7::1/64"},
	"somebody's address may be taken over":                     {func(in *input) { in.has(in.link(), "10.9.0.1/24"); in.nic().Adopt = true }, "", ""},
	"the address that is wanted is there already":              {func(in *input) { in.has(in.link(), "10.1.0.5/24") }, "", ""},
	"the address that is wanted has another length":            {func(in *input) { in.has(in.link(), "10.1.0.5/25") }, plan.ForeignConfig, "10.1.0.5/25"},
	"DHCP gave it an address":                                  {func(in *input) { in.temporary("10.9.0.1/24") }, "", ""},
	"DHCP gave it an address, and nothing gives way by itself": {func(in *input) { in.temporary("10.9.0.1/24"); in.NoTakeOver = true }, plan.ForeignConfig, "a lease"},
	"somebody set a second default route by hand": {func(in *input) {
		in.link().Routes = inTable(254, "0.0.0.0/0 10.9.0.1")
		in.link().Routes[0].Metric = 4000
	}, plan.ForeignConfig, "by hand"},
	"it may be taken over": {func(in *input) {
		in.link().Routes = inTable(254, "0.0.0.0/0 10.9.0.1")
		in.link().Routes[0].Metric = 4000
		in.nic().Adopt = true
	}, "", ""},
	"a DHCP client set a second default route as a hand does": {func(in *input) {
		in.temporary("10.9.0.5/24")
		in.link().Routes = inTable(254, "0.0.0.0/0 10.9.0.1")
		in.link().Routes[0].Metric = 4000
	}, "", ""},
	"a machine wrote a definition for it":                       {func(in *input) { in.link().Claim = generated }, "", ""},
	"a machine's definition explains the address":               {func(in *input) { in.link().Claim = generated; in.has(in.link(), "10.9.0.1/24") }, "", ""},
	"a machine's definition, and nothing gives way by itself":   {func(in *input) { in.link().Claim, in.NoTakeOver = generated, true }, plan.ForeignConfig, "90-default.yaml"},
	"unless the object says so":                                 {func(in *input) { in.link().Claim, in.NoTakeOver, in.nic().Adopt = generated, true, true }, "", ""},
	"a person's definition, and no object may take it over":     {func(in *input) { in.link().Claim, in.NoAdopt, in.nic().Adopt = claim, true, true }, plan.ForeignConfig, "[links] adopt is false"},
	"a person's address, and no object may take it over":        {func(in *input) { in.has(in.link(), "10.9.0.1/24"); in.NoAdopt, in.nic().Adopt = true, true }, plan.ForeignConfig, "[links] adopt is false"},
	"a machine's definition where no object may take over more": {func(in *input) { in.link().Claim, in.NoAdopt = generated, true }, "", ""},
	"a VLAN lies on it":                                         {func(in *input) { in.lying("eth1.100", 1500) }, plan.ForeignConfig, "eth1.100"},
	"a VLAN lies on it, and a machine wrote its configuration":  {func(in *input) { in.lying("eth1.100", 1500); in.link().Claim = generated }, plan.ForeignConfig, "eth1.100"},
	"a VLAN lies on it, and the object says adopt":              {func(in *input) { in.lying("eth1.100", 1500); in.nic().Adopt = true }, "", ""},
	"a VLAN lies on it, and it is ours":                         {func(in *input) { in.ours(); in.lying("eth1.100", 1500) }, "", ""},
	"a VLAN lies on it since the former agent":                  {func(in *input) { in.lying("eth1.100", 1500); in.link().Former = former }, "", ""},
	"a router gave it an address":                               {func(in *input) { in.temporary("2001:db8:7::1/64") }, "", ""},
	"it has a link-local address":                               {func(in *input) { in.has(in.link(), "fe80::1/64", "169.254.7.7/16") }, "", ""},
	"it has an address of ours that is to go":                   {func(in *input) { in.has(in.link(), "10.9.0.1/24"); in.retired("10.9.0.1/24") }, "", ""},

	// Whether it can stand beside the rest of the host.
	"an MTU above what the device can do":            {func(in *input) { in.nic().MTU = 9001 }, plan.MTUTooLarge, "9001"},
	"the greatest MTU of the device":                 {func(in *input) { in.nic().MTU = 9000 }, "", ""},
	"an MTU below what the device can do":            {func(in *input) { in.link().MinMTU = 576; in.nic().MTU = 575 }, plan.MTUTooLarge, "575"},
	"the least MTU of the device":                    {func(in *input) { in.nic().MTU = 68 }, "", ""},
	"a device that tells no bounds":                  {func(in *input) { in.link().MinMTU, in.link().MaxMTU = 0, 0; in.nic().MTU = 65535 }, "", ""},
	"another link has the name":                      {func(in *input) { in.other().Name = "multinic1" }, plan.NameTaken, "multinic1"},
	"another link answers to the name":               {func(in *input) { in.other().AltNames = []string{"multinic1"} }, plan.NameTaken, "multinic1"},
	"the name is an alternative name of its own":     {func(in *input) { in.link().AltNames = []string{"multinic1"} }, plan.NameTaken, "ip link property del dev eth1 altname multinic1"},
	"another alternative name of its own":            {func(in *input) { in.link().AltNames = []string{"enp1s0"} }, "", ""},
	"the name is on a NIC that is given back":        {func(in *input) { in.swap(); in.want = in.want[:1] }, "", ""},
	"the name is on a NIC whose entry is unreadable": {func(in *input) { in.swap(); in.want = in.want[:1]; in.hold = []nic.MAC{mac(2)} }, plan.NameTaken, ""},
	"the name is on a NIC that never had another":    {func(in *input) { in.swap(); in.want = in.want[:1]; in.record.NICs[1].Found.Name = "multinic1" }, plan.NameTaken, ""},
	"the name is on a NIC whose old name is taken":   {func(in *input) { in.swap(); in.want = in.want[:1]; in.link().Name = "eth2" }, plan.NameTaken, ""},
	"the name is on a NIC that still wants it":       {func(in *input) { in.swap() }, plan.NameTaken, ""},
	"another link of the host has the address":       {func(in *input) { in.has(in.other(), "10.1.0.5/32") }, plan.AddressInUse, "eth2"},
	"the primary's own address":                      {func(in *input) { in.is("192.0.2.10/24") }, plan.AddressInUse, "eth0"},
	"the second address is on another link":          {func(in *input) { in.is("10.1.0.5/24", "10.1.0.6/24"); in.has(in.other(), "10.1.0.6/24") }, plan.AddressInUse, "10.1.0.6"},
	"another link has another address of the subnet": {func(in *input) { in.has(in.other(), "10.1.0.6/24") }, "", ""},
	"the address moves from our other NIC":           {func(in *input) { in.ours(); in.move("10.3.0.7/24") }, "", ""},
	"the only NIC that is ours has the address": {func(in *input) {
		in.ours()
		in.record.NICs = in.record.NICs[1:]
		in.Links[1] = link(1)
		in.is("10.2.0.5/24")
		in.want = in.want[:1]
	}, "", ""},
	"our other NIC has the address and is removed": {func(in *input) { in.ours(); in.is("10.2.0.5/24"); in.want = in.want[:1] }, "", ""},
	"our other NIC has the address and keeps it":   {func(in *input) { in.ours(); in.is("10.2.0.5/24") }, plan.AddressInUse, "multinic2"},
	"our other NIC's entry is unreadable":          {func(in *input) { in.ours(); in.is("10.2.0.5/24"); in.want = in.want[:1]; in.hold = []nic.MAC{mac(2)} }, plan.AddressInUse, "multinic2"},
	"our other NIC may not be touched any more": {func(in *input) {
		in.ours()
		in.move("10.3.0.7/24")
		in.Lifelines = append(in.Lifelines, lifeline.Path{What: "the API server", To: netip.MustParseAddr("203.0.113.1"), Index: in.other().Index})
	}, plan.AddressInUse, "multinic2"},
	"our other NIC is refused and keeps the address": {func(in *input) { in.ours(); in.move("10.3.0.7/24"); in.want[1].MTU = 9001 }, plan.AddressInUse, "multinic2"},
	"the name goes back to another link": {func(in *input) {
		in.ours()
		in.want = in.want[:1]
		in.record.NICs[1].Found.Name = "multinic1"
		in.link().Name = "eth1"
	}, plan.NameTaken, ""},
	"somebody else gave our other NIC the address": {func(in *input) { in.ours(); in.has(in.other(), "10.2.0.9/24"); in.is("10.2.0.9/24") }, plan.AddressInUse, "multinic2"},
	"a gateway": {func(in *input) { in.nic().Gateway = netip.MustParseAddr("10.1.0.1") }, "", ""},
	"a gateway beside another default route in the table": {func(in *input) {
		in.nic().Gateway = netip.MustParseAddr("10.1.0.1")
		in.routes(in2(10001, "0.0.0.0/0 10.1.0.2"))
	}, plan.NotSupported, "gateway"},
	"a table that somebody else uses": {func(in *input) {
		in.nic().Gateway = netip.MustParseAddr("10.1.0.1")
		in.Links[0].Routes = append(in.Links[0].Routes, in2(10001, "172.16.0.0/12"))
	}, plan.TableTaken, "eth0"},
	"that table, without need for one": {func(in *input) { in.Links[0].Routes = append(in.Links[0].Routes, in2(10001, "172.16.0.0/12")) }, "", ""},
	"that table, of our own other NIC": {func(in *input) {
		in.ours()
		in.nic().Gateway = netip.MustParseAddr("10.1.0.1")
		in.other().Routes = append(in.other().Routes, in2(10001, "172.16.0.0/12"))
	}, "", ""},
	"rules of the priority that are somebody else's": {func(in *input) {
		in.nic().Gateway = netip.MustParseAddr("10.1.0.1")
		in.link().Rules = []nic.Rule{{Priority: 20001, From: prefixes("10.1.0.0/24")[0], Table: 100}}
	}, plan.TableTaken, "20001"},
	"our table by a rule that looks at marks": {func(in *input) {
		in.nic().Gateway = netip.MustParseAddr("10.1.0.1")
		in.link().Rules = []nic.Rule{{Priority: 20001, From: prefixes("10.1.0.5/32")[0], Table: 10001, Other: true}}
	}, plan.TableTaken, "20001"},
	"rules of main's priority that are somebody else's": {func(in *input) {
		in.nic().Gateway = netip.MustParseAddr("10.1.0.1")
		in.link().Rules = []nic.Rule{{Priority: 10001, From: prefixes("10.1.0.5/32")[0], Table: nic.TableMain}}
	}, plan.TableTaken, "priority 10001"},
	"the same of a NIC that has no gateway": {func(in *input) {
		in.link().Rules = []nic.Rule{{Priority: 10001, From: prefixes("10.1.0.5/32")[0], Table: nic.TableMain}}
	}, "", ""},
	"our own rule to main, left behind": {func(in *input) {
		in.nic().Gateway = netip.MustParseAddr("10.1.0.1")
		in.link().Rules = []nic.Rule{{Priority: 10001, From: prefixes("10.1.0.4/32")[0], Table: nic.TableMain, NoDefault: true}}
	}, "", ""},
	"our own rule, left behind": {func(in *input) {
		in.nic().Gateway = netip.MustParseAddr("10.1.0.1")
		in.link().Rules = []nic.Rule{rule(1, "10.1.0.4/32"), {Priority: 100, From: prefixes("10.1.0.4/32")[0], Table: 10001}}
	}, "", ""},
	"a router in an IPv6 subnet that links share": {func(in *input) {
		in.is("2001:db8:2::11/64")
		in.routes(route("2001:db8:9::/48 2001:db8:2::1"))
	}, plan.NotSupported, "table 10001"},
	"that router, in the own table": {func(in *input) {
		in.is("2001:db8:2::11/64")
		in.routes(in2(10001, "2001:db8:9::/48 2001:db8:2::1"))
	}, "", ""},

	// What traffic it would draw.
	"the API server's subnet, equally long":              {func(in *input) { in.Lifelines[0] = apiOnLink; in.is("192.0.2.11/24") }, "", ""},
	"the API server's subnet, shorter":                   {func(in *input) { in.Lifelines[0] = apiOnLink; in.is("192.0.2.11/23") }, "", ""},
	"the API server's subnet, longer":                    {func(in *input) { in.Lifelines[0] = apiOnLink; in.is("192.0.2.101/25") }, plan.CutsAPIPath, "192.0.2.100"},
	"a longer part of the subnet without the API server": {func(in *input) { in.Lifelines[0] = apiOnLink; in.is("192.0.2.130/26") }, plan.SubnetConflict, "192.0.2.0/24"},
	"a longer half of the subnet with the primary":       {func(in *input) { in.is("192.0.2.11/25") }, plan.CutsAPIPath, "192.0.2.10"},
	"a longer half of the subnet with the gateway":       {func(in *input) { in.is("192.0.2.201/25") }, plan.CutsAPIPath, "192.0.2.254"},
	"the node's subnet, longer": {func(in *input) {
		in.Lifelines = nil
		in.NodeAddrs = []lifeline.NodeAddr{nodeIs("192.0.2.10")}
		in.is("192.0.2.11/25")
	}, plan.CutsAPIPath, "192.0.2.10, the node's address"},
	"the node's subnet, equally long":                   {func(in *input) { in.NodeAddrs = []lifeline.NodeAddr{nodeIs("192.0.2.10")}; in.is("192.0.2.11/24") }, "", ""},
	"the gateway's subnet, equally long":                {func(in *input) { in.is("192.0.2.201/24") }, "", ""},
	"a subnet of an API server behind the gateway":      {func(in *input) { in.is("198.51.100.9/24") }, plan.CutsAPIPath, "198.51.100.1"},
	"a subnet beside it":                                {func(in *input) { in.is("198.51.101.9/24") }, "", ""},
	"the subnet of an API server without a way":         {func(in *input) { in.Lifelines[0] = apiNowhere; in.is("198.51.100.9/24") }, plan.CutsAPIPath, "198.51.100.1"},
	"a subnet beside an API server without a way":       {func(in *input) { in.Lifelines[0] = apiNowhere }, "", ""},
	"the subnet of an IPv6 API server":                  {func(in *input) { in.Lifelines[0] = apiIPv6; in.is("2001:db8:9::7/64") }, plan.CutsAPIPath, "2001:db8:9::1"},
	"the primary's IPv6 subnet, longer":                 {func(in *input) { in.Lifelines[0] = apiIPv6; in.is("2001:db8:2::11/120") }, plan.CutsAPIPath, "2001:db8:2::10"},
	"the primary's IPv6 subnet, equally long":           {func(in *input) { in.Lifelines[0] = apiIPv6; in.is("2001:db8:2::11/64") }, "", ""},
	"the API server's own address":                      {func(in *input) { in.Lifelines[0] = apiOnLink; in.is("192.0.2.100/24") }, plan.CutsAPIPath, "192.0.2.100"},
	"the gateway's own address":                         {func(in *input) { in.is("192.0.2.254/24") }, plan.CutsAPIPath, "192.0.2.254"},
	"the own address of a gateway that no path uses":    {func(in *input) { in.Lifelines = nil; in.is("192.0.2.254/24") }, plan.CutsAPIPath, "192.0.2.254"},
	"a gateway drawn away that no path uses":            {func(in *input) { in.Lifelines = nil; in.is("192.0.2.201/25") }, plan.CutsAPIPath, "eth0"},
	"an address by a host route of the primary":         {func(in *input) { in.hostRoute(); in.is("198.51.100.9/24") }, "", ""},
	"a route to the API server":                         {func(in *input) { in.routes(route("198.51.100.1/32")) }, plan.CutsAPIPath, "198.51.100.1"},
	"a route to half of the Internet":                   {func(in *input) { in.routes(route("128.0.0.0/1 10.1.0.1")) }, plan.CutsAPIPath, ""},
	"a route to half of the Internet past a host route": {func(in *input) { in.hostRoute(); in.routes(route("128.0.0.0/1 10.1.0.1")) }, plan.NotSupported, "shorter than /8"},
	"a route to somewhere else":                         {func(in *input) { in.routes(route("10.0.0.0/8 10.1.0.1")) }, "", ""},
	"a route to the API server in a table of its own":   {func(in *input) { in.routes(in2(100, "198.51.100.1/32")) }, "", ""},
	"a default route":                                   {func(in *input) { in.routes(route("0.0.0.0/0 10.1.0.1")) }, plan.CutsAPIPath, "gateway"},
	"a default route of IPv6":                           {func(in *input) { in.routes(route("::/0 fe80::1")) }, plan.CutsAPIPath, "gateway"},
	"a default route in a table that is not ours":       {func(in *input) { in.routes(in2(100, "0.0.0.0/0 10.1.0.1")) }, plan.CutsAPIPath, "100"},
	"a default route in a table of ours":                {func(in *input) { in.routes(in2(10001, "0.0.0.0/0 10.1.0.1")) }, "", ""},
	"a route in the kernel's own table":                 {func(in *input) { in.routes(in2(255, "10.0.0.0/8")) }, plan.NotSupported, "table 255"},
	"a table that netplan writes as a negative number":  {func(in *input) { in.routes(in2(1<<31, "10.0.0.0/8")) }, plan.NotSupported, "2147483647"},
	"the greatest table":                                {func(in *input) { in.routes(in2(1<<31-1, "10.0.0.0/8")) }, "", ""},
	"a metric that netplan writes as a negative number": {func(in *input) { in.routes(nic.Route{To: route("10.0.0.0/8").To, Metric: 1 << 31}) }, plan.NotSupported, "2147483647"},
	"the greatest metric":                               {func(in *input) { in.routes(nic.Route{To: route("10.0.0.0/8").To, Metric: 1<<31 - 1}) }, "", ""},
}

// A person's claim to NIC 1, and a machine's.
var generated = &nic.Claim{Owner: "netplan", File: "/etc/netplan/90-default.yaml", ID: "all-en", Evidence: "90-default.yaml matches every en*", Machine: true}
var claim = &nic.Claim{Owner: "netplan", File: "/etc/netplan/50-cloud-init.yaml", ID: "ens4", Evidence: "50-cloud-init.yaml names its MAC"}

func in2(table int, r string) nic.Route { return in(table, route(r)) }

func (in *input) borrow(kind string) {
	in.Links = append(in.Links, nic.Link{Index: 30, Name: kind + "x", Kind: kind, MAC: mac(1), Up: true})
}

// twin puts the VF beside the link of NIC 1, as hv_netvsc has it.
func (in *input) twin() {
	vf := link(1)
	vf.Index, vf.Name, vf.Permanent, vf.Master, vf.Up = 41, "enP1s1", mac(1), in.link().Index, true
	in.Links = append(in.Links, vf)
}

// lying puts a link on that of NIC 1.
func (in *input) lying(name string, mtu int) {
	in.Links = append(in.Links, nic.Link{Index: 40, Name: name, Kind: "vlan", MAC: mac(1), Lower: in.link().Index, MTU: mtu, Up: true})
}
func (in *input) temporary(a string) {
	in.link().Addresses = []nic.Address{{Prefix: netip.MustParsePrefix(a)}}
}
func (in *input) retired(a string) {
	in.record.NICs = []plan.Owned{{MAC: mac(1), Retired: []plan.Retired{{Address: netip.MustParsePrefix(a)}}}}
}
func (in *input) routes(rs ...nic.Route) { in.nic().Routes = rs }
func (in *input) hostRoute() {
	in.Links[0].Routes = append(in.Links[0].Routes, route("198.51.100.1/32 192.0.2.254"))
}

// swap makes NIC 2 ours under the name that NIC 1 wants.
func (in *input) swap() {
	c := config(2, "10.2.0.5/24")
	c.Name = "multinic1"
	in.Links[2] = up(in.Links[2], c)
	in.want = append(in.want, c)
	in.record.NICs = []plan.Owned{{MAC: mac(1)}, owned(c)}
}

// move takes the address from NIC 2, which has it, to NIC 1.
func (in *input) move(a string) {
	was := config(2, "10.2.0.5/24", a)
	in.Links[2], in.record.NICs[1] = up(link(2), was), owned(was)
	in.is(a)
}

func TestMakeRefuses(t *testing.T) {
	for name, test := range guardTable {
		t.Run(name, func(t *testing.T) {
			x := &input{View: host(), want: []nic.Config{config(1, "10.1.0.5/24")}}
			test.change(x)
			for _, a := range plan.Make(x.want, x.hold, x.View, x.record).Actions {
				if a.NIC.MAC != mac(1) || a.Kind == plan.Remove {
					continue
				}
				if a.Reason != test.reason || !strings.Contains(a.Message, test.says) {
					t.Errorf("got %s %q (%s), want %q with %q", a.Kind, a.Reason, a.Message, test.reason, test.says)
				}
				checkAction(t, a)
				return
			}
			t.Error("NIC 1 has no action")
		})
	}
}

// Whatever the object says, a link that the node lives by is refused when planning, and again right
// before the change. Why the node lives by a link is tested in plan/lifeline.
func TestNoWishTakesWhatTheNodeLivesBy(t *testing.T) {
	for name, change := range map[string]func(in *input){
		"the only default route": func(in *input) { in.Links[0].Routes = nil; in.link().Routes = []nic.Route{route("0.0.0.0/0 10.1.0.1")} },
		"the node's address": func(in *input) {
			in.has(in.link(), "10.1.0.5/24")
			in.NodeAddrs = []lifeline.NodeAddr{nodeIs("10.1.0.5")}
		},
		"the path to the API server, by a longer route": func(in *input) {
			in.Lifelines[0].Index = in.link().Index
			in.link().Routes = []nic.Route{route("198.51.100.0/24 10.1.0.1")}
		},
		"the path to the API server, which does not answer through the primary": func(in *input) {
			in.Lifelines[0].Index = in.link().Index
			in.link().Routes = []nic.Route{route("0.0.0.0/0 10.1.0.1")}
			in.NodeAddrs = []lifeline.NodeAddr{nodeIs("192.0.2.10")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, adopt := range []bool{false, true} {
				x := &input{View: host(), want: []nic.Config{config(1, "10.1.0.5/24")}}
				change(x)
				x.want[0].Adopt = adopt
				if a := plan.Make(x.want, nil, x.View, x.record).Actions[0]; a.Reason != plan.ProtectedLink {
					t.Errorf("Make, adopt %v: %s %q", adopt, a.Kind, a.Reason)
				}
				if r := plan.Again(x.want[0], *x.link(), x.View, x.record, nil); r == nil || r.Reason != plan.ProtectedLink {
					t.Errorf("right before the change, adopt %v: %v", adopt, r)
				}
			}
		})
	}
}

// What Make refuses because of a link is refused right before the change too, if it has come up
// since; and nothing that Make allows.
func TestAgainRefusesWhatMakeRefuses(t *testing.T) {
	// The rest is for the kernel to refuse, or about the plan as a whole.
	lasting := []plan.Reason{plan.ProtectedLink, plan.NotPhysical, plan.ForeignConfig, plan.AddressInUse, plan.CutsAPIPath}
	for name, test := range guardTable {
		t.Run(name, func(t *testing.T) {
			x := &input{View: host(), want: []nic.Config{config(1, "10.1.0.5/24")}}
			test.change(x)
			want := test.reason
			for _, a := range plan.Make(x.want, x.hold, x.View, x.record).Actions {
				if a.NIC.MAC != mac(1) || a.Kind == plan.Remove || a.Link == nil {
					continue
				}
				if want != "" && !slices.Contains(lasting, want) || want == plan.AddressInUse && (len(x.want) > 1 || x.hold != nil) {
					return
				}
				var was *plan.Owned
				if o, ok := x.record.Find(mac(1)); ok {
					was = &o
				}
				var got plan.Reason
				if r := plan.Again(a.NIC, *a.Link, x.View, x.record, was); r != nil {
					got = r.Reason
				}
				if got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		})
	}
}

func checkAction(t *testing.T, a plan.Action) {
	t.Helper()
	switch a.Kind {
	case plan.Configure:
		if a.Reason != "" || a.Message != "" || a.After == nil || a.Link == nil || a.Change.Index != a.Link.Index {
			t.Errorf("a whole Configure has a link, a record and no reason: %+v", a)
		}
	case plan.Refuse, plan.Wait:
		if a.Reason == "" || a.Message == "" || len(a.Message) > 256 || !a.Change.Empty() || a.After != nil {
			t.Errorf("a whole %s has a reason, a message of at most 256 bytes, and changes nothing: %+v", a.Kind, a)
		}
	}
}

// What belongs to container networks, whatever hardware it looks like.
func TestGuardNeverTouchesNamesOfContainerNetworks(t *testing.T) {
	for _, name := range []string{"lo", "cali12345abcdef", "tunl0", "vxlan.calico", "wireguard.cali", "cilium_host", "cilium_net", "cilium_vxlan", "lxc0123", "lxc_health",
		"flannel.1", "flannel-v6.1", "cni0", "kube-ipvs0", "kube-bridge", "nodelocaldns", "docker0", "br-0123456789ab", "br-ex", "br-int", "ovn0", "ovn-k8s-mp0", "ovs-system",
		"genev_sys_6081", "antrea-gw0", "weave", "weave-bridge", "virbr0", "vnet3", "tap0", "tun0", "wg0", "bond0", "team0", "dummy0"} {
		l := link(1)
		l.Name = name
		if r := plan.Guard(l, host()); r == nil || r.Reason != plan.NotPhysical {
			t.Errorf("%s: got %v", name, r)
		}
		if r := plan.NotOurs(l, host()); r == nil {
			t.Errorf("%s: an undo may touch it", name)
		}
	}
	for _, name := range []string{"eth1", "ens4", "enp3s0f1", "eno1", "enx020000000101", "multinic1", "em1", "net1", "veth1", "bri0", "local", "wan", "vlan7"} {
		l := link(1)
		l.Name = name
		if r := plan.Guard(l, host()); r != nil {
			t.Errorf("%s: %s", name, r.Message)
		}
	}
}

func TestAnUndoMayPutBackWhatTheChangeBroke(t *testing.T) {
	l, m := link(1), host()
	m.Lifelines[0].Index = l.Index
	if plan.Guard(l, m) == nil {
		t.Error("the guard lets it be changed")
	}
	if r := plan.NotOurs(l, m); r != nil {
		t.Errorf("it cannot be undone: %s", r.Message)
	}
}

func TestMessagesAreBounded(t *testing.T) {
	x := &input{View: host(), want: []nic.Config{config(1, "10.1.0.5/24")}}
	x.link().Claim = &nic.Claim{Owner: "netplan", Evidence: strings.Repeat("x", 1000)}
	a := plan.Make(x.want, nil, x.View, x.record).Actions[0]
	if len(a.Message) != 256 || !strings.HasSuffix(a.Message, "...; remove that, or set adopt: true to take it over") {
		t.Errorf("got %d bytes: %s", len(a.Message), a.Message)
	}
}

var former = []string{"/etc/netplan/91-multinic1.yaml"}

func inTable(table int, text string) []nic.Route {
	r := route(text)
	r.Table, r.Protocol = table, 4
	return []nic.Route{r}
}
