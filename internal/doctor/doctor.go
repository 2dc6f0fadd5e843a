// Package doctor says what on a host would bite, from facts that somebody else has gathered.
//
// In go Facts; out come Findings, each with its evidence and with what to do about it.
//
// It reads nothing and changes nothing: `multinicd doctor` must do no harm on a host where much is wrong already. docs/doctor.md has a
// row for each id.
//
// Start reading at Examine. links.go has the checks of links; routes.go those of routes and subnets;
// cluster.go those of the kubelet and the container network; service.go those of the service, its
// token and its files. screen.go has the text for a person.
package doctor

import (
	"cmp"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"time"

	"multinicd/docs"
	"multinicd/nic"
	"multinicd/plan"
	"multinicd/plan/lifeline"
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
	Unsynced     bool   // the kernel says that nobody keeps its clock
	TimeService  string // the time service that runs; "": none
	CNIs         []CNI
	Ports        []Port
	NoIPv6       string // why no link of this host can have an IPv6 address; "": some can
	// NodeAddrs and Lifelines are what the node lives by, as in plan.View.
	NodeAddrs []lifeline.NodeAddr
	Lifelines []lifeline.Path
	// Names says, by ifindex, what is in the way of a name that a NIC of ours is to have and has not.
	Names map[int]Naming
	// Silent are gateways of our NICs that do not answer their neighbours, by ifindex.
	Silent map[int]string
}

// CNI is a container network that chooses an interface of the host.
type CNI struct {
	Name string // "Calico", "Cilium" or "flannel"
	File string // its configuration
	Told string // how we know that it is told which interface to take; "": it may choose
}

// Port is one at which a program listens on all addresses.
type Port struct {
	Number  int
	Program string // "": not known
}

// Naming is why a link has not the name that it is to have.
type Naming struct {
	By     []string // what gives it another name at each boot: sentences
	Booted bool     // the host has booted since the file that names the link was written
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
	for _, check := range []func(Facts) []Finding{backend, owners, foreign, rpFilter, advertisements, ipv6, agents, nodeName,
		kubelet, containers, ports, subnets, overlaps, gateways, defaults, names, clock, token, permissions, halfWay, daemon} {
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

func backend(f Facts) []Finding {
	evidence := strings.Join(f.Evidence, "; ")
	if f.Unsupported != "" {
		return []Finding{{"no-backend", Problem, "", f.Unsupported, "install netplan, NetworkManager or systemd-networkd, or set backend.name in multinicd.toml"}}
	}
	return []Finding{{"backend", Info, "", f.Backend + ": " + evidence, ""}}
}

func agents(f Facts) (out []Finding) {
	advice := map[string]string{
		"cloud-init":     "take hotplug out of updates.network.when, or systemctl mask --now cloud-init-hotplugd.socket: at each NIC that is plugged in, ours too, cloud-init writes its files anew and has them applied, which may disturb other links",
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
