// Package status is what is said of a node: to a person, to the service manager, to node_exporter,
// and, in the words of the wire, to the bridge.
//
// In go the results of a pass, what the kernel shows and what is known of the NICs. Out come a Node
// with a NIC for each, and its texts: a line, a table, metrics, the rows of a report, an exit code.
//
// The package is pure. It decides nothing, keeps nothing between two passes and sends nothing; the
// same input gives the same text, so that a report of the same state is the same report.
//
// Start reading at Node, and at NICs in nic.go, which compares wanted and found. rows.go has what
// the report takes from a Node.
package status

import (
	"fmt"
	"slices"
	"time"

	v1 "multinicd/api/v1"
)

// Node is what `multinicd status` shows. The JSON names are stable.
type Node struct {
	Node         string `json:"node"`
	NodeEvidence string `json:"nodeEvidence,omitempty"` // why it is called so
	// NodeDoubt says what speaks against the name, and what to do; empty: nothing does.
	NodeDoubt  string      `json:"nodeDoubt,omitempty"`
	Version    string      `json:"version"`
	Backend    string      `json:"backend"`
	Evidence   []string    `json:"evidence"` // why this backend
	Source     Source      `json:"source"`
	Credential *Credential `json:"credential,omitempty"` // nil: nothing is known of it
	UID        string      `json:"uid,omitempty"`
	Generation int64       `json:"generation,omitempty"`
	SpecHash   string      `json:"specHash,omitempty"`
	State      string      `json:"state"` // Configured, Pending, Failed, Removed, Waiting
	// Reason why the object as a whole is refused, which Message explains; empty: it is not.
	Reason string `json:"reason,omitempty"`
	// Notes are good to know and need nobody, each beginning with its reason.
	Notes   []string `json:"notes,omitempty"`
	Message string   `json:"message,omitempty"`
	// InForce is the generation before Generation, where that is held back by a rollback; 0: it is
	// not, or nobody counts.
	InForce   int64  `json:"generationInForce,omitempty"`
	Held      bool   `json:"heldBack,omitempty"`
	NICs      []NIC  `json:"nics"` // sorted by id
	Delivered bool   `json:"reportDelivered"`
	Meters    Meters `json:"meters"` // since the daemon started
	// Down lists the parts of the daemon that have ended and are being started again, by name; empty
	// on a daemon that is well.
	Down []Part `json:"partsDown,omitempty"`
	// Goroutines is how many the daemon has: on a quiet day always the same number.
	Goroutines int `json:"goroutines,omitempty"`
}

// Source says how the desired state is read.
type Source struct {
	Mode    string    `json:"mode"`
	Contact time.Time `json:"lastContact,omitzero"`
	Error   string    `json:"error,omitempty"`
	// Idle says why there is nothing to be read from; empty: there is.
	Idle string `json:"idle,omitempty"`
}

// Credential is how the node's credential is.
type Credential struct {
	Door    string    `json:"door,omitempty"`         // Kubelet or JoinToken; empty: the node has not joined by itself
	Ends    time.Time `json:"expires,omitzero"`       // by the API server's clock; zero: never, or not known
	Renewal time.Time `json:"nextRenewal,omitzero"`   // by the host's clock; zero: not known, or somebody else renews it
	Trouble string    `json:"renewalError,omitempty"` // why it could not be renewed when it was due
	// JoinNeeded says why the API server takes the credential no more, and what to do; empty: it does.
	JoinNeeded string `json:"joinNeeded,omitempty"`
	// ClockSkew says by a word in which direction the host's clock is off; empty: it is not, or that
	// is not known.
	ClockSkew  string `json:"clockSkew,omitempty"`
	ClockKnown bool   `json:"-"` // ClockSkew counts
}

// What ClockSkew says. There is no figure in it, which would be another one each time.
const (
	ClockBehind = "the host's clock is behind the API server's by two minutes or more; start a time service (timedatectl)"
	ClockAhead  = "the host's clock is ahead of the API server's by two minutes or more; start a time service (timedatectl)"
)

// Problems lists what a person should know, each beginning with its reason.
func (c *Credential) Problems() []string {
	var out []string
	if c == nil {
		return nil
	}
	if c.JoinNeeded != "" {
		out = append(out, v1.ReasonJoinNeeded+": "+c.JoinNeeded)
	}
	if c.ClockSkew != "" {
		out = append(out, v1.ReasonClockSkew+": "+c.ClockSkew)
	}
	return out
}

// Overall follows the rules of the API: Failed if any failed, else Pending if any waits, else
// InProgress, else Configured.
func Overall(nics []NIC) v1.State {
	for _, s := range []v1.State{v1.StateFailed, v1.StatePending, v1.StateInProgress} {
		if slices.ContainsFunc(nics, func(n NIC) bool { return n.Status == s }) {
			return s
		}
	}
	return v1.StateConfigured
}

// Part is something that the daemon does all the time and that does not work now: it has ended
// beside the loop, or it fails in each pass. It is tried again by itself.
type Part struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since"` // when it failed for the first time in a row, by the host's clock
	Error string    `json:"error"`
}

func (p Part) String() string {
	return fmt.Sprintf("%s does not work since %s: %s", p.Name, p.Since.UTC().Format(time.RFC3339), p.Error)
}
