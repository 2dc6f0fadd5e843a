package v1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// ReportSchema names the only schema that ParseReport reads. A change that an older bridge
	// would misread gets a new name.
	ReportSchema = "multinic.io/report/v1"

	// ReportLevel is the newest addition to the schema that ParseReport knows. Level 0 is 0.1.0;
	// level 1 added outcome, and level 2 lastRepair.
	//
	// The bridge puts its own level into status.reportLevel. The node leaves out what a higher
	// level added (AtLevel). So nodes and bridge can be upgraded, and taken back, in any order.
	ReportLevel = 2

	// MaxReportSize bounds a report in bytes.
	MaxReportSize = 32 << 10

	// MaxMessage bounds each message of a report in bytes.
	MaxMessage = 256

	maxRun     = 64 // a uid
	maxVersion = 64
	maxName    = 15 // of a link: IFNAMSIZ without the final zero
)

// ErrReport is wrapped by every error of ParseReport.
var ErrReport = errors.New("report refused")

// Executor is who worked on the node.
type Executor string

// The executors. Only a daemon renews the Lease, so silence means something only after a daemon's
// report.
const (
	ExecutorDaemon Executor = "daemon"
	ExecutorJob    Executor = "job"
)

// Phase is how far the node is with the generation that it reports on.
type Phase string

const (
	// PhaseApplying: the node has begun with the generation.
	PhaseApplying Phase = "Applying"
	// PhaseDone: nothing runs. The interfaces say how the generation ended, or what the node waits
	// for.
	PhaseDone Phase = "Done"
	// PhaseRemoved: the node is done with an object that is gone, or whose NICs it was asked to
	// give back. The NICs are given back, unless Degraded has ReasonRetained.
	PhaseRemoved Phase = "Removed"
)

// Report is what one node says about one generation of its object. Only the node writes it, and
// nobody trusts it: a report can change nothing except the status of that node's object.
type Report struct {
	Schema     string    `json:"schema"` // ReportSchema
	Node       string    `json:"node"`   // the node's name
	UID        types.UID `json:"uid"`    // of the object; a report for another uid never counts
	Generation int64     `json:"generation"`
	// SpecHash was sent by multinicd 0.1.0. No bridge used it: the bridge has the object, whose
	// hash may hold characters that no report takes.
	SpecHash string   `json:"specHash,omitempty"`
	Executor Executor `json:"executor"`
	Version  string   `json:"version"` // of multinicd
	Phase    Phase    `json:"phase"`
	// JobName is the Job that ran, where Executor is job.
	JobName string `json:"jobName,omitempty"`
	// Run is the uid of the MultiNicNodeRun that this report answers.
	Run string `json:"run,omitempty"`
	// Refused says why the whole object was refused and nothing was touched. It is nil if the
	// object was not refused.
	Refused *Remark `json:"refused,omitempty"`
	// Degraded says what needs a person although the NICs may work, or what is good to know
	// (IsNote). nil means nothing.
	Degraded *Remark `json:"degraded,omitempty"`
	// Interfaces are at most MaxInterfaces, in any order. A row is known by its MAC address, which
	// no other row has; only NoMAC may stand in several rows. The id and the name of a row are for
	// people.
	Interfaces []InterfaceStatus `json:"interfaces"`
}

// Remark is a reason with its message.
type Remark struct {
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	// Outcome of the change of a NIC that the object no longer names. It is "" if the remark is
	// about something else.
	Outcome Outcome `json:"outcome,omitempty"`
}

// IsNote says that the remark needs nobody: all is as wanted, but something could not be compared.
// A note makes no object Degraded.
func (m Remark) IsNote() bool { return m.Reason == ReasonIdentityUnverified }

// AtLevel is the report without the fields that were added above a level. 0.1.0 is level 0. A
// bridge refuses a report with a field that it does not know.
func (r Report) AtLevel(level int32) Report {
	if level >= ReportLevel {
		return r
	}
	if r.Degraded != nil && level < 1 {
		r.Degraded = &Remark{Reason: r.Degraded.Reason, Message: r.Degraded.Message}
	}
	r.Interfaces = append([]InterfaceStatus{}, r.Interfaces...)
	for i := range r.Interfaces {
		n := &r.Interfaces[i]
		if n.LastRepair = nil; level < 1 {
			n.Outcome = ""
		}
	}
	return r
}

// ParseReport reads what Encode wrote, and refuses everything else: unknown fields, values out of
// their range, the bridge's own reasons, text that cannot be printed, anything too long. The error wraps ErrReport. It quotes
// nothing of the data that could not be printed.
func ParseReport(data []byte) (Report, error) {
	if len(data) > MaxReportSize {
		return Report{}, refuse("it has %d bytes, at most %d are taken", len(data), MaxReportSize)
	}
	if !utf8.Valid(data) {
		return Report{}, refuse("it is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var r Report
	if err := dec.Decode(&r); err != nil {
		return Report{}, refuse("%s", Printable(err.Error(), MaxMessage))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Report{}, refuse("something follows the JSON object")
	}
	if err := r.check(); err != nil {
		return Report{}, err
	}
	return r, nil
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrReport}, args...)...)
}

