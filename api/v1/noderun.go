package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MultiNicNodeRun asks one node to do something once, now. It is in SystemNamespace, as the objects
// of the nodes are. To create one for a node takes the verb of its action on that node's
// MultiNicNodeConfig. The bridge hands the run to the node, says in status how the run ended, and
// deletes it an hour later.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=mnnr,categories=multinic
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.node`
// +kubebuilder:printcolumn:name="Action",type=string,JSONPath=`.spec.action`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Exit",type=integer,JSONPath=`.status.exitCode`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MultiNicNodeRun struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a run is not changed: create another"
	Spec MultiNicNodeRunSpec `json:"spec"`
	// +optional
	Status MultiNicNodeRunStatus `json:"status,omitzero"`
}

// MultiNicNodeRunList is a list of MultiNicNodeRun.
//
// +kubebuilder:object:root=true
type MultiNicNodeRunList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MultiNicNodeRun `json:"items"`
}

// RunAction is what a node is asked to do. It is also a verb: who asks must have that verb on the
// node's MultiNicNodeConfig.
//
// +kubebuilder:validation:Enum=trigger;cleanup
type RunAction string

// The actions.
const (
	// ActionTrigger: configure the NICs as the object says, now, without waiting for the next
	// retry.
	ActionTrigger RunAction = "trigger"
	// ActionCleanup: give all NICs back as they were found. This holds until the object changes or
	// a trigger is asked for.
	ActionCleanup RunAction = "cleanup"
)

// MultiNicNodeRunSpec is what is asked, and of which node. It never changes.
type MultiNicNodeRunSpec struct {
	// node is the name of the node. The node's object has the same name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=200
	Node string `json:"node"`

	// action is trigger or cleanup.
	// +required
	Action RunAction `json:"action"`
}

// RunState is how far a run has come.
//
// +kubebuilder:validation:Enum=Pending;Running;Succeeded;Failed
type RunState string

// The states of a run. A run ends as Succeeded or Failed.
const (
	RunPending   RunState = "Pending"
	RunRunning   RunState = "Running"
	RunSucceeded RunState = "Succeeded"
	RunFailed    RunState = "Failed"
)

// MultiNicNodeRunStatus is what the bridge says of the run.
type MultiNicNodeRunStatus struct {
	// state is Pending while the run waits for its turn and Running once the node has been asked.
	// At the end it is Succeeded (exitCode 0) or Failed.
	// +optional
	State RunState `json:"state,omitempty"`

	// exitCode is the exit code that `multinicd apply` would have had: 0 done; 1 failed before any
	// change; 3 rolled back; 4 rollback failed; 5 some NICs wait; 6 some NICs were refused. It is
	// absent until the run has ended.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=255
	ExitCode *int32 `json:"exitCode,omitempty"`

	// observedGeneration is the generation of the object that the node worked on.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// reason is why the run ended as it did: one of the documented words in CamelCase.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`

	// message says to a person how the run ended.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message,omitempty"`

	// finishedAt is when the bridge learned how the run ended.
	// +optional
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`
}

// Reasons of a MultiNicNodeRun. It may also have the reasons of an object's Ready condition.
const (
	// ReasonCompleted: the node has done the run, and nothing is left to be done.
	ReasonCompleted = "Completed"
	// ReasonAwaitingNode: the node has been asked and has not answered yet.
	ReasonAwaitingNode = "AwaitingNode"
	// ReasonQueued: an older run of the same node comes first.
	ReasonQueued = "Queued"
	// ReasonNoObject: the node has no MultiNicNodeConfig. Only through that object can the node be
	// asked.
	ReasonNoObject = "NoObject"
	// ReasonRunUnanswered: the node did not answer within an hour.
	ReasonRunUnanswered = "RunUnanswered"
)
