package openstack

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "multinicd/api/v1"
)

// Port is what is read of a port in Neutron.
type Port struct {
	ID, Name   string
	MACAddress string // lower case
	NetworkID  string
	// DeviceID is the instance, DeviceOwner what kind of device it is; both are "" for a port that
	// is attached to nothing.
	DeviceID, DeviceOwner string
	ProjectID             string
	// Status is Neutron's word. It decides nothing: with OVN a port that works may stay DOWN.
	Status   string
	FixedIPs []FixedIP // in any order
	Tags     []string
	// Created is zero if the cloud does not say.
	Created time.Time
	// Cloud is the name of the entry of clouds.yaml by which the port was seen.
	Cloud string
}

// FixedIP is an address of a port.
type FixedIP struct {
	SubnetID string
	Address  netip.Addr
}

// Network is what is read of a network.
type Network struct {
	MTU int32 // 0: not known
}

// Subnet is what is read of a subnet.
type Subnet struct {
	CIDR       netip.Prefix
	Gateway    netip.Addr // zero: none
	HostRoutes []HostRoute
}

// HostRoute is a route that the subnet's DHCP server would tell.
type HostRoute struct {
	To  netip.Prefix
	Via netip.Addr
}

// Seen is what Neutron said in one walk.
type Seen struct {
	// Whole says that every cloud was walked to its end. If not, nothing is missing.
	Whole bool
	// Ports of the instances that were asked for.
	Ports []Port
	// Networks and Subnets by id. One that is not there cannot be read.
	Networks map[string]Network
	Subnets  map[string]Subnet
	// Projects are those whose ports count.
	Projects map[string]bool
	// Regions of the clouds; "" is a cloud that has none.
	Regions map[string]bool
}

// Machine is what is read of a Node.
type Machine struct {
	// Name of the Node.
	Name string
	// ProviderID is spec.providerID; "" if nothing has set it.
	ProviderID string
	// SystemUUID is status.nodeInfo.systemUUID, which the kubelet says of itself.
	SystemUUID string
	// Addresses are the node's own, in the order of the Node: those that the kubelet was told
	// (the annotation alpha.kubernetes.io/provided-node-ip), else its InternalIPs.
	Addresses []netip.Addr
}

// scheme is that of the provider ids which OpenStack's cloud provider gives.
const scheme = "openstack://"

// instance gives the machine's id in its cloud, in lower case; "" if it is no machine of our clouds.
// The forms are openstack:///UUID and openstack://REGION/UUID.
func (m Machine) instance(regions map[string]bool) string {
	if m.ProviderID == "" {
		return strings.ToLower(m.SystemUUID)
	}
	rest, ok := strings.CutPrefix(m.ProviderID, scheme)
	region, id, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 || strings.Contains(id, "/") || region != "" && !regions[region] && !regions[""] {
		return ""
	}
	return strings.ToLower(id)
}

// own are the addresses that make a port the primary one: the first of each family. More of them may
// stand in a Node, because OpenStack's cloud provider writes those of all ports there.
func (m Machine) own() []netip.Addr {
	var out []netip.Addr
	for _, a := range m.Addresses {
		if !slices.ContainsFunc(out, func(o netip.Addr) bool { return o.Is4() == a.Is4() }) {
			out = append(out, a)
		}
	}
	return out
}

// Rules say which ports are managed, and what is written of them.
type Rules struct {
	// Networks, Subnets and Tags are the allow list: ids, and tags of ports. A port is managed if
	// one of them names it, or if it has the tag v1.EnabledTag.
	Networks, Subnets, Tags []string
	// Provider is spec.providerId of new objects. It is not "".
	Provider string
	// MTU, Gateway and HostRoutes say which of these are written. What is not written stays as the
	// object has it.
	MTU, Gateway, HostRoutes bool
	// RemovalAge is how long a port has to be gone, and in two walks at least, until its NIC goes.
	RemovalAge time.Duration
}

// allow says whether the rules give a port to us.
func (r Rules) allow(p Port) bool {
	return slices.Contains(p.Tags, v1.EnabledTag) || slices.Contains(r.Networks, p.NetworkID) ||
		slices.ContainsFunc(p.FixedIPs, func(f FixedIP) bool { return slices.Contains(r.Subnets, f.SubnetID) }) ||
		slices.ContainsFunc(p.Tags, func(tag string) bool { return slices.Contains(r.Tags, tag) })
}

// id is the id that the port's tags propose.
func (p Port) id() *int32 {
	for _, tag := range p.Tags {
		text, ok := strings.CutPrefix(tag, v1.IDTag)
		if n, err := strconv.ParseUint(text, 10, 31); ok && err == nil && n <= v1.MaxID {
			return new(int32(n))
		}
	}
	return nil
}

// Reason says in one word why a port or a node is left alone. docs/openstack.md has a row for each.
type Reason string

// Reasons of a port.
const (
	// Primary: the node has its own address by this port.
	Primary Reason = "Primary"
	// NotAllowed: neither the allow list nor a tag gives the port to us.
	NotAllowed Reason = "NotAllowed"
	// ForeignProject: the port is not one of our projects.
	ForeignProject Reason = "ForeignProject"
	// ForeignOwner: the port's device_owner is not an instance.
	ForeignOwner Reason = "ForeignOwner"
	// Subport: the port is a subport of a trunk: no NIC, but a VLAN on one.
	Subport Reason = "Subport"
	// Malformed: what Neutron says of the port cannot be a NIC.
	Malformed Reason = "Malformed"
	// NoAddress: the port has no address. A NIC that had one keeps it.
	NoAddress Reason = "NoAddress"
	// SubnetUnreadable: a subnet of the port cannot be read. A NIC keeps its addresses.
	SubnetUnreadable Reason = "SubnetUnreadable"
	// SameMAC and SameAddress: another NIC of the node has it.
	SameMAC     Reason = "SameMAC"
	SameAddress Reason = "SameAddress"
	// TooMany: the object is full.
	TooMany Reason = "TooMany"
	// IDKept: the port is managed under another id than its tag proposes.
	IDKept Reason = "IDKept"
)

// Reasons of a NIC that stays in the object although no port is managed for it.
const (
	// NoPort: the NIC names no port. Somebody wrote it by hand.
	NoPort Reason = "NoPort"
	// RemovalPending: the port is gone. Neutron has to say so again.
	RemovalPending Reason = "RemovalPending"
	// RemovalUnproved: the port is gone from the list, and asked for alone it is not.
	RemovalUnproved Reason = "RemovalUnproved"
	// RemovalHeld: more NICs would go in a short time than is plausible. A person has to say so.
	RemovalHeld Reason = "RemovalHeld"
)

// Reasons of a node that is frozen: its object stays as it is.
const (
	// InstanceTwice: two Nodes are the same instance.
	InstanceTwice Reason = "InstanceTwice"
	// NoPrimary: no port has the node's own address.
	NoPrimary Reason = "NoPrimary"
	// PrimaryInObject: the port with the node's own address stands in the object.
	PrimaryInObject Reason = "PrimaryInObject"
	// NotOfCloud: the Node is no instance of the clouds that are asked.
	NotOfCloud Reason = "NotOfCloud"
)
