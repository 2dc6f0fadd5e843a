package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// NodeTokenRequest is how a node gets its first token, or a new one after its last token has ended.
// It is in NodesNamespace and has the node's name. The node creates the request with a public key
// that it made for this request alone. The bridge answers with a token that only the holder of the
// private key can read, and deletes the request soon after.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=ntr,categories=multinic
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Door",type=string,JSONPath=`.spec.door`
// +kubebuilder:printcolumn:name="Sealed",type=date,JSONPath=`.status.sealedAt`
// +kubebuilder:printcolumn:name="Refused",type=string,JSONPath=`.status.reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type NodeTokenRequest struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a request is not changed: delete it, or wait until the bridge does, and create another"
	Spec NodeTokenRequestSpec `json:"spec"`
	// +optional
	Status NodeTokenRequestStatus `json:"status,omitzero"`
}

// NodeTokenRequestList is a list of NodeTokenRequest.
//
// +kubebuilder:object:root=true
type NodeTokenRequestList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NodeTokenRequest `json:"items"`
}

// Door is how the node shows which node it is.
//
// +kubebuilder:validation:Enum=Kubelet;JoinToken
type Door string

// The doors. Admission checks for each door who comes through it. So the bridge can believe what
// the request says.
const (
	// DoorKubelet: the requester is system:node:<node>.
	DoorKubelet Door = "Kubelet"
	// DoorJoinToken: the requester is the ServiceAccount JoinAccountName(node).
	DoorJoinToken Door = "JoinToken"
)

// PublicKeySize of a NodeTokenRequest, in bytes: X25519.
const PublicKeySize = 32

// NodeTokenRequestSpec is what the node asks.
type NodeTokenRequestSpec struct {
	// door is Kubelet or JoinToken.
	// +required
	Door Door `json:"door"`

	// publicKey is an X25519 key, 32 bytes, made for this request alone. A key that the bridge has
	// seen before is refused. Base64.
	// ---
	// The format is not byte: the rules of the spec would then read the key as URL base64, and fail
	// on a '+' (API server 1.37). The pattern keeps out what no client could decode: one such
	// request would hide all others from the bridge.
	// +required
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9+/]{43}=$`
	// +kubebuilder:validation:Format=""
	// +kubebuilder:validation:MinLength=44
	// +kubebuilder:validation:MaxLength=44
	PublicKey []byte `json:"publicKey"`
}

// NodeTokenRequestStatus is the bridge's answer: a sealed token, or a reason.
type NodeTokenRequestStatus struct {
	// sealedToken is the token as SealToken made it.
	// +optional
	// +kubebuilder:validation:MaxLength=16384
	SealedToken []byte `json:"sealedToken,omitempty"`

	// sealedAt is when the token was sealed.
	// +optional
	SealedAt *metav1.Time `json:"sealedAt,omitempty"`

	// reason is why there is no token, for programs. It is empty if there is a token, or if the
	// bridge has not answered yet.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`

	// message says the same to people, and what to do.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message,omitempty"`
}

// Reasons of a NodeTokenRequest that was refused, and of the Event that says so.
const (
	// ReasonNodeNotExpected: there is no Node, no object and no ServiceAccount of that name.
	ReasonNodeNotExpected = "NodeNotExpected"
	// ReasonNodeAlreadyJoined: a machine has joined under that name, and the join token was not
	// made with --replace.
	ReasonNodeAlreadyJoined = "NodeAlreadyJoined"
	// ReasonJoinTokenEnded: the join token by which the request was made has since been used or
	// revoked, or has ended.
	ReasonJoinTokenEnded = "JoinTokenEnded"
	// ReasonKeyReplayed: a token was sealed to that public key before.
	ReasonKeyReplayed = "KeyReplayed"
	// ReasonKeyInvalid: the public key is not a key.
	ReasonKeyInvalid = "KeyInvalid"
	// ReasonNodeBlocked: an administrator has blocked the node (BlockedName).
	ReasonNodeBlocked = "NodeBlocked"
	// ReasonAdmissionMissing: the admission policies that keep nodes to their own things are not in
	// force. Without them nothing is handed out.
	ReasonAdmissionMissing = "AdmissionMissing"
)

// LeaseHolder is the holderIdentity of the node's Lease: who renews it, and by which request that
// machine joined. When the bridge sees the uid of a request there, it knows that the token has
// arrived. request is "" if no NodeTokenRequest gave the credential.
func LeaseHolder(node string, request types.UID) string {
	if request == "" {
		return node
	}
	return node + "_" + string(request)
}
