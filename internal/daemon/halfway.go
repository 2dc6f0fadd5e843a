package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"multinicd/internal/apply"
	"multinicd/internal/daemon/pace"
	"multinicd/nic"
	"multinicd/plan"
)

// resume tries to put right what changes left half way, where it is time for that. Every pass
// begins with it, whatever is wanted: what was begun without being wanted any more must end too.
func (d *Daemon) resume(ctx context.Context) {
	left := d.Applier.Halfway()
	if len(left) == 0 {
		d.own.pace.Halves = nil
		return
	}
	machine, err := d.Machine.Look(ctx)
	if err == nil {
		d.partUp(partLook)
	} else if ctx.Err() == nil {
		d.partDown(partLook, err)
	}
	halves := map[nic.MAC]*pace.Half{}
	for _, h := range left {
		mac, names := h.NIC.MAC, holders(h, machine)
		p := d.own.pace.Halves[mac]
		if p == nil { // its undo was tried right now
			d.Log.Error("a NIC is half way; it is tried again", "node", d.Node, "nic", h.NIC.Name, "mac", mac, "err", h.Err)
			halves[mac] = pace.NewHalf(d.now(), names)
			continue
		}
		halves[mac] = p
		p.Look(names)
		if d.now().Before(p.Due()) {
			continue
		}
		err := d.Applier.Resume(ctx, mac)
		d.Alive()
		if err == nil {
			d.Log.Info("a NIC that was half way has been put right", "node", d.Node, "nic", h.NIC.Name, "mac", mac)
			delete(halves, mac)
			d.own.pace.PutRight(mac, h.Undone)
			continue
		}
		p.Again(d.now(), names)
	}
	d.own.pace.Halves = halves
}

// untilResume is the time until the next change that is half way is to be tried; an hour where none
// is.
func (d *Daemon) untilResume() time.Duration {
	next := time.Hour
	for _, h := range d.Applier.Halfway() {
		wait := pace.ResumeMin // left half way by this pass
		if p := d.own.pace.Halves[h.NIC.MAC]; p != nil {
			wait = max(p.Due().Sub(d.now()), pace.ResumeMin)
		}
		next = min(next, wait)
	}
	return next
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

// holders says which link the NIC is and who has the names that putting it right needs.
func holders(h apply.Half, m plan.View) string {
	var out []string
	for _, l := range m.Links {
		if l.HasMAC(h.NIC.MAC) || slices.ContainsFunc(h.Names, l.Answers) {
			out = append(out, fmt.Sprint(l.Index, l.Name, l.AltNames))
		}
	}
	return strings.Join(out, " ")
}
