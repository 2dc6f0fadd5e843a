package plan

import (
	"fmt"
	"strings"

	"multinicd/nic"
)

// Reason is a word that programs may branch on; docs/reasons.md has a row for each. The API's
// status has the same words.
type Reason string

// Why an action is refused or waits.
const (
	WaitingForNIC Reason = "WaitingForNIC" // no link has the MAC
	AmbiguousMAC  Reason = "AmbiguousMAC"  // several links have it
	ProtectedLink Reason = "ProtectedLink" // the node lives by it: default route, API server, kubelet
	NotPhysical   Reason = "NotPhysical"   // not hardware, enslaved, or a container network's
	ForeignConfig Reason = "ForeignConfig" // a person configured the link, and adopt is not set
	NameTaken     Reason = "NameTaken"     // another link has the name
	AddressInUse  Reason = "AddressInUse"  // another link of this host, or a neighbour, has it
	CutsAPIPath   Reason = "CutsAPIPath"   // it would draw the API server's or the gateway's traffic
	// SubnetConflict: the subnet or route would draw the traffic of a network that is not ours.
	SubnetConflict Reason = "SubnetConflict"
	TableTaken     Reason = "TableTaken"    // somebody else has the NIC's own table, or its priority
	MTUTooLarge    Reason = "MTUTooLarge"   // the device cannot do it
	NotSupported   Reason = "NotSupported"  // this backend cannot do it
	InvalidSpec    Reason = "InvalidSpec"   // today's rules refuse the entry
	NoBackend      Reason = "NoBackend"     // multinicd writes nothing that configures the link
	ChangeCrashed  Reason = "ChangeCrashed" // it ended the daemon more than once; not tried again
)

// How a NIC ended that was configured, or tried.
const (
	Configured         Reason = "Configured"
	RenameAtReboot     Reason = "RenameAtReboot"     // configured; the name comes with the next boot
	ApplyFailed        Reason = "ApplyFailed"        // a step failed; undone
	ValidationFailed   Reason = "ValidationFailed"   // the host's own tool refuses our file; undone
	VerificationFailed Reason = "VerificationFailed" // the kernel does not show what is wanted; undone
	ProbeFailed        Reason = "ProbeFailed"        // what had answered before did not; undone
	RollbackFailed     Reason = "RollbackFailed"     // the change failed and could not be undone whole
)

// Refusal says why a link is not touched.
type Refusal struct {
	Reason  Reason
	Message string
}

// RefusalError is a refusal that comes too late to be data: the guard's, right before a change.
type RefusalError struct{ Refusal Refusal }

func (e *RefusalError) Error() string { return e.Refusal.Message }

func (r *Refusal) action(c nic.Config, l *nic.Link) Action {
	return Action{Kind: Refuse, NIC: c, Link: l, Reason: r.Reason, Message: r.Message}
}

// maxMessage bounds messages, in bytes, as the report does.
const maxMessage = 256

// refuse makes a refusal whose message says first what is in the way and, after its last semicolon,
// what to do. A message that is too long loses text from its first part.
func refuse(r Reason, format string, args ...any) *Refusal {
	msg := fmt.Sprintf(format, args...)
	if len(msg) > maxMessage {
		remedy := ""
		if i := strings.LastIndex(msg, "; "); i >= len(msg)-maxMessage/2 {
			msg, remedy = msg[:i], msg[i:]
		}
		msg = strings.ToValidUTF8(msg[:min(len(msg), maxMessage-3-len(remedy))], "") + "..." + remedy
	}
	return &Refusal{Reason: r, Message: msg}
}
