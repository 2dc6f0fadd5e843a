package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"multinicd/docs"
)

func clock(f Facts) []Finding {
	switch {
	case f.Daemon != nil && f.Daemon.ClockSkew != "":
		return []Finding{{"clock-skew", Problem, "", f.Daemon.ClockSkew, "start a time service (timedatectl set-ntp true)"}}
	case f.Unsynced && f.TimeService != "":
		return []Finding{{"clock-unsynchronised", Info, "", "the kernel says that nobody keeps its clock yet, but " + f.TimeService + " runs", "if that stays so, see whether it reaches its servers (timedatectl timesync-status, chronyc sources)"}}
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

// nodeName says what the node is called, and whether something else says otherwise.
func nodeName(f Facts) []Finding {
	switch {
	case f.Name.Doubt != "":
		return []Finding{{"node-name", Problem, "", f.Name.Doubt, f.Name.Advice}}
	case f.Name.Name != "":
		return []Finding{{"node-name", Info, "", f.Name.Name + " is the node's name (" + f.Name.Evidence + ")", ""}}
	}
	return nil
}
