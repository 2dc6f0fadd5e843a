package joining

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "multinicd/api/v1"
)

// keysAnnotation, on the node's Lease, lists the public keys to which tokens were sealed, each with
// its request: "<hash>:<uid>", the newest last, at most maxKeys. The Lease stays after a
// revocation.
const keysAnnotation = "multinic.io/sealed-keys"

const maxKeys = 16

// keepRequest is how long a request stays after its answer. Without an answer it counts from when
// the request was made.
const keepRequest = 10 * time.Minute

// expectPatience is how long the Node or the object may come after the request: every kubelet may
// ask, and some ask a moment before their Node is there.
const expectPatience = 30 * time.Second

// Ask is everything from which the bridge decides about a request.
type Ask struct {
	// Request is not changed; nor are the others.
	Request *v1.NodeTokenRequest
	// Blocked says that an administrator has blocked the node.
	Blocked bool
	// Expected says that there is a Node, an object or a ServiceAccount of the name.
	Expected bool
	// Join is the ServiceAccount of the join token; nil if there is none.
	Join *corev1.ServiceAccount
	// Lease of the node; nil if there is none yet.
	Lease *coordinationv1.Lease
	// Now is the time by the bridge's clock.
	Now time.Time
}

// Reply is what happens to a request. At most one of Delete, Refuse and Seal is set. If none is,
// the request waits.
type Reply struct {
	// Delete: the request is deleted, and Why says why. Joined: the node has its token.
	Delete, Joined bool
	Why            string
	// Refuse is the reason of a refusal; nil: none.
	Refuse *v1.Remark
	// Seal: a new token is sealed to the key. Replace: before that, the machine that holds the
	// node's identity loses it.
	Seal, Replace bool
	// Again is when to look again; 0: at the next event.
	Again time.Duration
}

// Judge decides. It is a pure function.
func Judge(a Ask) Reply {
	r := a.Request
	s := r.Status
	if s.SealedAt != nil {
		if a.Lease != nil && a.Lease.Spec.HolderIdentity != nil && *a.Lease.Spec.HolderIdentity == v1.LeaseHolder(r.Name, r.UID) {
			return Reply{Delete: true, Joined: true, Why: "the node renews its Lease with the token"}
		}
		return until(s.SealedAt.Time, a.Now, "nobody has used the token that was sealed 10 min ago")
	}
	again := until(r.CreationTimestamp.Time, a.Now, "it was not answered, or refused, 10 min ago")
	if again.Delete || (s.Reason != "" && s.Reason != v1.ReasonAdmissionMissing) {
		return again
	}
	refuse := func(reason, format string, args ...any) Reply {
		again.Refuse = &v1.Remark{Reason: reason, Message: fmt.Sprintf(format, args...)}
		return again
	}
	if a.Blocked {
		again.Refuse = blocked(r.Name)
		return again
	}
	if !a.Expected {
		if left := r.CreationTimestamp.Add(expectPatience).Sub(a.Now); left > 0 {
			return Reply{Again: left}
		}
		return refuse(v1.ReasonNodeNotExpected, "there is neither a Node nor a MultiNicNodeConfig %s, nor a join token for it", r.Name)
	}
	// Some keys of the right length are no keys. Only sealing shows that.
	if _, err := v1.SealToken(r.Spec.PublicKey, r.Name, r.UID, ""); err != nil {
		return refuse(v1.ReasonKeyInvalid, "spec.publicKey is no X25519 key of %d bytes", v1.PublicKeySize)
	}
	if replayed(a.Lease, r) {
		return refuse(v1.ReasonKeyReplayed, "a token was sealed to this public key before: a request takes a key of its own")
	}
	replace := false
	if r.Spec.Door == v1.DoorJoinToken {
		if a.Join == nil {
			return refuse(v1.ReasonJoinTokenEnded, "the join token by which this was asked has been used, revoked or has ended")
		}
		if joined(a.Lease) {
			if a.Join.Annotations[v1.ReplaceAnnotation] != "true" {
				return refuse(v1.ReasonNodeAlreadyJoined,
					"a machine has joined as %s already; `multinic-bridge token create --node %s --replace` makes a token that takes its place", r.Name, r.Name)
			}
			replace = true
		}
	}
	return Reply{Seal: true, Replace: replace}
}

// blocked is why a blocked node gets no token.
func blocked(node string) *v1.Remark {
	return &v1.Remark{Reason: v1.ReasonNodeBlocked, Message: "an administrator has blocked " + node + "; `multinic-bridge token unblock --node " + node + "` ends that"}
}

func until(since, now time.Time, why string) Reply {
	if left := since.Add(keepRequest).Sub(now); left > 0 {
		return Reply{Again: left}
	}
	return Reply{Delete: true, Why: why}
}

// joined says that some machine has renewed the node's Lease.
func joined(l *coordinationv1.Lease) bool {
	return l != nil && (l.Spec.RenewTime != nil || (l.Spec.HolderIdentity != nil && *l.Spec.HolderIdentity != ""))
}

// replayed says that a token was sealed to the request's key before, for another request.
func replayed(l *coordinationv1.Lease, r *v1.NodeTokenRequest) bool {
	if l == nil {
		return false
	}
	for _, entry := range strings.Fields(l.Annotations[keysAnnotation]) {
		hash, uid, _ := strings.Cut(entry, ":")
		if hash == keyHash(r.Spec.PublicKey) && types.UID(uid) != r.UID {
			return true
		}
	}
	return false
}

// remember gives the annotation with the request's key added.
func remember(before string, r *v1.NodeTokenRequest) string {
	entry := keyHash(r.Spec.PublicKey) + ":" + string(r.UID)
	var kept []string
	for _, e := range strings.Fields(before) {
		if e != entry {
			kept = append(kept, e)
		}
	}
	kept = append(kept, entry)
	return strings.Join(kept[max(0, len(kept)-maxKeys):], " ")
}

func keyHash(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:16])
}

// requester is the user that made the request. Admission has made sure of that.
func requester(r *v1.NodeTokenRequest) string {
	if r.Spec.Door == v1.DoorKubelet {
		return "system:node:" + r.Name
	}
	return "system:serviceaccount:" + v1.NodesNamespace + ":" + v1.JoinAccountName(r.Name)
}
