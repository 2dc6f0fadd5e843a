package publish

import v1 "multinicd/api/v1"

// Wish is what a publisher wants of one machine.
type Wish struct {
	// Node is the name that the publisher has for the machine. It counts only if InstanceID does not
	// lead to a Node.
	Node string
	// InstanceID is the machine's id in its cloud; "" if the publisher does not say.
	InstanceID string
	// Provider is the publisher's provider, which owns the object. An object with a provider is not
	// changed by a wish with another one, or with "".
	Provider string
	// SpecHash is the publisher's own mark of a change; "" if it has none.
	SpecHash string
	// PrimaryPort is kept in the object beside the spec, for the publisher that gives it
	// (v1.PrimaryPortAnnotation); "" leaves what is there.
	PrimaryPort string
	// From is the generation of the object from which the wish was made, 0 for no object. If the
	// object is another one by now, the wish is refused: what has come meanwhile is not in it. nil
	// is a wish that was made of no object.
	From *int64
	// NICs in any order. ID and Name of one are proposals: a NIC that the object has keeps its id.
	NICs []v1.Interface
	// Unread says why the wish could not be read; nil if it could.
	Unread error
}

// Removals says what a NIC means that the object has and the wish has not.
type Removals string

// The meanings.
const (
	// RemovalsKeep: the NIC stays in the object, until somebody removes it from there by hand.
	RemovalsKeep Removals = "keep"
	// RemovalsApply: the NIC goes, unless the wish has no NIC at all.
	RemovalsApply Removals = "apply"
	// RemovalsAll: the NIC goes, also the last one.
	RemovalsAll Removals = "all"
)

// Action is what is done about a wish.
type Action string

// The actions.
const (
	Created   Action = "created"
	Changed   Action = "changed"
	Unchanged Action = "unchanged"
	Refused   Action = "refused"
)

// Reason says in one word why a wish was refused. docs/publishers.md has a row for each.
type Reason string

// The reasons. Temporary says which of them may pass without a change of the wish.
const (
	// Unreadable: the wish could not be read.
	Unreadable Reason = "Unreadable"
	// Invalid: the object would break the rules of the API.
	Invalid Reason = "Invalid"
	// NoName: there is no name under which the object could be written.
	NoName Reason = "NoName"
	// NotOurs: somebody else owns the object.
	NotOurs Reason = "NotOurs"
	// AnotherProvider: the object belongs to another provider of the same publisher.
	AnotherProvider Reason = "AnotherProvider"
	// HandedOver: the object is being handed over to somebody else.
	HandedOver Reason = "HandedOver"
	// EmptyList: the wish has no NIC, and the object has some.
	EmptyList Reason = "EmptyList"
	// NamedTwice: two wishes of one request are about the same machine.
	NamedTwice Reason = "NamedTwice"
	// NoFreeID: every id is taken or reserved.
	NoFreeID Reason = "NoFreeID"
	// InstanceTwice: two Nodes have the instance id. Both are left alone until one has it.
	InstanceTwice Reason = "InstanceTwice"
	// AnotherInstance: the Node of that name is another instance.
	AnotherInstance Reason = "AnotherInstance"
	// NodeUnknown: there is no such Node yet.
	NodeUnknown Reason = "NodeUnknown"
	// Outdated: the object has changed since the wish was made of it.
	Outdated Reason = "Outdated"
	// NotWritten: the API server did not answer, or did not take the object.
	NotWritten Reason = "NotWritten"
)

// Temporary says that the same wish may be taken later.
func (r Reason) Temporary() bool {
	switch r {
	case InstanceTwice, AnotherInstance, NodeUnknown, Outdated, NotWritten:
		return true
	}
	return false
}

// Result is what became of one wish.
type Result struct {
	// Node is the name of the object; "" if no name was found.
	Node   string
	Action Action
	// Reason and Message say why the wish was refused.
	Reason  Reason
	Message string
	// Kept are the names of NICs that stay in the object although the wish has not got them.
	Kept []string
	// Diff is what changes in the object, a line for each field or NIC. It is nil if nothing does.
	Diff []string
	// ResourceVersion and Generation of the object, once it is as wanted. A dry run gives those of
	// before.
	ResourceVersion string
	Generation      int64
}

func refused(node string, reason Reason, message string) Result {
	return Result{Node: node, Action: Refused, Reason: reason, Message: message}
}
