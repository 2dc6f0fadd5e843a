package bridge

import (
	"fmt"

	v1 "multinicd/api/v1"
)

// Duty is a part of what the bridge does in the cluster. Each duty is a process of its own with an
// identity of its own, so that whoever steals one of them has not the other: the Roles of
// deploy/bridge.yaml and the admission policies know the two accounts apart.
type Duty string

const (
	// Status is to say how nodes are, and to order what they do by it: the loops of statuses, of
	// the brake, of runs and of labels. It can give nobody a right or a token.
	Status Duty = "status"
	// Credentials is whatever ends in a token of a node: the loops of identities, of requests for
	// tokens, and of Jobs, whose Pods have a token. It writes the status of requests for tokens
	// alone.
	Credentials Duty = "credentials"
)

// ParseDuty reads a duty as a command line has it.
func ParseDuty(text string) (Duty, error) {
	if d := Duty(text); d == Status || d == Credentials {
		return d, nil
	}
	return "", fmt.Errorf("%q is neither %s nor %s", text, Status, Credentials)
}

// Account is the ServiceAccount of v1.SystemNamespace that has the rights of the duty. The Lease of
// its leader has the same name.
func (d Duty) Account() string {
	if d == Credentials {
		return v1.CredentialsAccount
	}
	return v1.BridgeAccount
}