// reasonForm is what metav1.Condition takes, and no longer than our own reasons.
var reasonForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,63}$`) })

func (r Report) check() error {
	if r.Schema != ReportSchema {
		return refuse("schema is not %s", ReportSchema)
	}
	for _, text := range []struct {
		field, value string
		min, max     int
	}{
		{"node", r.Node, 1, MaxNodeName},
		{"uid", string(r.UID), 1, 64},
		{"specHash", r.SpecHash, 0, maxText},
		{"version", r.Version, 0, maxVersion},
		{"jobName", r.JobName, 0, maxText},
		{"run", r.Run, 0, maxRun},
	} {
		if err := checkText(text.field, text.value, text.min, text.max); err != nil {
			return err
		}
	}
	if r.Generation < 1 {
		return refuse("generation is less than 1")
	}
	if r.Executor != ExecutorDaemon && r.Executor != ExecutorJob {
		return refuse("executor is neither %s nor %s", ExecutorDaemon, ExecutorJob)
	}
	switch r.Phase {
	case PhaseApplying, PhaseDone, PhaseRemoved:
	default:
		return refuse("phase is none of %s, %s, %s", PhaseApplying, PhaseDone, PhaseRemoved)
	}
	for field, m := range map[string]*Remark{"refused": r.Refused, "degraded": r.Degraded} {
		if m == nil {
			continue
		}
		if err := checkReason(field, m.Reason); err != nil {
			return err
		}
		if err := checkText(field+".message", m.Message, 0, MaxMessage); err != nil {
			return err
		}
		if m.Outcome != "" && !reasonForm().MatchString(string(m.Outcome)) {
			return refuse("%s.outcome is not a word in CamelCase", field)
		}
	}
	if len(r.Interfaces) > MaxInterfaces {
		return refuse("it has %d interfaces, at most %d are taken", len(r.Interfaces), MaxInterfaces)
	}
	seen := map[string]bool{}
	for i, n := range r.Interfaces {
		if err := checkInterface(fmt.Sprintf("interfaces[%d]", i), n); err != nil {
			return err
		}
		if seen[n.MACAddress] {
			return refuse("interfaces[%d].macAddress is there twice", i)
		}
		seen[n.MACAddress] = n.MACAddress != NoMAC
	}
	return nil
}

func checkInterface(path string, n InterfaceStatus) error {
	if n.ID < 0 || n.ID > MaxID {
		return refuse("%s.id is not in 0..%d", path, MaxID)
	}
	if n.MACAddress != strings.ToLower(n.MACAddress) || !macForm().MatchString(n.MACAddress) {
		return refuse("%s.macAddress is not a MAC address in lower case", path)
	}
	switch n.Status {
	case StatePending, StateInProgress, StateConfigured, StateFailed:
	default:
		return refuse("%s.status is none of Pending, InProgress, Configured, Failed", path)
	}
	if err := checkReason(path, n.Reason); err != nil {
		return err
	}
	if n.Outcome != "" && !reasonForm().MatchString(string(n.Outcome)) {
		return refuse("%s.outcome is not a word in CamelCase", path)
	}
	if n.Address != "" {
		if _, err := parsePrefix(n.Address); err != nil {
			return refuse("%s.address is not host/prefix", path)
		}
	}
	if n.MTU < 0 || n.MTU > maxMTU {
		return refuse("%s.mtu is not in 0..%d", path, maxMTU)
	}
	if t := n.LastConfigured; t != nil && !inYears(*t) {
		return refuse("%s.lastConfigured is not in the years 1970 to 9999", path)
	}
	if err := checkText(path+".name", n.Name, 0, maxName); err != nil {
		return err
	}
	if r := n.LastRepair; r != nil {
		if !inYears(r.Time) || r.Count < 0 {
			return refuse("%s.lastRepair is not in the years 1970 to 9999, or counts below 0", path)
		}
		if err := checkText(path+".lastRepair.message", r.Message, 0, MaxMessage); err != nil {
			return err
		}
	}
	return checkText(path+".message", n.Message, 0, MaxMessage)
}

// checkReason takes a word that the bridge need not know: a newer node may have a reason more.
func checkReason(path, reason string) error {
	switch {
	case !reasonForm().MatchString(reason):
		return refuse("%s.reason is not a word in CamelCase", path)
	case bridgeOnly[reason]:
		return refuse("%s.reason is a word of the bridge alone", path)
	}
	return nil
}

// checkText bounds a string in bytes and in what it may hold.
func checkText(field, s string, least, most int) error {
	if len(s) < least || len(s) > most {
		return refuse("%s has %d bytes, %d to %d are taken", field, len(s), least, most)
	}
	for _, c := range s {
		if c == utf8.RuneError || !unicode.IsPrint(c) {
			return refuse("%s has characters that cannot be printed", field)
		}
	}
	return nil
}
