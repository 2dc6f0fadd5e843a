// Package doctor says what on a host would bite, from facts that somebody else has gathered.
//
// In go Facts; out come Findings, each with its evidence and with what to do about it.
//
// It reads nothing and changes nothing: `multinicd doctor` must do no harm on a host where much is wrong already. docs/doctor.md has a
// row for each id.
//
// Start reading at Examine. links.go has the checks of links; service.go those of the service, its
// token and its files.
package doctor

import (
	"cmp"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"time"

	"multinicd/docs"
	"multinicd/nic"
	"multinicd/plan"
)

// Severity says whether something must be done.
type Severity string

// The severities.
const (
	Problem Severity = "problem" // must be mended: something does not work, or is about to break
	Warning Severity = "warning" // may bite
	Info    Severity = "info"    // how it is
)

// Finding is one thing that a person should know.
type Finding struct {
	ID       string   `json:"id"` // docs/doctor.md has a row for each
	Severity Severity `json:"severity"`
	Subject  string   `json:"subject,omitempty"` // a link, a file; empty: the host
	Evidence string   `json:"evidence"`
	Advice   string   `json:"advice,omitempty"` // empty: nothing to do
}

// Facts is all that was gathered.
type Facts struct {
	Now         time.Time
	Backend     string   // "" where there is none
	Evidence    []string // why that one
	Unsupported string   // why nothing can be configured here; "": it can
	Links       []nic.Link
	Kinds       []string       // virtual kinds that count as physical
	Owners      map[int]string // by ifindex: whose renderer it is, with the evidence
	Record      plan.Record
	HalfWay     []HalfWay
	// RPFilter is net.ipv4.conf.all.rp_filter.
	RPFilter int
	// NetworkdRuns, and what it is told about what it has not made itself.
	NetworkdRuns bool
	Foreign      []Setting
	Agents       []Agent
	Name         Name
	Kubelet      string // how we know that there is one; "": none
	NodeIPs      []netip.Addr
	Files        []File
	Daemon       *Daemon
	Token        Token
	Unsynced     bool // the kernel says that nobody keeps its clock
}

// Setting is a key of networkd.conf(5).
type Setting struct {
	Key     string
	Off     bool   // set to no
	File    string // that says so; "": none does, the default counts
	InForce bool   // networkd was started after the file was written
	Unread  string // a file that sets it, too, but that networkd may not read; "": none
}

// Former is the name of the agent that configured NICs of the field before multinicd did.
const Former = "the former agent"

// Agent is another program that configures NICs.
type Agent struct {
	Name     string // "cloud-init", "nm-cloud-setup", or Former
	Evidence string
}

// HalfWay is a NIC of which a change is neither in force nor undone: its journal is in the state folder.
type HalfWay struct {
	NIC    string // name or MAC
	Why    string // what is in the way
	CutOff bool   // nobody has tried to undo it yet: it may also be under way
}

// File is one whose permissions matter.
type File struct {
	Path   string
	Mode   fs.FileMode
	UID    int
	Secret bool // nobody else may read it, either
	Unread bool // it is for networkd, which may not read it
}

// Daemon is what the running daemon says; nil in Facts: it does not answer.
type Daemon struct {
	State      string
	Failed     []string // "multinic1: AddressInUse: ..." of NICs that are not as wanted
	ClockSkew  string
	JoinNeeded string
	Trouble    string // the token cannot be renewed
	HeldBack   string // by a rollback by hand: of what, and how it ends
	File       string // the file with the object cannot be used: why
}

// Token is the node's token as it is on the disk.
type Token struct {
	File string    // "": there is none
	Ends time.Time // by the API server's clock; zero: never, or not known
}

// Name is what the node is called.
type Name struct {
	Name     string // "": not known
	Evidence string // why it is called so
	Doubt    string // what speaks against it; "": nothing
	Advice   string // about Doubt
}

// Examine makes findings of facts: problems first, then warnings, then how it is; within them by id and subject.
func Examine(f Facts) []Finding {
	var out []Finding
	for _, check := range []func(Facts) []Finding{backend, owners, foreign, rpFilter, advertisements, agents, nodeName, kubelet, subnets, names, clock, token, permissions, halfWay, daemon} {
		out = append(out, check(f)...)
	}
	rank := map[Severity]int{Problem: 0, Warning: 1, Info: 2}
	slices.SortStableFunc(out, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(rank[a.Severity], rank[b.Severity]), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Subject, b.Subject))
	})
	return out
}

// MustAct says whether one of them is a problem.
func MustAct(list []Finding) bool {
	return slices.ContainsFunc(list, func(f Finding) bool { return f.Severity == Problem })
}

// Text is for a person.
func Text(list []Finding) string {
	var b strings.Builder
	for _, f := range list {
		subject := f.Subject
		if subject != "" {
			subject = " " + subject
		}
		fmt.Fprintf(&b, "%-8s %s%s\n         %s\n", f.Severity, f.ID, subject, f.Evidence)
		if f.Advice != "" {
			fmt.Fprintf(&b, "         -> %s\n", f.Advice)
		}
	}
	return b.String()
}

func backend(f Facts) []Finding {
	evidence := strings.Join(f.Evidence, "; ")
	if f.Unsupported != "" {
		return []Finding{{"no-backend", Problem, "", f.Unsupported, "install netplan, NetworkManager or systemd-networkd, or set backend.name in multinicd.toml"}}
	}
	return []Finding{{"backend", Info, "", f.Backend + ": " + evidence, ""}}
}

func agents(f Facts) (out []Finding) {
	advice := map[string]string{
		"cloud-init":     "take hotplug out of updates.network.when in /etc/cloud/cloud.cfg.d, or disable cloud-init-hotplugd.socket: it configures NICs that are plugged in, ours too",
		"nm-cloud-setup": "systemctl disable --now nm-cloud-setup.timer nm-cloud-setup.service: it takes addresses and rules away that it does not know of",
		Former:           "end its Job or DaemonSet; its files of a NIC are taken over once that NIC is in the object (" + docs.Page("former.md") + "); remove what is left then, or set adopt: true on the NIC",
	}
	for _, a := range f.Agents {
		severity := Warning
		if a.Name == "nm-cloud-setup" {
			severity = Problem
		}
		out = append(out, Finding{"other-agent", severity, a.Name, a.Evidence, advice[a.Name]})
	}
	return out
}

func kubelet(f Facts) []Finding {
	addresses := slices.ContainsFunc(f.Record.NICs, func(o plan.Owned) bool { return o.Applied && len(o.Config.Addresses) > 0 })
	if f.Kubelet == "" || len(f.NodeIPs) > 0 || !addresses {
		return nil
	}
	return []Finding{{"kubelet-node-ip", Problem, "", f.Kubelet + " without --node-ip, and our NICs add addresses to the host: the cloud provider lists them as the node's too, and the API server may call the kubelet on one that it cannot reach (kubectl logs and exec fail)",
		"give the kubelet --node-ip=ADDRESS of the primary NIC (kubeadm: nodeRegistration.kubeletExtraArgs, else KUBELET_EXTRA_ARGS), and start it anew"}}
}
