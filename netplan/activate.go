package netplan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"time"

	"multinicd/nic"
	"multinicd/plan"
)

// Who is asked to take over what netlink has done, once that is verified, probed and in the files; backend.activation of multinicd.toml. Else: nobody.
const (
	Networkd = "networkd" // reads its files again, where that can touch no other link
	Netplan  = "netplan"  // applies, which touches other links
)

// ServiceBus asks netplan's service and networkd. Each call has a deadline of its own.
type ServiceBus interface {
	// NetworkdReload has networkd read its files, unless that could touch more than ours; unsafe says then what.
	NetworkdReload(ctx context.Context, index int, name, file string, ours func(file string) bool) (unsafe string, err error)
	// NetworkdDone waits until networkd has configured a link by that file; "": until it leaves it alone.
	NetworkdDone(ctx context.Context, index int, file string) error
	NetplanApply(ctx context.Context) error
}

// undoTimeout leaves an undo time to put the kernel right, whatever becomes of the service.
const undoTimeout = 12 * time.Second

// Services carries out what the steps ask of netplan and networkd, and has Others do the rest. One goroutine uses it at a time.
type Services struct {
	Bus    ServiceBus
	Others interface {
		Manage(ctx context.Context, m plan.Manage) error
	}
	Log *slog.Logger

	// asked is the last change for which the service was asked. Undo asks the service again only
	// for that one. A crash loses it, which does no harm: before the request there is nothing to
	// undo, and after it recovery goes forward.
	asked string
}

// Manage implements apply.Manager.
func (s *Services) Manage(ctx context.Context, m plan.Manage) error {
	if m.Verb != plan.Reload && m.Verb != plan.Apply {
		return s.Others.Manage(ctx, m)
	}
	if !m.Undo {
		return s.ask(ctx, m)
	}
	if s.asked != m.UUID {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	if err := s.ask(ctx, m); err != nil { // the same service has just failed, as like as not; it must not keep all other changes from being made
		s.Log.Warn("a service that was asked to take a change over could not be told that it was undone; files and link are as before", "mac", m.MAC, "err", err)
	}
	s.asked = ""
	return nil
}

// ask has the service do it and waits until it is done.
func (s *Services) ask(ctx context.Context, m plan.Manage) error {
	file := ""
	if m.Name != "" {
		file = m.Files[0]
	}
	if m.Verb == plan.Reload {
		unsafe, err := s.Bus.NetworkdReload(ctx, m.Index, m.Name, file, Owned)
		if unsafe != "" {
			s.Log.Warn("networkd was not asked, the change stays as netlink has made it", "mac", m.MAC, "reason", unsafe)
			return nil
		}
		s.asked = m.UUID // one that failed may have done it all the same
		if err != nil {
			return err
		}
	} else {
		s.asked = m.UUID
		if err := s.Bus.NetplanApply(ctx); err != nil {
			return err
		}
	}
	return s.Bus.NetworkdDone(ctx, m.Index, file)
}

// activated puts the steps together, with those that ask a service among them where one is to be asked. It comes last. What undoes it stands before
// the files, so that the service is asked again when they are as they were; and the kernel gets then what the service has taken.
func (b *Backend) activated(a plan.Action, live, late []plan.Step) []plan.Step {
	verb, touched := plan.Reload, func(f plan.File) bool { return path.Dir(f.Path) == RuntimeDir }
	if b.Activation == Netplan {
		verb, touched = plan.Apply, func(f plan.File) bool { return path.Dir(f.Path) == Dir }
	}
	// Where two NICs swap their names a service would see the one of them under a name for the time being.
	if a.Link == nil || a.Change.Way != nil || b.Activation != Networkd && b.Activation != Netplan ||
		!slices.ContainsFunc(late, func(s plan.Step) bool { return s.Do.File != nil && touched(*s.Do.File) }) {
		return append(live, late...)
	}
	sum := sha256.New()
	for _, s := range late {
		if f := s.Do.File; f != nil {
			fmt.Fprintf(sum, "%s %v %s\n", f.Path, f.Absent, f.Data)
		}
	}
	ask := plan.Manage{Verb: verb, Index: a.Link.Index, MAC: a.NIC.MAC, UUID: hex.EncodeToString(sum.Sum(nil))}
	back := ask
	back.Undo = true
	before := plan.KernelBefore(a)
	kernel := plan.Step{Kind: plan.StepKernel, Undo: plan.Op{Link: &before}}
	if a.Kind == plan.Configure {
		network, _ := runtimeFiles(ID(a.NIC, a.After != nil && a.After.Adopted))
		ask.Name, ask.Files = a.NIC.Name, []string{network}
		live = append(live, kernel)
	} else { // undone behind the others: the link is down where it was given back
		live = append([]plan.Step{kernel}, live...)
	}
	steps := append(live, b.generated(a, verb)...)
	steps = append(steps, plan.Step{Kind: plan.StepService, Undo: plan.Op{Manage: &back}})
	steps = append(steps, late...)
	return append(steps, plan.Step{Kind: plan.StepActivate, Do: plan.Op{Manage: &ask}}, plan.Step{Kind: plan.StepVerify, Do: plan.Op{Check: plan.CheckVerify}},
		plan.Step{Kind: plan.StepProbe, Do: plan.Op{Check: plan.CheckProbe}})
}

// generated takes away, as an undo, what netplan's generator has made of a new NIC for networkd, should its second apply not do that.
func (b *Backend) generated(a plan.Action, verb plan.Verb) (steps []plan.Step) {
	if verb != plan.Apply || a.Kind != plan.Configure {
		return nil
	}
	network, link := runtimeFiles(ID(a.NIC, a.After != nil && a.After.Adopted))
	for _, f := range []string{network, link} {
		if _, _, err := b.Files.Read(f); errors.Is(err, fs.ErrNotExist) {
			steps = append(steps, plan.Step{Kind: plan.StepRuntime, Undo: plan.Op{File: &plan.File{Path: f, Absent: true}}})
		}
	}
	return steps
}

// skeleton is what netplan's generator (0.106 and 1.1.2) would write of a NIC for networkd, for Retarget to fill in. It finds the link by its present MAC and its name, not by
// the permanent MAC, which virtual machines may not have.
func skeleton(c nic.Config) []byte {
	return fmt.Appendf(nil, "[Match]\nMACAddress=%s\nName=%s\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n", c.MAC, c.Name)
}
