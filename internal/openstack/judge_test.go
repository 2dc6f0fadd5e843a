package openstack

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/publish"
)

const (
	instanceOne = "0c497169-a104-4448-afde-f27b79fca904"
	project     = "project-1"
)

var (
	begin = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	rules = Rules{Networks: []string{"data"}, Provider: "openstack", MTU: true, RemovalAge: time.Minute}
	by    = publish.Owner{Name: v1.PublisherOpenStack, Removals: publish.RemovalsAll}
)

// seen is a walk that was whole, with one network of each kind.
func seen(ports ...Port) Seen {
	return Seen{
		Whole: true, Ports: ports, Projects: map[string]bool{project: true}, Regions: map[string]bool{"RegionOne": true},
		Networks: map[string]Network{"mgmt": {1500}, "data": {1450}, "other": {1450}},
		Subnets: map[string]Subnet{
			"mgmt-4": {CIDR: netip.MustParsePrefix("192.0.2.0/24")},
			"data-4": {CIDR: netip.MustParsePrefix("10.0.0.0/16"), Gateway: netip.MustParseAddr("10.0.0.1"), HostRoutes: []HostRoute{
				{netip.MustParsePrefix("10.9.0.0/16"), netip.MustParseAddr("10.0.0.2")},
				{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.0.0.2")},
				{metadata, netip.MustParseAddr("10.0.0.2")},
			}},
			"data-6":  {CIDR: netip.MustParsePrefix("2001:db8:1::/64")},
			"other-4": {CIDR: netip.MustParsePrefix("10.0.0.0/16")},
		},
	}
}

func machine(name, instance string) Machine {
	return Machine{Name: name, ProviderID: "openstack:///" + instance, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.11")}}
}

// primary is the port by which a machine has its own address.
func primary() Port {
	p := port("a", 0)
	p.NetworkID, p.FixedIPs = "mgmt", []FixedIP{{"mgmt-4", netip.MustParseAddr("192.0.2.11")}}
	return p
}

// port is one that is managed; n is its place in time, and in its MAC and its address.
func port(id string, n int) Port {
	return Port{
		ID: id, MACAddress: fmt.Sprintf("fa:16:3e:00:00:%02x", n), NetworkID: "data", DeviceID: instanceOne, DeviceOwner: "compute:nova", ProjectID: project, Tags: []string{},
		Created: begin.Add(time.Duration(n) * time.Second), FixedIPs: []FixedIP{{"data-4", netip.AddrFrom4([4]byte{10, 0, 1, byte(n)})}},
	}
}

func with[T any](p T, f func(*T)) T { f(&p); return p }

// object is one of ours, as it is made of ports.
func object(t fataler, ports ...Port) *v1.MultiNicNodeConfig {
	t.Helper()
	w := World{Now: begin, Machines: []Machine{machine("n1", instanceOne)}, Seen: seen(append([]Port{primary()}, ports...)...)}
	v := Judge(w, Memory{}, nil, rules)
	return stored(t, nil, *v.Nodes[0].Wish)
}

// fataler is a test, or one try of a property.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// stored is the object once a wish was written.
func stored(t fataler, have *v1.MultiNicNodeConfig, wish publish.Wish) *v1.MultiNicNodeConfig {
	t.Helper()
	d := by.Decide(wish.Node, wish, have)
	if d.Action == publish.Refused {
		t.Fatalf("refused: %s %s", d.Reason, d.Message)
	}
	next := d.Object.DeepCopy()
	if d.Action != publish.Unchanged {
		next.Generation++
	}
	return next
}

// short is what is wished, by the last byte of each MAC; and the remarks that are not about the
// primary port.
func short(t fataler, n NodeVerdict, have *v1.MultiNicNodeConfig) string {
	t.Helper()
	var words []string
	switch {
	case n.Frozen != "":
		return string(n.Frozen)
	case n.Wish == nil:
		words = append(words, "nothing")
	default:
		normals, _ := stored(t, have, *n.Wish).Validate()
		for _, nic := range normals {
			words = append(words, fmt.Sprintf("%s=%s", strings.TrimPrefix(nic.Name, "multinic"), nic.MACAddress[15:]))
		}
	}
	for _, r := range n.Remarks {
		if r.Reason != Primary {
			words = append(words, r.PortID+":"+string(r.Reason))
		}
	}
	return strings.Join(words, " ")
}

func TestWhichPortsBecomeNICs(t *testing.T) {
	enabled := func(p *Port) { p.NetworkID = "other"; p.Tags = []string{v1.EnabledTag} }
	taken := func(id string) func(*Port) { return func(p *Port) { p.Tags = []string{v1.IDTag + id} } }
	ours := object(t, port("b", 1), port("c", 2))
	for _, row := range []struct {
		name  string
		have  *v1.MultiNicNodeConfig
		ports []Port
		want  string
	}{
		{"the ports of an allowed network, by their age", nil, []Port{port("c", 2), port("b", 1)}, "0=01 1=02"},
		{"a node with a primary port alone", nil, nil, "nothing"},
		{"a port of another network is left out", nil, []Port{with(port("b", 1), func(p *Port) { p.NetworkID = "other" })}, "nothing b:NotAllowed"},
		{"unless its tag says so", nil, []Port{with(port("b", 1), enabled)}, "0=01"},
		{"a port of another project", nil, []Port{with(port("b", 1), func(p *Port) { p.ProjectID = "evil" })}, "nothing b:ForeignProject"},
		{"a port that is no instance's", nil, []Port{with(port("b", 1), func(p *Port) { p.DeviceOwner = "network:dhcp" })}, "nothing b:ForeignOwner"},
		{"a port whose owner was never set", nil, []Port{with(port("b", 1), func(p *Port) { p.DeviceOwner = "" })}, "nothing b:ForeignOwner"},
		{"a subport of a trunk", nil, []Port{with(port("b", 1), func(p *Port) { p.DeviceOwner = "trunk:subport" })}, "nothing b:Subport"},
		{"a port that is DOWN counts like any other", nil, []Port{with(port("b", 1), func(p *Port) { p.Status = "DOWN" })}, "0=01"},
		{"a new port without an address", nil, []Port{with(port("b", 1), func(p *Port) { p.FixedIPs = nil })}, "nothing b:NoAddress"},
		{"a NIC whose port has lost its address keeps it", ours, []Port{with(port("b", 1), func(p *Port) { p.FixedIPs = nil }), port("c", 2)}, "0=01 1=02 b:NoAddress"},
		{"a new port in a subnet that cannot be read", nil, []Port{with(port("b", 1), func(p *Port) { p.FixedIPs[0].SubnetID = "hidden" })}, "nothing b:SubnetUnreadable"},
		{"an address outside of the subnet", nil, []Port{with(port("b", 1), func(p *Port) { p.FixedIPs[0].SubnetID = "mgmt-4" })}, "nothing b:Malformed"},
		{"a MAC that is none", nil, []Port{with(port("b", 1), func(p *Port) { p.MACAddress = "01:00:5e:00:00:01" }), port("c", 2)}, "0=02 b:Malformed"},
		{"a tag gives the id", nil, []Port{with(port("b", 1), taken("7")), port("c", 2)}, "0=02 7=01"},
		{"two tags give the same id: the older port has it", nil, []Port{with(port("b", 1), taken("7")), with(port("c", 2), taken("7"))}, "0=02 7=01 c:IDKept"},
		{"a tag that comes later changes nothing", ours, []Port{with(port("b", 1), taken("7")), port("c", 2)}, "0=01 1=02 b:IDKept"},
		{"a tag that is no id", nil, []Port{with(port("b", 1), taken("-1")), with(port("c", 2), taken("10000"))}, "0=01 1=02"},
		{"the ids stay in any order", ours, []Port{port("c", 2), with(port("b", 1), func(p *Port) { p.Created = begin.Add(time.Hour) })}, "0=01 1=02"},
		{"a new port comes behind", ours, []Port{with(port("d", 0x30), func(p *Port) { p.Created = begin }), port("c", 2), port("b", 1)}, "0=01 1=02 2=30"},
		{"two ports with one MAC: the older one", nil, []Port{port("b", 1), with(port("c", 2), func(p *Port) { p.MACAddress = "fa:16:3e:00:00:01" })}, "0=01 c:SameMAC"},
		{"two ports with one address: who is there stays", ours, []Port{port("b", 1), port("c", 2), with(port("0", 3), func(p *Port) {
			p.Created, p.FixedIPs = begin, []FixedIP{{"data-4", netip.MustParseAddr("10.0.1.1")}}
		})}, "0=01 1=02 0:SameAddress"},
		{"a port that is gone for one walk stays", ours, []Port{port("b", 1)}, "0=01 1=02 c:RemovalPending"},
		{"a port with the MAC of one that is gone has its id", ours, []Port{port("b", 1), with(port("d", 4), func(p *Port) { p.MACAddress = "fa:16:3e:00:00:02" })}, "0=01 1=02"},
		{"a port with the address of one that is gone waits", ours, []Port{port("b", 1), with(port("d", 4), func(p *Port) { p.FixedIPs = port("c", 2).FixedIPs })}, "0=01 1=02 c:RemovalPending d:SameAddress"},
		{"a NIC by hand, that no port has, stays", byHand(ours), []Port{port("b", 1), port("c", 2)}, "0=01 1=02 9=99 :NoPort"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := World{Now: begin, Machines: []Machine{machine("n1", instanceOne)}, Seen: seen(append(slices.Clone(row.ports), primary())...)}
			if row.have != nil {
				w.Objects = []*v1.MultiNicNodeConfig{row.have}
			}
			if got := short(t, Judge(w, Memory{}, nil, rules).Nodes[0], row.have); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func byHand(o *v1.MultiNicNodeConfig) *v1.MultiNicNodeConfig {
	o = o.DeepCopy()
	o.Spec.Interfaces = append(o.Spec.Interfaces, v1.Interface{ID: new(int32(9)), MACAddress: "02:00:00:00:00:99"})
	return o
}

func TestWhichNodesAreFrozen(t *testing.T) {
	noted := func(id string) *v1.MultiNicNodeConfig {
		o := object(t, port("b", 1))
		metav1.SetMetaDataAnnotation(&o.ObjectMeta, v1.PrimaryPortAnnotation, id)
		return o
	}
	handed := object(t, port("b", 1))
	handed.Labels[v1.PublisherLabel] = "multinic-intake"
	others := handed.DeepCopy()
	metav1.SetMetaDataAnnotation(&handed.ObjectMeta, v1.HandOverAnnotation, v1.PublisherOpenStack)
	delete(handed.Annotations, v1.PrimaryPortAnnotation)
	b, away := port("b", 1), with(primary(), func(p *Port) { p.FixedIPs = []FixedIP{{"mgmt-4", netip.MustParseAddr("192.0.2.99")}} })
	taken := with(port("b", 1), func(p *Port) { p.FixedIPs = append(p.FixedIPs, FixedIP{"mgmt-4", netip.MustParseAddr("192.0.2.11")}) })
	for _, row := range []struct {
		name     string
		machines []Machine
		have     *v1.MultiNicNodeConfig
		ports    []Port
		want     string
	}{
		{"an instance without ports", nil, nil, nil, "NoPrimary"},
		{"no port has the node's address", nil, nil, []Port{b, away}, "NoPrimary"},
		{"the recorded primary port has another address now", nil, noted("a"), []Port{b, away}, "0=01"},
		{"every port's address stands in the Node: the recorded one is primary", nil, noted("a"), []Port{taken, primary()}, "0=01"},
		{"the recorded port is gone, and another one has the node's address", nil, noted("old"), []Port{b, primary()}, "0=01"},
		{"the node's address is that of a NIC", nil, noted("old"), []Port{taken}, "PrimaryInObject"},
		{"an object that is handed over has the primary port", nil, handed, []Port{taken}, "PrimaryInObject"},
		{"an object that is handed over", nil, handed, []Port{b, primary()}, "0=01"},
		{"two Nodes of one instance", []Machine{machine("n1", instanceOne), machine("n2", instanceOne)}, nil, []Port{b, primary()}, "InstanceTwice"},
		{"a machine of another cloud", []Machine{{Name: "n1", ProviderID: "aws:///eu/i-1"}}, nil, []Port{b, primary()}, "NotOfCloud"},
		{"a machine of another region", []Machine{{Name: "n1", ProviderID: "openstack://RegionTwo/" + instanceOne}}, nil, []Port{b, primary()}, "NotOfCloud"},
		{"a machine whose kubelet says who it is", []Machine{{Name: "n1", SystemUUID: strings.ToUpper(instanceOne), Addresses: machine("", "").Addresses}}, nil, []Port{b, primary()}, "0=01"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := World{Now: begin, Machines: row.machines, Seen: seen(row.ports...)}
			if w.Machines == nil {
				w.Machines = []Machine{machine("n1", instanceOne)}
			}
			if row.have != nil {
				w.Objects = []*v1.MultiNicNodeConfig{row.have}
			}
			v := Judge(w, Memory{}, nil, rules)
			for _, n := range v.Nodes {
				if got := short(t, n, row.have); got != row.want {
					t.Errorf("%s: got %q, want %q: %s", n.Node, got, row.want, n.Message)
				}
			}
		})
	}
	// somebody else's object: internal/publish refuses, and nothing is thought of as gone
	v := Judge(World{Machines: []Machine{machine("n1", instanceOne)}, Objects: []*v1.MultiNicNodeConfig{others}, Seen: seen(primary(), port("z", 9))}, Memory{}, nil, rules)
	if d := by.Decide("n1", *v.Nodes[0].Wish, others); d.Reason != publish.NotOurs || len(v.Nodes[0].Remarks) != 1 {
		t.Errorf("%s %v", d.Reason, v.Nodes[0].Remarks)
	}
}

func TestWhatANICIsMadeOf(t *testing.T) {
	six := FixedIP{"data-6", netip.MustParseAddr("2001:db8:1::5")}
	last := v1.Interface{PortID: "b", MACAddress: "fa:16:3e:00:00:01", Address: "10.0.1.1", CIDR: "10.0.0.0/16", MTU: new(int32(1400)), Gateway: "10.0.0.9", Adopt: true}
	all := rules
	all.Gateway, all.HostRoutes = true, true
	none := rules
	none.MTU = false
	for _, row := range []struct {
		name  string
		rules Rules
		port  Port
		last  *v1.Interface
		want  string
	}{
		{"address, prefix and MTU", rules, port("b", 1), nil, "10.0.1.1 10.0.1.1/16 [] mtu 1450 gateway  routes [] adopt false"},
		{"gateway and host routes, without those that are the node's", all, port("b", 1), nil, "10.0.1.1 10.0.1.1/16 [] mtu 1450 gateway 10.0.0.1 routes [{10.9.0.0/16 10.0.0.2 <nil> <nil>}] adopt false"},
		{"what Neutron is not asked for stays", none, port("b", 1), &last, "10.0.1.1 10.0.1.1/16 [] mtu 1400 gateway 10.0.0.9 routes [] adopt true"},
		{"a network that cannot be read: the last MTU", rules, with(port("b", 1), func(p *Port) { p.NetworkID = "hidden" }), &last, "10.0.1.1 10.0.1.1/16 [] mtu 1400 gateway 10.0.0.9 routes [] adopt true"},
		{"IPv4 goes before IPv6", rules, with(port("b", 1), func(p *Port) { p.FixedIPs = []FixedIP{six, p.FixedIPs[0]} }), nil, "10.0.1.1 10.0.1.1/16 [2001:db8:1::5/64] mtu 1450 gateway  routes [] adopt false"},
		{"the first address stays the first", rules, with(port("b", 1), func(p *Port) {
			p.FixedIPs = []FixedIP{{"data-4", netip.MustParseAddr("10.0.0.7")}, p.FixedIPs[0]}
		}), &last, "10.0.1.1 10.0.1.1/16 [10.0.0.7/16] mtu 1450 gateway 10.0.0.9 routes [] adopt true"},
	} {
		t.Run(row.name, func(t *testing.T) {
			nic, no := row.rules.nic(row.port, seen(), row.last)
			if no != nil {
				t.Fatal(no)
			}
			mtu := int32(0)
			if nic.MTU != nil {
				mtu = *nic.MTU
			}
			got := fmt.Sprintf("%s %s %v mtu %d gateway %s routes %v adopt %v", nic.Address, nic.CIDR, nic.Addresses, mtu, nic.Gateway, nic.Routes, nic.Adopt)
			if got != row.want {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
		})
	}
}
