package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"multinicd/internal/apply"
	"multinicd/nic"
	"multinicd/plan"
)

// pace says when a change that is half way is tried to be put right again: after pauses that grow, or when another link has, or lets go of, a name
// that is needed for it, but never twice within a second.
type pace struct {
	tried time.Time
	pause time.Duration
	names string // who had them then
	news  bool   // another has by now, or somebody asks for it to be tried
}

const (
	resumeMin = waitMin
	resumeMax = 5 * time.Minute
)

func (p *pace) due() time.Time {
	if p.news {
		return p.tried.Add(resumeMin)
	}
	return p.tried.Add(p.pause)
}

// resume tries to put right what changes left half way, where it is time for that. Every pass begins with it, whatever is wanted: what was begun without
// being wanted any more must end too.
func (d *Daemon) resume(ctx context.Context) {
	half := d.Applier.Halfway()
	if len(half) == 0 {
		d.own.paces = nil
		return
	}
	machine, err := d.Machine.Look(ctx)
	if err == nil {
		d.partUp(partLook)
	} else if ctx.Err() == nil {
		d.partDown(partLook, err)
	}
	paces := map[nic.MAC]*pace{}
	for _, h := range half {
		mac, names := h.NIC.MAC, holders(h, machine)
		p := d.own.paces[mac]
		if p == nil { // its undo was tried right now
			d.Log.Error("a NIC is half way; it is tried again", "node", d.Node, "nic", h.NIC.Name, "mac", mac, "err", h.Err)
			paces[mac] = &pace{tried: d.now(), pause: resumeMin, names: names}
			continue
		}
		paces[mac] = p
		p.news = p.news || names != p.names
		if d.now().Before(p.due()) {
			continue
		}
		err := d.Applier.Resume(ctx, mac)
		d.Alive()
		if err == nil {
			d.Log.Info("a NIC that was half way has been put right", "node", d.Node, "nic", h.NIC.Name, "mac", mac)
			delete(paces, mac)
			delete(d.own.failures, mac) // what failed is tried anew
			continue
		}
		p.tried, p.pause, p.names, p.news = d.now(), min(2*p.pause, resumeMax), names, false
	}
	d.own.paces = paces
}

// tryNow has the next pass try what waits for its next retry: whoever asks for something wants that.
func (d *Daemon) tryNow() {
	clear(d.own.failures)
	for _, p := range d.own.paces {
		p.news = true
	}
}

// untilResume is the time until the next change that is half way is to be tried; an hour where none is.
func (d *Daemon) untilResume() time.Duration {
	next := time.Hour
	for _, h := range d.Applier.Halfway() {
		wait := resumeMin // left half way by this pass
		if p := d.own.paces[h.NIC.MAC]; p != nil {
			wait = max(p.due().Sub(d.now()), resumeMin)
		}
		next = min(next, wait)
	}
	return next
}

// holders says which link the NIC is and who has the names that putting it right needs.
func holders(h apply.Half, m plan.Machine) string {
	var out []string
	for _, l := range m.Links {
		if l.HasMAC(h.NIC.MAC) || slices.ContainsFunc(h.Names, l.Answers) {
			out = append(out, fmt.Sprint(l.Index, l.Name, l.AltNames))
		}
	}
	return strings.Join(out, " ")
}

// halfway is the result of an action of a NIC that is half way.
func (d *Daemon) halfway(a plan.Action) (apply.Result, bool) {
	for _, h := range d.Applier.Halfway() {
		if h.NIC.MAC == a.NIC.MAC {
			return h.Result(a), true
		}
	}
	return apply.Result{}, false
}

// withHalfway adds the NICs that are half way, and of which nothing is wanted or known now.
func (d *Daemon) withHalfway(results []apply.Result) []apply.Result {
	out := slices.Clone(results)
	for _, h := range d.Applier.Halfway() {
		if !slices.ContainsFunc(results, func(r apply.Result) bool { return r.Action.NIC.MAC == h.NIC.MAC }) {
			out = append(out, h.Result(plan.Action{Kind: plan.Remove, NIC: h.NIC}))
		}
	}
	return out
}
