package v1

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MultiNicNodeConfig says what the additional NICs of one node shall be. Its name is the node's
// name. Publishers write spec. Only the bridge writes status.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=mnnc,categories=multinic
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.nodeName`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Interfaces",type=string,JSONPath=`.status.readyInterfaces`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:selectablefield:JSONPath=`.spec.nodeName`
// +kubebuilder:selectablefield:JSONPath=`.spec.instanceId`
// +kubebuilder:selectablefield:JSONPath=`.spec.providerId`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == self.spec.nodeName || (oldSelf.hasValue() && oldSelf.value().spec == self.spec)",optionalOldSelf=true,fieldPath=".spec.nodeName",message="nodeName must equal metadata.name: the object of a node bears the node's name"
type MultiNicNodeConfig struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec MultiNicNodeConfigSpec `json:"spec"`
	// +optional
	Status MultiNicNodeConfigStatus `json:"status,omitzero"`
}

// MultiNicNodeConfigList is a list of MultiNicNodeConfig.
//
// +kubebuilder:object:root=true
type MultiNicNodeConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MultiNicNodeConfig `json:"items"`
}

// MultiNicNodeConfigSpec is what the publisher wants of the node.
type MultiNicNodeConfigSpec struct {
	// providerId is the publisher's own name of its provider. multinicd does not read it.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ProviderID string `json:"providerId,omitempty"`

	// nodeName equals metadata.name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=200
	NodeName string `json:"nodeName"`

	// instanceId is the OpenStack instance that the node is. The node compares it with what its
	// host knows about itself, and refuses an object that is meant for another machine.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	InstanceID string `json:"instanceId,omitempty"`

	// specHash is the publisher's own mark of a change. multinicd does not read it and repeats it
	// in status.observedSpecHash.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	SpecHash string `json:"specHash,omitempty"`

	// interfaces are the NICs to configure, in any order. A NIC that leaves the list is given back
	// as it was found.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="[self.map(n, n.macAddress.lowerAscii())].all(l, l.all(m, l.exists_one(o, o == m)))",message="two interfaces have the same macAddress: every NIC may be there once"
	// +kubebuilder:validation:XValidation:rule="[self.map(n, has(n.id) ? n.id : has(n.name) && n.name.matches('^multinic[0-9]{1,4}$') ? int(n.name.substring(8)) : -1)].all(l, l.all(i, i < 0 || l.exists_one(o, o == i)))",message="two interfaces have the same id: give each its own id, or name"
	// +kubebuilder:validation:XValidation:rule="[self.map(n, has(n.address) && isIP(n.address) ? ip(n.address) : (!has(n.address) || n.address.size() == 0) && has(n.cidr) && isCIDR(n.cidr) ? cidr(n.cidr).ip() : ip('0.0.0.0'))].all(l, l.all(a, a.isUnspecified() || l.exists_one(o, o == a)))",message="two interfaces have the same address: an address belongs to one NIC"
	// +kubebuilder:validation:XValidation:rule="self.all(n, !has(n.addresses) || n.addresses.all(a, !isCIDR(a) || self.all(o, (has(o.address) && o.address != '') ? !isIP(o.address) || !(ip(o.address) == cidr(a).ip()) : !has(o.cidr) || !isCIDR(o.cidr) || !(cidr(o.cidr).ip() == cidr(a).ip()))))",message="an entry of addresses is also the address of an interface: an address belongs to one NIC"
	// +kubebuilder:validation:XValidation:rule="[self.map(n, has(n.addresses) ? n.addresses.map(a, isCIDR(a) ? cidr(a).ip() : ip('0.0.0.0')) : [])].all(l, l.all(x, x.all(a, a.isUnspecified() || (x.exists_one(b, b == a) && l.exists_one(y, a in y)))))",message="addresses has the same address twice: an address belongs to one NIC, once"
	Interfaces []Interface `json:"interfaces,omitempty"`
}

// Interface is one NIC, known by its MAC address.
//
// +kubebuilder:validation:XValidation:rule="has(self.id) || (has(self.name) && self.name.size() > 0)",fieldPath=".id",message="id and name are both missing: give id (0 to 9999), or name (multinic<id>)"
// +kubebuilder:validation:XValidation:rule="!has(self.id) || !has(self.name) || !self.name.matches('^multinic[0-9]{1,4}$') || int(self.name.substring(8)) == self.id",fieldPath=".name",message="name must be multinic<id>: correct one of the two, or leave one out"
// +kubebuilder:validation:XValidation:rule="!has(self.address) || self.address.size() == 0 || (has(self.cidr) && self.cidr.size() > 0)",fieldPath=".cidr",message="address has no prefix length: give cidr, such as 192.168.100.10/24"
// +kubebuilder:validation:XValidation:rule="!has(self.address) || !isIP(self.address) || !has(self.cidr) || !isCIDR(self.cidr) || (cidr(self.cidr).containsIP(ip(self.address)) && (cidr(self.cidr).ip() == ip(self.address) || cidr(self.cidr) == cidr(self.cidr).masked()))",fieldPath=".cidr",message="cidr is not the subnet of address: address 192.168.100.10 goes with cidr 192.168.100.10/24, or 192.168.100.0/24; correct cidr or address",messageExpression="self.cidr.contains(':') != self.address.contains(':') ? 'cidr ' + self.cidr + ' and address ' + self.address + ' are not of one family, IPv4 or IPv6' : 'cidr ' + self.cidr + ' is not the subnet of address ' + self.address + ': with this prefix length it is ' + self.address + self.cidr.substring(self.cidr.indexOf('/')) + '; correct cidr or address'"
// +kubebuilder:validation:XValidation:rule="(has(self.address) && self.address.size() > 0) || !has(self.cidr) || !isCIDR(self.cidr) || cidr(self.cidr).prefixLength() >= (cidr(self.cidr).ip().family() == 4 ? 31 : 127) || !(cidr(self.cidr) == cidr(self.cidr).masked())",fieldPath=".cidr",message="cidr is a network and address is missing: give address, or spell cidr host/prefix"
// +kubebuilder:validation:XValidation:rule="!has(self.address) || !isIP(self.address) || !has(self.cidr) || !isCIDR(self.cidr) || cidr(self.cidr).prefixLength() >= (cidr(self.cidr).ip().family() == 4 ? 31 : 127) || !(cidr(self.cidr).masked().ip() == ip(self.address))",fieldPath=".address",message="address is the address of the network itself: give one of a host"
// +kubebuilder:validation:XValidation:rule="!has(self.mtu) || self.mtu >= 1280 || !((has(self.cidr) && self.cidr.contains(':')) || (has(self.addresses) && self.addresses.exists(a, a.contains(':'))))",fieldPath=".mtu",message="IPv6 needs an mtu of at least 1280"
// +kubebuilder:validation:XValidation:rule="!has(self.gateway) || !isIP(self.gateway) || (has(self.cidr) && self.cidr.size() > 0 && self.cidr.contains(':') == self.gateway.contains(':')) || (has(self.addresses) && self.addresses.exists(a, a.contains(':') == self.gateway.contains(':')))",fieldPath=".gateway",message="gateway needs an address of its family on this NIC"
// +kubebuilder:validation:XValidation:rule="!has(self.gateway) || !isIP(self.gateway) || !((has(self.address) && self.address.size() > 0 ? isIP(self.address) && ip(self.address) == ip(self.gateway) : has(self.cidr) && isCIDR(self.cidr) && cidr(self.cidr).ip() == ip(self.gateway)) || (has(self.addresses) && self.addresses.exists(a, isCIDR(a) && cidr(a).ip() == ip(self.gateway))))",fieldPath=".gateway",message="gateway is this NIC's own address: give the router's"
// +kubebuilder:validation:XValidation:rule="!has(self.routes) || !self.routes.exists(r, r.to.contains(':')) || (has(self.cidr) && self.cidr.contains(':')) || (has(self.addresses) && self.addresses.exists(a, a.contains(':')))",fieldPath=".routes",message="an IPv6 route needs an IPv6 address on this NIC: give one in cidr or addresses, or take the route out"
// +kubebuilder:validation:XValidation:rule="!has(self.routes) || self.routes.all(r, !has(r.via) || !isIP(r.via) || !((has(self.address) && self.address.size() > 0 ? isIP(self.address) && ip(self.address) == ip(r.via) : has(self.cidr) && isCIDR(self.cidr) && cidr(self.cidr).ip() == ip(r.via)) || (has(self.addresses) && self.addresses.exists(a, isCIDR(a) && cidr(a).ip() == ip(r.via)))))",fieldPath=".routes",message="via of a route is this NIC's own address: give the router's, or leave via out"
type Interface struct {
	// portId is the OpenStack port behind the NIC. multinicd only shows it.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	PortID string `json:"portId,omitempty"`

	// id gives the NIC its name on the host: multinic<id>. It may be left out where name is given.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9999
	ID *int32 `json:"id,omitempty"`

	// name is the NIC's name on the host: multinic<n>, where n is id. It may be left out where id
	// is given.
	// +optional
	// +kubebuilder:validation:MaxLength=12
	// +kubebuilder:validation:XValidation:rule="self == '' || self.matches('^multinic(0|[1-9][0-9]{0,3})$')",message="name must be multinic<id>, id being 0 to 9999 without leading zeros"
	Name string `json:"name,omitempty"`

	// macAddress is the address by which the NIC is found: six hexadecimal bytes with colons, upper
	// or lower case.
	// +required
	// +kubebuilder:validation:MaxLength=17
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$') && self != '00:00:00:00:00:00'",message="macAddress must be the NIC's own address, six hexadecimal bytes with colons, such as 02:00:00:00:01:01"
	MACAddress string `json:"macAddress"`

	// address is the NIC's IPv4 or IPv6 address, without prefix length; cidr must then give the
	// subnet. Without address and cidr the link is only named and set up.
	// +optional
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="self == '' || (isIP(self) && (ip(self).isGlobalUnicast() || ip(self).isLinkLocalUnicast()))",message="address must be an IPv4 or IPv6 address of a host, without prefix length, such as 192.168.100.10"
	Address string `json:"address,omitempty"`

	// cidr is the subnet of address, spelled host/prefix (192.168.100.10/24) or network/prefix
	// (192.168.100.0/24). Without address it must be host/prefix.
	// +optional
	// +kubebuilder:validation:MaxLength=49
	// +kubebuilder:validation:XValidation:rule="self == '' || (isCIDR(self) && cidr(self).prefixLength() > 0 && (cidr(self).ip().isGlobalUnicast() || cidr(self).ip().isLinkLocalUnicast()))",message="cidr must be host/prefix or network/prefix, such as 192.168.100.10/24",messageExpression="!isCIDR(self) && self.matches('^[0-9A-Fa-f:.]+/[1-9][0-9]{1,2}$') && isIP(self.substring(0, self.indexOf('/'))) ? 'the prefix length in cidr ' + self + ' is too large: give 1 to 32 for IPv4, 1 to 128 for IPv6' : isCIDR(self) && cidr(self).prefixLength() == 0 ? 'the prefix length in cidr ' + self + ' is too small: give 1 to 32 for IPv4, 1 to 128 for IPv6' : 'cidr must be host/prefix or network/prefix, such as 192.168.100.10/24'"
	CIDR string `json:"cidr,omitempty"`

	// mtu is the NIC's MTU in bytes. If absent, the MTU stays as it is. It must be at least 1280
	// where the NIC has an IPv6 address.
	// +optional
	// +kubebuilder:validation:Minimum=68
	// +kubebuilder:validation:Maximum=65535
	MTU *int32 `json:"mtu,omitempty"`

	// addresses are further addresses, each host/prefix.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=49
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self) && cidr(self).prefixLength() > 0 && (cidr(self).ip().isGlobalUnicast() || cidr(self).ip().isLinkLocalUnicast())",message="an entry of addresses must be host/prefix, such as 192.168.100.11/24",messageExpression="!isCIDR(self) && self.matches('^[0-9A-Fa-f:.]+/[1-9][0-9]{1,2}$') && isIP(self.substring(0, self.indexOf('/'))) ? 'the prefix length in addresses ' + self + ' is too large: give 1 to 32 for IPv4, 1 to 128 for IPv6' : isCIDR(self) && cidr(self).prefixLength() == 0 ? 'the prefix length in addresses ' + self + ' is too small: give 1 to 32 for IPv4, 1 to 128 for IPv6' : 'an entry of addresses must be host/prefix, such as 192.168.100.11/24'"
	Addresses []string `json:"addresses,omitempty"`

	// routes are the routes through this NIC.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Routes []Route `json:"routes,omitempty"`

	// gateway is the default gateway in the NIC's own routing table. The default route of the main
	// table is never touched.
	// +optional
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="self == '' || (isIP(self) && (ip(self).isGlobalUnicast() || ip(self).isLinkLocalUnicast()))",message="gateway must be an IPv4 or IPv6 address of a host, without prefix length, such as 192.168.100.1"
	Gateway string `json:"gateway,omitempty"`

	// adopt permits multinicd to take over a link that a person configured. What a program configured
	// gives way without it.
	// +optional
	Adopt bool `json:"adopt,omitempty"`
}

// Route is one route through a NIC.
//
// +kubebuilder:validation:XValidation:rule="!isCIDR(self.to) || cidr(self.to).prefixLength() > 0 || (has(self.table) && self.table != 254)",fieldPath=".to",message="a default route in the main table would take the node's own: give table, or use gateway"
// +kubebuilder:validation:XValidation:rule="!has(self.via) || !isIP(self.via) || !isCIDR(self.to) || self.via.contains(':') == self.to.contains(':')",fieldPath=".via",message="via and to must be of one family, IPv4 or IPv6"
type Route struct {
	// to is the destination, network/prefix.
	// +required
	// +kubebuilder:validation:MaxLength=49
	// +kubebuilder:validation:XValidation:rule="isCIDR(self) && cidr(self) == cidr(self).masked()",message="to must be network/prefix without host bits, such as 10.20.0.0/16",messageExpression="!isCIDR(self) && self.matches('^[0-9A-Fa-f:.]+/[1-9][0-9]{1,2}$') && isIP(self.substring(0, self.indexOf('/'))) ? 'the prefix length in to ' + self + ' is too large: give 0 to 32 for IPv4, 0 to 128 for IPv6' : 'to must be network/prefix without host bits, such as 10.20.0.0/16'"
	To string `json:"to"`

	// via is the next hop. If absent, the destination is on the link itself.
	// +optional
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="self == '' || (isIP(self) && (ip(self).isGlobalUnicast() || ip(self).isLinkLocalUnicast()))",message="via must be an IPv4 or IPv6 address of a host, without prefix length, such as 192.168.100.1"
	Via string `json:"via,omitempty"`

	// metric is the metric of the route. The smallest metric wins.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	Metric *int64 `json:"metric,omitempty"`

	// table is the routing table that the route goes into. If absent, it is main.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4294967295
	Table *int64 `json:"table,omitempty"`
}

// State sums up an object or a NIC. For an object it is Failed if any NIC failed or was refused;
// else Pending if any NIC waits; else InProgress while a change runs; else Configured.
//
// +kubebuilder:validation:Enum=Pending;InProgress;Configured;Failed
type State string

// The states.
const (
	StatePending    State = "Pending"
	StateInProgress State = "InProgress"
	StateConfigured State = "Configured"
	StateFailed     State = "Failed"
)

// MultiNicNodeConfigStatus is what the bridge says of the node.
type MultiNicNodeConfigStatus struct {
	// observedGeneration is the generation that state speaks about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// observedSpecHash repeats spec.specHash of that generation. It has no bound, because an object
	// that is older than the rules gets its status too.
	// +optional
	ObservedSpecHash string `json:"observedSpecHash,omitempty"`

	// lastProcessed is when the bridge last took over something new from the node.
	// +optional
	LastProcessed *metav1.Time `json:"lastProcessed,omitempty"`

	// lastJobName is the Job, or the run, that last worked on the node.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	LastJobName string `json:"lastJobName,omitempty"`

	// +optional
	State State `json:"state,omitempty"`

	// readyInterfaces is "configured/wanted", such as 2/2.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	ReadyInterfaces string `json:"readyInterfaces,omitempty"`

	// requestedRun is the uid of the MultiNicNodeRun that the node is asked to do next.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	RequestedRun string `json:"requestedRun,omitempty"`

	// requestedAction is what that run asks for: trigger or cleanup.
	// +optional
	RequestedAction RunAction `json:"requestedAction,omitempty"`

	// releasedGeneration is the newest generation that the rollout brake lets the node apply. -1
	// means none of this object. 0 or absent means that there is no brake.
	// +optional
	ReleasedGeneration int64 `json:"releasedGeneration,omitempty"`

	// releasedAt is the time from which the node could act on releasedGeneration: the time of the
	// release, or a later time at which a silent node came back. It is absent once the node has
	// said how the generation ended.
	// +optional
	ReleasedAt *metav1.Time `json:"releasedAt,omitempty"`

	// reportLevel says which additions to the reports of nodes the bridge knows. 0 means the
	// reports of 0.1.0. Nodes leave out what was added at a higher level.
	// +optional
	ReportLevel int32 `json:"reportLevel,omitempty"`

	// conditions are Ready, Progressing and Degraded, each with its reason and a message.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// interfaceStatuses has one entry for each NIC, sorted by id.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	InterfaceStatuses []InterfaceStatus `json:"interfaceStatuses,omitempty"`
}

// AtLevel is the status without the fields that the CRDs of a level do not have. Levels count as
// those of reports do: 0.1.0 is level 0. The receiver is not changed.
func (s MultiNicNodeConfigStatus) AtLevel(level int32) MultiNicNodeConfigStatus {
	if level >= ReportLevel {
		return s
	}
	if level < 1 {
		s.ReleasedAt, s.ReportLevel = nil, 0
	}
	s.InterfaceStatuses = slices.Clone(s.InterfaceStatuses)
	for i := range s.InterfaceStatuses {
		n := &s.InterfaceStatuses[i]
		if n.LastRepair = nil; level < 1 {
			n.Outcome = ""
		}
	}
	return s
}

// InterfaceStatus is what the node says of one NIC. The report and the status both have it.
type InterfaceStatus struct {
	// id is the id of the NIC, as in spec.interfaces.
	// +required
	ID int32 `json:"id"`

	// name is the name that the NIC has, or is to have, on the host.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Name string `json:"name,omitempty"`

	// macAddress is the address by which the NIC is found, as in spec.interfaces, but in lower
	// case.
	// +required
	MACAddress string `json:"macAddress"`

	// +required
	Status State `json:"status"`

	// reason is why the NIC is in this state: one of the documented words in CamelCase.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`

	// message says to a person what is wrong and what to do.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`

	// outcome is how the change ended, if status is Failed: Refused (the change was not begun), Failed
	// (before anything was changed), RolledBack (the host is as it was before) or RollbackFailed. A
	// node of 0.1.0 gives no outcome.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Outcome Outcome `json:"outcome,omitempty"`

	// address is the address that the kernel has, host/prefix. If there are several, it is the
	// first.
	// +optional
	// +kubebuilder:validation:MaxLength=49
	Address string `json:"address,omitempty"`

	// mtu is the MTU that the kernel has, in bytes.
	// +optional
	MTU int32 `json:"mtu,omitempty"`

	// lastConfigured is when the NIC last became as wanted, by the node's clock.
	// +optional
	LastConfigured *metav1.Time `json:"lastConfigured,omitempty"`

	// lastRepair is the last time that the node put back what somebody had changed on the NIC. If one
	// repair follows another, the node says so up to ten minutes later.
	// +optional
	LastRepair *Repair `json:"lastRepair,omitempty"`
}

// Repair is one repair of a NIC that somebody had changed.
type Repair struct {
	// time is when the NIC was as wanted again, by the node's clock.
	// +required
	Time metav1.Time `json:"time"`

	// count is how many repairs of the NIC the node remembers, this one included.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Count int32 `json:"count,omitempty"`

	// message says what somebody had changed, and who it was, if the kernel tells.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
}
