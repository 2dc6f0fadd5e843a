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
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ProviderID string `json:"providerId,omitempty"`

	// +optional
	// +kubebuilder:validation:MaxLength=253
	SpecHash string `json:"specHash,omitempty"`

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

	// +optional
	// +kubebuilder:validation:MaxLength=200
	AttachedNodeName string `json:"attachedNodeName,omitempty"`

	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Interfaces []BizInterface `json:"interfaces,omitempty"`
}

// BizInterface is one NIC of a MultiNicBizConfig, as publishers in the field write it. It has no id
// and no name: both follow from the order of the list.
type BizInterface struct {
	// +optional
	// +kubebuilder:validation:MaxLength=253
	PortID string `json:"portId,omitempty"`

	// +required
	// +kubebuilder:validation:MaxLength=17
	MACAddress string `json:"macAddress"`

	// +optional
	// +kubebuilder:validation:MaxLength=45
	Address string `json:"address,omitempty"`

	// +optional
	// +kubebuilder:validation:MaxLength=49
	CIDR string `json:"cidr,omitempty"`

	// +optional
	MTU *int32 `json:"mtu,omitempty"`
}

// MultiNicBizConfigStatus sums up the nodes.
type MultiNicBizConfigStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// +optional
	// +kubebuilder:validation:MaxLength=253
	ObservedSpecHash string `json:"observedSpecHash,omitempty"`

	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10000
	NodeStatuses []BizNodeStatus `json:"nodeStatuses,omitempty"`

	// +optional
	Summary *BizSummary `json:"summary,omitempty"`
}

// BizNodeStatus is one node's state in a MultiNicBizConfig.
type BizNodeStatus struct {
	// +optional
	// +kubebuilder:validation:MaxLength=253
	AttachedNodeID string `json:"attachedNodeId,omitempty"`

	// +optional
	// +kubebuilder:validation:MaxLength=200
	AttachedNodeName string `json:"attachedNodeName,omitempty"`

	// +optional
	State State `json:"state,omitempty"`

	// +optional
	LastProcessed *metav1.Time `json:"lastProcessed,omitempty"`

	// +optional
	// +kubebuilder:validation:MaxLength=253
	LastJobName string `json:"lastJobName,omitempty"`

	// reason in CamelCase: why the entry is left out, or why the node is not Configured.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`

	// message for a person: what is wrong and what to do.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
}

// BizSummary counts nodes by state. InProgress counts as pending.
type BizSummary struct {
	TotalNodes      int32 `json:"totalNodes"`
	ConfiguredNodes int32 `json:"configuredNodes"`
	FailedNodes     int32 `json:"failedNodes"`
	PendingNodes    int32 `json:"pendingNodes"`
}
