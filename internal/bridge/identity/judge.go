package identity

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// Annotations of the node's ServiceAccount by which the bridge remembers.
const (
	// objectAnnotation is the uid of the node's last object.
	objectAnnotation = v1.ObjectUIDAnnotation
	// sinceAnnotation is the time since when nothing speaks for the node any more.
	sinceAnnotation = "multinic.io/unclaimed-since"
	// secretAnnotation is "true" if there may be a Secret that tokens are bound to. The bridge
	// cannot read Secrets.
	secretAnnotation = "multinic.io/secret"
)

const (
	// keepCredential is how long a node keeps its identity after nothing speaks for it any more.
	keepCredential = 24 * time.Hour
	// keepSecret is how long the Secret stays after the Node has come. By then every token that was
	// bound to the Secret has been renewed, and is bound to the Node.
	keepSecret = 2 * time.Hour
	// noteLease is how old the note about a moving Lease may get.
	noteLease = time.Hour
)

// Claim is everything from which the bridge decides whether a node keeps its identity.
type Claim struct {
	// Node is the uid of the Node, "" if there is none. NodeSince is when the Node was made.
	Node      types.UID
	NodeSince time.Time
	// Object is the uid of the node's object; "" if there is none.
	Object types.UID
	// Join says that there is a join token.
	Join bool
	// Account is the node's ServiceAccount; nil if there is none. It is not changed.
	Account *corev1.ServiceAccount
	// Name, Report and Pulse of the node.
	Name   string
	Report gather.Report
	Pulse  gather.Pulse
	// Now is the time by the bridge's clock.
	Now time.Time
}

// Verdict is the decision about an identity.
type Verdict struct {
	// Remove: all of the identity is removed, and Why says why. If false, what is missing is made.
	Remove bool
	Why    string
	// Unclaimed: nothing speaks for the node. Since is then to be noted; if Since is zero, the
	// noted time stays.
	Unclaimed bool
	Since     time.Time
	// DropSecret: the Secret is no longer of use.
	DropSecret bool
	// Again is when to look again; 0: at the next event.
	Again time.Duration
}

// Judge decides. It is a pure function.
//
// A node is expected if there is a Node, an object or a join token. After that it keeps its
// identity until it has said that it is done with the object, or for 24 h. A node that never had an
// object keeps its identity as long as its Lease moves. If an identity belonged to a Node, it goes
// with that Node.
func Judge(c Claim) Verdict {
	if c.Node != "" || c.Object != "" || c.Join {
		var v Verdict
		if c.Node != "" && noted(c.Account, secretAnnotation) != "" {
			left := c.NodeSince.Add(keepSecret).Sub(c.Now)
			v.DropSecret, v.Again = left <= 0, max(left, 0)
		}
		return v
	}
	switch {
	case c.Account == nil:
		return Verdict{Remove: true, Why: "nothing speaks for the node"}
	case owner(c.Account) != "":
		return Verdict{Remove: true, Why: "its Node is gone"}
	}
	object := types.UID(noted(c.Account, objectAnnotation))
	if object != "" {
		r := c.Report.Said
		if r != nil && r.Phase == v1.PhaseRemoved && r.UID == object {
			if r.Degraded != nil && r.Degraded.Reason == v1.ReasonRetained {
				return Verdict{Remove: true, Why: "the node has reported that its object is gone, and that it keeps its NICs as they are"}
			}
			return Verdict{Remove: true, Why: "the node has reported that its NICs are given back"}
		}
	}
	since, err := time.Parse(time.RFC3339, noted(c.Account, sinceAnnotation))
	if err != nil {
		return Verdict{Unclaimed: true, Since: c.Now, Again: keepCredential}
	}
	v := Verdict{Unclaimed: true}
	last := since
	if object == "" && c.Pulse.Moved && c.Pulse.Seen.After(since) {
		last = c.Pulse.Seen
		if last.Sub(since) >= noteLease {
			v.Since = last
		}
	}
	if v.Again = last.Add(keepCredential).Sub(c.Now); v.Again > 0 {
		// A Lease that moves wakes nobody. The note about it must not grow old.
		if object == "" {
			v.Again = min(v.Again, noteLease)
		}
		return v
	}
	if object == "" {
		return Verdict{Remove: true, Why: "nothing has spoken for the node for 24 h, nor has it renewed its Lease"}
	}
	return Verdict{Remove: true, Why: "its object was deleted 24 h ago, and the node has not reported the removal"}
}

// noted is an annotation of an account. The account may be nil.
func noted(account *corev1.ServiceAccount, key string) string {
	if account == nil {
		return ""
	}
	return account.Annotations[key]
}

// owner is the uid of the Node that owns the account; "" if none does.
func owner(account *corev1.ServiceAccount) types.UID {
	for _, o := range account.OwnerReferences {
		if o.Kind == "Node" && o.APIVersion == "v1" {
			return o.UID
		}
	}
	return ""
}
