package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MultiNicBizConfig is the older, cluster-wide object that lists the NICs of every node. Only the
// publisher multinic-legacy reads it, where somebody has asked for that: it makes a
// MultiNicNodeConfig of each entry. Publishers write a MultiNicNodeConfig for each node.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=mnbc,categories=multinic
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Nodes",type=integer,JSONPath=`.status.summary.totalNodes`
// +kubebuilder:printcolumn:name="Configured",type=integer,JSONPath=`.status.summary.configuredNodes`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.summary.failedNodes`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MultiNicBizConfig struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec MultiNicBizConfigSpec `json:"spec"`
	// +optional
	Status MultiNicBizConfigStatus `json:"status,omitzero"`
}

// MultiNicBizConfigList is a list of MultiNicBizConfig.
//
// +kubebuilder:object:root=true
type MultiNicBizConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MultiNicBizConfig `json:"items"`
}

// MultiNicBizConfigSpec is what the publisher wants of all nodes.
type MultiNicBizConfigSpec struct {
	// providerId is the publisher's own name of its provider. multinicd does not read it.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ProviderID string `json:"providerId,omitempty"`

	// specHash is the publisher's own mark of a change. It is repeated in status.observedSpecHash.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	SpecHash string `json:"specHash,omitempty"`

	// nodeConfigs are the nodes, each with its NICs.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10000
	NodeConfigs []BizNodeConfig `json:"nodeConfigs,omitempty"`
}

// BizNodeConfig is one node's share of a MultiNicBizConfig.
type BizNodeConfig struct {
	// attachedNodeId is the OpenStack instance, which is the Node's systemUUID.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	AttachedNodeID string `json:"attachedNodeId,omitempty"`

	// attachedNodeName is the name of the Node.
	// +optional
	// +kubebuilder:validation:MaxLength=200
	AttachedNodeName string `json:"attachedNodeName,omitempty"`

	// interfaces are the NICs of the node. A NIC's place in the list gives it its name.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Interfaces []BizInterface `json:"interfaces,omitempty"`
}

// BizInterface is one NIC of a MultiNicBizConfig, as publishers in the field write it. It has no id
// and no name: both follow from the order of the list.
type BizInterface struct {
	// portId is the OpenStack port behind the NIC. multinicd only shows it.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	PortID string `json:"portId,omitempty"`

	// macAddress is the address by which the NIC is found: six hexadecimal bytes with colons.
	// +required
	// +kubebuilder:validation:MaxLength=17
	MACAddress string `json:"macAddress"`

	// address is the NIC's address, without prefix length. cidr must then give the subnet.
	// +optional
	// +kubebuilder:validation:MaxLength=45
	Address string `json:"address,omitempty"`

	// cidr is the subnet of address, host/prefix or network/prefix.
	// +optional
	// +kubebuilder:validation:MaxLength=49
	CIDR string `json:"cidr,omitempty"`

	// mtu is the NIC's MTU in bytes. If absent, the MTU stays as it is.
	// +optional
	MTU *int32 `json:"mtu,omitempty"`
}

// MultiNicBizConfigStatus sums up the nodes.
type MultiNicBizConfigStatus struct {
	// observedGeneration is the generation that the status speaks about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// observedSpecHash repeats spec.specHash of that generation.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ObservedSpecHash string `json:"observedSpecHash,omitempty"`

	// conditions say how the object as a whole is, each with its reason and a message.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// nodeStatuses has one entry for each entry of spec.nodeConfigs.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10000
	NodeStatuses []BizNodeStatus `json:"nodeStatuses,omitempty"`

	// +optional
	Summary *BizSummary `json:"summary,omitempty"`
}

// BizNodeStatus is one node's state in a MultiNicBizConfig.
type BizNodeStatus struct {
	// attachedNodeId repeats that of the entry.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	AttachedNodeID string `json:"attachedNodeId,omitempty"`

	// attachedNodeName repeats that of the entry.
	// +optional
	// +kubebuilder:validation:MaxLength=200
	AttachedNodeName string `json:"attachedNodeName,omitempty"`

	// +optional
	State State `json:"state,omitempty"`

	// lastProcessed is when something new was last taken over from the node.
	// +optional
	LastProcessed *metav1.Time `json:"lastProcessed,omitempty"`

	// lastJobName is the Job, or the run, that last worked on the node.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	LastJobName string `json:"lastJobName,omitempty"`

	// reason is why the entry is left out, or why the node is not Configured: a word in CamelCase.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`

	// message says to a person what is wrong and what to do.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
}

// BizSummary counts nodes by state. InProgress counts as pending.
type BizSummary struct {
	// totalNodes is the number of entries.
	TotalNodes int32 `json:"totalNodes"`
	// configuredNodes is the number of nodes that are Configured.
	ConfiguredNodes int32 `json:"configuredNodes"`
	// failedNodes is the number of nodes that are Failed.
	FailedNodes int32 `json:"failedNodes"`
	// pendingNodes is the number of nodes that are Pending or InProgress.
	PendingNodes int32 `json:"pendingNodes"`
}
