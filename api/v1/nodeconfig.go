package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MultiNicNodeConfig says what the additional NICs of one node shall be. Its
// name is the node's name. Publishers write spec, the bridge alone writes
// status.
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
	// providerId is the publisher's own provider; opaque.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ProviderID string `json:"providerId,omitempty"`

	// nodeName equals metadata.name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=200
	NodeName string `json:"nodeName"`

	// instanceId is the OpenStack instance that the node is. The node compares
	// it with what its host knows about itself and refuses an object that is
	// meant for another machine.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	InstanceID string `json:"instanceId,omitempty"`

	// specHash is the publisher's own change mark; opaque, echoed in
	// status.observedSpecHash.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	SpecHash string `json:"specHash,omitempty"`

	// interfaces are the NICs to configure, in any order. A NIC that leaves the
	// list is given back as it was found.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Interfaces []Interface `json:"interfaces,omitempty"`
}

// Interface is one NIC, known by its MAC address.
type Interface struct {
	// portId is the OpenStack port behind the NIC; opaque.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	PortID string `json:"portId,omitempty"`

	// id gives the NIC its name on the host: multinic<id>. May be left out
	// where name says it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9999
	ID *int32 `json:"id,omitempty"`

	// name of the NIC on the host: multinic<n>, where n is id. May be left out
	// where id says it.
	// +optional
	// +kubebuilder:validation:MaxLength=12
	Name string `json:"name,omitempty"`

	// macAddress by which the NIC is found: six hexadecimal bytes with colons,
	// upper or lower case.
	// +required
	// +kubebuilder:validation:MaxLength=17
	MACAddress string `json:"macAddress"`

	// address is the NIC's IPv4 or IPv6 address, without prefix length; cidr
	// must then say the subnet. With neither, the link is named and up, nothing
	// more.
	// +optional
	// +kubebuilder:validation:MaxLength=45
	Address string `json:"address,omitempty"`

	// cidr is the subnet of address, spelled host/prefix (192.168.100.10/24) or
	// network/prefix (192.168.100.0/24). Alone it must be host/prefix.
	// +optional
	// +kubebuilder:validation:MaxLength=49
	CIDR string `json:"cidr,omitempty"`

	// mtu in bytes; left as it is where absent. At least 1280 where the NIC has
	// an IPv6 address.
	// +optional
	// +kubebuilder:validation:Minimum=68
	// +kubebuilder:validation:Maximum=65535
	MTU *int32 `json:"mtu,omitempty"`

	// addresses are further addresses, each host/prefix.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=49
	Addresses []string `json:"addresses,omitempty"`

	// routes through this NIC.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Routes []Route `json:"routes,omitempty"`

	// gateway is the default gateway in the NIC's own routing table; the main
	// table's default route is never touched.
	// +optional
	// +kubebuilder:validation:MaxLength=45
	Gateway string `json:"gateway,omitempty"`

	// adopt permits multinicd to take over a link that somebody else
	// configured.
	// +optional
	Adopt bool `json:"adopt,omitempty"`
}

// Route is one route through a NIC.
type Route struct {
	// to is the destination, network/prefix.
	// +required
	// +kubebuilder:validation:MaxLength=49
	To string `json:"to"`

	// via is the next hop; absent for a route on the link itself.
	// +optional
	// +kubebuilder:validation:MaxLength=45
	Via string `json:"via,omitempty"`

	// metric of the route; the smallest wins.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Metric *int64 `json:"metric,omitempty"`

	// table into which the route goes; absent: main.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Table *int64 `json:"table,omitempty"`
}

// State sums up an object or a NIC. Of an object: Failed if any NIC failed or
// was refused; else Pending if any waits; else InProgress while a change runs;
// else Configured.
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
	// observedGeneration is the generation of which state speaks.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// observedSpecHash echoes spec.specHash of that generation.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ObservedSpecHash string `json:"observedSpecHash,omitempty"`

	// lastProcessed is when the bridge last took over something new that the
	// node said.
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

	// requestedRun is the uid of the MultiNicNodeRun that the node is asked to
	// do next.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	RequestedRun string `json:"requestedRun,omitempty"`

	// releasedGeneration is the newest generation that the rollout brake lets
	// the node apply; 0 or absent where there is no brake.
	// +optional
	ReleasedGeneration int64 `json:"releasedGeneration,omitempty"`

	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// interfaceStatuses, one for each NIC, sorted by id.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	InterfaceStatuses []InterfaceStatus `json:"interfaceStatuses,omitempty"`
}

// InterfaceStatus is what the node says of one NIC. It stands in the report
// and in status alike.
type InterfaceStatus struct {
	// +required
	ID int32 `json:"id"`

	// +optional
	// +kubebuilder:validation:MaxLength=16
	Name string `json:"name,omitempty"`

	// macAddress in lower case.
	// +required
	// +kubebuilder:validation:MaxLength=17
	MACAddress string `json:"macAddress"`

	// +required
	Status State `json:"status"`

	// reason in CamelCase, one of the documented ones.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`

	// message for a person: what is wrong and what to do.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`

	// address that the kernel has, host/prefix; the first where there are more.
	// +optional
	// +kubebuilder:validation:MaxLength=49
	Address string `json:"address,omitempty"`

	// mtu that the kernel has, bytes.
	// +optional
	MTU int32 `json:"mtu,omitempty"`

	// lastConfigured is when the NIC last became as wanted, by the node's
	// clock.
	// +optional
	LastConfigured *metav1.Time `json:"lastConfigured,omitempty"`
}
