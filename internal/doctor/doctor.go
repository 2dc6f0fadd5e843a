// Package doctor says what on a host would bite, from facts that somebody else has gathered.
//
// In go Facts; out come Findings, each with its evidence and with what to do about it.
//
// It reads nothing and changes nothing: `multinicd doctor` must do no harm on a host where much is wrong already. docs/doctor.md has a
// row for each id.
//
// Start reading at Examine.
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

// Examine makes findings of facts: problems first, then warnings, then how it is; within them by id and subject.
func Examine(f Facts) []Finding {
	var out []Finding
	for _, check := range []func(Facts) []Finding{backend, owners, foreign, rpFilter, advertisements, agents, kubelet, subnets, names, clock, token, permissions, halfWay, daemon} {
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

// nics are the links that could be NICs.
func (f Facts) nics() (out []nic.Link) {
	for _, l := range f.Links {
		if l.Kind == "" && l.Device || slices.Contains(f.Kinds, l.Kind) && l.Name != "lo" {
			out = append(out, l)
		}
	}
	return out
}

// owned finds what we remember of a link that is ours now.
func (f Facts) owned(l nic.Link) *plan.Owned {
	for i, o := range f.Record.NICs {
		if o.Applied && l.HasMAC(o.MAC) {
			return &f.Record.NICs[i]
		}
	}
	return nil
}

// owners says who configures each link.
func owners(f Facts) (out []Finding) {
	for _, l := range f.nics() {
		own := f.owned(l)
		one := Finding{ID: "link-owner", Severity: Info, Subject: l.Name}
		switch {
		case own != nil && l.Claim != nil && !own.Adopted:
			one.ID, one.Severity = "two-owners", Problem
			one.Evidence = fmt.Sprintf("multinicd configures it as %s, and so does %s: %s", own.Config.Name, l.Claim.Owner, l.Claim.Evidence)
			one.Advice = "remove that configuration, or set adopt: true on the NIC in the object"
		case own != nil:
			one.Evidence = "multinicd, as " + own.Config.Name
		case l.Claim != nil:
			one.Evidence = fmt.Sprintf("%s: %s", l.Claim.Owner, l.Claim.Evidence)
		default:
			one.Evidence = "nobody"
		}
		if owner := f.Owners[l.Index]; owner != "" {
			one.Evidence += "; " + owner
		}
		out = append(out, one)
	}
	return out
}

// foreign is about a restart of networkd, which deletes what it has not made itself.
func foreign(f Facts) (out []Finding) {
	if !f.NetworkdRuns {
		return nil
	}
	for _, s := range f.Foreign {
		one := Finding{ID: "networkd-foreign", Severity: Warning, Subject: s.Key}
		switch {
		case s.Off && s.InForce:
			one.Severity, one.Evidence = Info, "off: "+s.File+" says so, and networkd was started after it was written"
		case s.Unread != "":
			one.Evidence = s.Unread + " sets it, but networkd runs as the user systemd-network, who may not read it: it does not count, and when networkd is started anew it deletes routes and rules of others"
			one.Advice = "chmod a+r " + s.Unread + ", and a+rx the folder that it is in; it counts from the next boot on"
		case s.Off:
			one.Evidence = s.File + " switches it off, but networkd was started before that was written"
			one.Advice = "nothing now: it counts from the next boot on; do not start networkd anew on a node with Pods"
		default:
			one.Evidence = "on, which is the default: when networkd is started anew, or reads its files again, it deletes what it has not made itself: routes and rules of the container network, and ours until we have put them back"
			one.Advice = "write " + s.Key + "=no below [Network] into /etc/systemd/networkd.conf.d/10-multinicd.conf; it counts from the next boot on"
		}
		out = append(out, one)
	}
	return out
}

func rpFilter(f Facts) (out []Finding) {
	for _, l := range f.nics() {
		own := f.owned(l)
		if own == nil || max(f.RPFilter, l.Conf.RPFilter) != 1 || len(own.Config.Rules) > 0 {
			continue
		}
		out = append(out, Finding{"rp-filter", Warning, l.Name,
			fmt.Sprintf("the reverse path filter is strict (net.ipv4.conf.all.rp_filter %d, that of the link %d): what comes from a network to which another link leads is dropped", f.RPFilter, l.Conf.RPFilter),
			"if hosts beyond its subnet speak to this NIC, give it a gateway in the object, or set net.ipv4.conf.all.rp_filter=2 in /etc/sysctl.d"})
	}
	return out
}

// advertisements finds NICs that a router on their network can give routes to.
func advertisements(f Facts) (out []Finding) {
	for _, l := range f.nics() {
		if f.owned(l) == nil || l.Conf6 == nil || l.Conf6.Off || l.Conf6.AcceptRA == 0 {
			continue
		}
		out = append(out, Finding{"router-advertisements", Warning, l.Name,
			fmt.Sprintf("it listens to IPv6 routers (net.ipv6.conf.%s.accept_ra is %d): one on its network can give this host a default route", l.Name, l.Conf6.AcceptRA),
			"start multinicd, which closes it; where that runs already, it does so when a router is heard, or when it looks next (source.resync)"})
	}
	return out
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

// subnets finds those that overlap: of equal ones each NIC of ours has a table of its own, but nobody helps where one lies in the other.
func subnets(f Facts) (out []Finding) {
	type on struct {
		link   string
		subnet netip.Prefix
	}
	var all []on
	for _, l := range f.Links {
		for _, a := range l.Addresses {
			if s := a.Prefix.Masked(); !a.Prefix.IsSingleIP() && !s.Addr().IsLinkLocalUnicast() && !s.Addr().IsLoopback() && !slices.Contains(all, on{l.Name, s}) {
				all = append(all, on{l.Name, s})
			}
		}
	}
	for i, a := range all {
		for _, b := range all[i+1:] {
			if a.link == b.link || !a.subnet.Overlaps(b.subnet) {
				continue
			}
			one := Finding{ID: "overlapping-subnets", Severity: Warning, Subject: a.link + " " + b.link,
				Evidence: fmt.Sprintf("%s on %s and %s on %s overlap: what is sent to the smaller one leaves by its link alone", a.subnet, a.link, b.subnet, b.link),
				Advice:   "give one of them another subnet"}
			if a.subnet == b.subnet {
				one.Evidence = fmt.Sprintf("%s is on %s and on %s: an answer may leave by the other link", a.subnet, a.link, b.link)
				one.Advice = "where the NICs are multinicd's, leave routing.same_subnet at \"auto\": each gets a table of its own; otherwise give one of them another subnet"
			}
			out = append(out, one)
		}
	}
	return out
}

func names(f Facts) (out []Finding) {
	for _, l := range f.nics() {
		if own := f.owned(l); own != nil && own.Config.Name != l.Name {
			out = append(out, Finding{"rename-at-reboot", Warning, l.Name,
				fmt.Sprintf("it is to be called %s, and the kernel does not rename a link that is up", own.Config.Name), "the next reboot renames it; until then use the present name"})
		}
	}
	return out
}

func clock(f Facts) []Finding {
	switch {
	case f.Daemon != nil && f.Daemon.ClockSkew != "":
		return []Finding{{"clock-skew", Problem, "", f.Daemon.ClockSkew, "start a time service (timedatectl set-ntp true)"}}
	case f.Unsynced:
		return []Finding{{"clock-unsynchronised", Warning, "", "the kernel says that no time service keeps its clock", "start a time service (timedatectl set-ntp true)"}}
	}
	return nil
}

func token(f Facts) []Finding {
	switch {
	case f.Daemon != nil && f.Daemon.JoinNeeded != "":
		return []Finding{{"join-needed", Problem, "", f.Daemon.JoinNeeded, "multinicd join: by a new join token, or --kubelet"}}
	case f.Token.File == "":
		return nil
	case !f.Token.Ends.IsZero() && !f.Now.Before(f.Token.Ends):
		return []Finding{{"token-ended", Problem, f.Token.File, "it ended at " + f.Token.Ends.UTC().Format(time.RFC3339),
			"start multinicd, which gets another by itself where it may; otherwise multinicd join"}}
	case f.Daemon != nil && f.Daemon.Trouble != "":
		return []Finding{{"token-not-renewed", Warning, f.Token.File, "it cannot be renewed: " + f.Daemon.Trouble, "it is tried again until it ends; does the API server answer?"}}
	case f.Daemon == nil && !f.Token.Ends.IsZero():
		return []Finding{{"token", Info, f.Token.File, "it ends at " + f.Token.Ends.UTC().Format(time.RFC3339) + ", and nobody renews it while multinicd does not run", ""}}
	}
	return nil
}

func permissions(f Facts) (out []Finding) {
	for _, file := range f.Files {
		bad := ""
		if file.Unread {
			out = append(out, Finding{"permissions", Problem, file.Path, fmt.Sprintf("networkd runs as the user systemd-network, who may not read it (%#o): the NIC loses its addresses when networkd reads its files again", file.Mode.Perm()),
				"chown root:systemd-network " + file.Path + " && chmod 640 " + file.Path})
			continue
		}
		switch {
		case file.UID != 0:
			bad = fmt.Sprintf("it belongs to user %d", file.UID)
		case file.Mode.Perm()&0o022 != 0:
			bad = fmt.Sprintf("others than root may write it (%#o)", file.Mode.Perm())
		case file.Secret && file.Mode.Perm()&0o077 != 0:
			bad = fmt.Sprintf("others than root may read it (%#o)", file.Mode.Perm())
		default:
			continue
		}
		advice := "chown root:root " + file.Path + " && chmod go= " + file.Path
		if !file.Secret {
			advice = "chown root:root " + file.Path + " && chmod go-w " + file.Path
		}
		out = append(out, Finding{"permissions", Problem, file.Path, bad, advice})
	}
	return out
}

// halfWay leaves out what the running daemon is at, or says itself.
func halfWay(f Facts) (out []Finding) {
	for _, h := range f.HalfWay {
		advice := "start multinicd, or run multinicd recover: it goes back, or on, from there"
		if f.Daemon != nil {
			advice = "multinicd status says what is in the way; it is tried again by itself"
		}
		if f.Daemon == nil || !h.CutOff && !slices.ContainsFunc(f.Daemon.Failed, func(n string) bool { return strings.HasPrefix(n, h.NIC+": ") }) {
			out = append(out, Finding{"half-way", Problem, h.NIC, "a change of it is neither in force nor undone: " + h.Why, advice})
		}
	}
	return out
}

func daemon(f Facts) (out []Finding) {
	if f.Daemon == nil {
		return []Finding{{"daemon-down", Warning, "", "multinicd does not answer on its socket: what drifts is not put back, and nobody reports", "systemctl status multinicd; nothing to do where a Job works on this node"}}
	}
	if f.Daemon.HeldBack != "" {
		out = append(out, Finding{"held-back", Warning, "", f.Daemon.HeldBack, "mend the object, or run multinicd rollback --undo (with --dry-run it says first what that would do)"})
	}
	if f.Daemon.File != "" {
		out = append(out, Finding{"object-file", Problem, "", f.Daemon.File, "correct the file, which is read again by itself (multinicd plan -f FILE says what is wrong with it); until then what is in force is kept"})
	}
	for _, n := range f.Daemon.Failed {
		name, what, _ := strings.Cut(n, ": ")
		reason, _, _ := strings.Cut(what, ": ")
		out = append(out, Finding{"nic-not-configured", Problem, name, what, cmp.Or(docs.WhatToDo(reason), docs.Page("reasons.md")+" has the reason")})
	}
	return out
}
