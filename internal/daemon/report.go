package daemon

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/status"
	"multinicd/plan"
)

// finish publishes how a pass ended, on the socket and in the report.
func (d *Daemon) finish(ctx context.Context, wish asked.Wish, desired asked.Desired, results []apply.Result, m *plan.View) {
	s := d.found(wish, desired, status.NICs(desired, d.withHalfway(results), m, d.known()))
	if ctx.Err() != nil {
		// Stopped in mid-pass: some NICs were not looked at, and a change may have been undone for that
		// reason alone. What was reported before is older, but better; the next start says how it is.
		if len(results) > 0 {
			d.publish(s, wish)
		}
		return
	}
	d.logNews(wish, s)
	d.countChange(wish, s.State)
	if n := d.note(wish.InForce()); n != nil && d.whole(wish, desired) == nil && wish.Mode() != asked.ModeLeft {
		s.Notes = append(s.Notes, n.Reason+": "+n.Message)
	}
	if v := d.vetoed(wish); v != nil {
		s.Notes = append(s.Notes, v.Reason+": "+v.Message)
	}
	if report, ok := d.report(wish, s); ok {
		d.date(&report, s.NICs)
		d.tellRepairs(&report, s.NICs, wish.ReportLevel)
		d.own.between.held = &report
		if !d.own.serves || !d.own.between.waits(s.NICs, d.now()) {
			d.endBetween()
		}
	}
	d.publish(s, wish)
}

// found says how the node as a whole is, with these NICs.
func (d *Daemon) found(wish asked.Wish, desired asked.Desired, nics []status.NIC) status.Node {
	s := status.Node{NICs: nics, State: string(status.Overall(nics))}
	whole := d.whole(wish, desired)
	switch mode := wish.Mode(); {
	case mode == asked.ModeLeft:
		s.State, s.Message = string(v1.PhaseRemoved), leftMessage
	case mode == asked.ModeUnreleased:
		s.State, s.Message = string(v1.StatePending), wish.UnreleasedMessage()
	case whole != nil:
		s.State, s.Reason, s.Message = string(v1.StateFailed), whole.Reason, whole.Message
	case mode == asked.ModeCleaned && len(nics) == 0:
		s.State, s.Message = string(v1.PhaseRemoved), cleanedMessage
	case mode == asked.ModeGone:
		s.State, s.Message = string(v1.PhaseRemoved), d.deletedMessage(nics)
	}
	return s
}

// logNews writes a line for each NIC of which something else is to be said than after the last
// pass.
func (d *Daemon) logNews(wish asked.Wish, s status.Node) {
	was := d.Status()
	if wish.Gone && s.Message != was.Message {
		d.Log.Info("the object of this node is deleted", "node", d.Node, "on_delete", d.OnDelete, "message", s.Message)
	}
	before := map[string]status.NIC{}
	for _, n := range was.NICs {
		before[n.MAC] = n
	}
	for _, n := range s.NICs {
		if b := before[n.MAC]; b.Status == n.Status && b.Reason == n.Reason || n.Outcome == "" {
			continue
		}
		level := slog.LevelInfo
		if n.Status == v1.StateFailed {
			level = slog.LevelWarn
		}
		d.Log.Log(context.Background(), level, "a NIC has another status", "status", n.Status, "node", d.Node, "generation", wish.Generation(), "nic", n.Name, "mac", n.MAC, "reason", n.Reason, "message", n.Message)
	}
}

// report puts a status into the words of the wire; false where there is no object of the cluster to
// report on.
func (d *Daemon) report(wish asked.Wish, s status.Node) (v1.Report, bool) {
	mode, obj := wish.Mode(), wish.Object
	if wish.Gone {
		obj = wish.Before // what is reported is the end of that one; once the bridge has it, the node may lose its credential
	}
	switch {
	case mode == asked.ModeUnreleased:
		return d.waitingReport(wish), true
	case mode == asked.ModeUnread:
		obj = wish.Unread.Object()
	case obj == nil || obj.UID == "":
		return v1.Report{}, false
	}
	r := s.Said()
	r.Node, r.UID, r.Generation, r.Run = d.Node, obj.UID, obj.Generation, wish.LastRun()
	r.Executor, r.Version, r.JobName = d.Executor, d.Version, d.Job
	if r.Degraded == nil && mode == asked.ModeLeft {
		r.Degraded = &v1.Remark{Reason: v1.ReasonRemoved, Message: leftMessage}
	}
	if r.Degraded == nil && mode == asked.ModeGone && d.OnDelete != "restore" && len(d.owned()) > 0 {
		r.Degraded = &v1.Remark{Reason: v1.ReasonRetained, Message: d.deletedMessage(nil)}
		r.Interfaces = append(r.Interfaces, d.retained()...)
	}
	if r.Degraded == nil {
		r.Degraded = cmp.Or(d.vetoed(wish), d.clockSkew())
	}
	if r.Degraded == nil && r.Refused == nil && mode != asked.ModeGone && mode != asked.ModeLeft {
		r.Degraded = d.note(obj)
	}
	return r.AtLevel(wish.ReportLevel), true
}

// whole says why an object as a whole is not made true, though it is known; nil where it is. The
// newest object is what counts: one that cannot be read, or that was rolled back by hand, is not in
// force, whatever is said of the one that is.
func (d *Daemon) whole(wish asked.Wish, desired asked.Desired) *v1.Remark {
	switch mode := wish.Mode(); {
	case mode == asked.ModeUnread:
		return &v1.Remark{Reason: v1.ReasonInvalidSpec, Message: d.keeps(wish.UnreadMessage())}
	case mode == asked.ModeHeld:
		return &v1.Remark{Reason: v1.ReasonHeldBack, Message: wish.HeldMessage()}
	case desired.Refused != nil:
		return &v1.Remark{Reason: string(desired.Refused.Reason), Message: d.keeps(desired.Refused.Message)}
	}
	return nil
}

// note is what is good to know of an object and needs nobody; nil for nothing.
func (d *Daemon) note(obj *v1.MultiNicNodeConfig) *v1.Remark {
	if obj == nil || obj.Spec.InstanceID == "" || len(d.comparable(obj.Spec.InstanceID)) > 0 {
		return nil
	}
	return &v1.Remark{Reason: v1.ReasonIdentityUnverified, Message: "nothing on this host can be compared with spec.instanceId; set instance_id in multinicd.toml"}
}

// keeps adds to a message why the whole object does not count that what was there before is still
// in force.
func (d *Daemon) keeps(message string) string {
	if n := len(d.owned()); n == 1 {
		return message + "; the NIC of before stays as it is"
	} else if n > 1 {
		return fmt.Sprintf("%s; the %d NICs of before stay as they are", message, n)
	}
	return message
}

// retained has a row for each NIC that stays as it is although the object is gone.
func (d *Daemon) retained() (rows []v1.InterfaceStatus) {
	for _, c := range d.owned() {
		if len(rows) < v1.MaxInterfaces { // of several objects, one after the other, they may be more
			rows = append(rows, v1.InterfaceStatus{ID: int32(c.ID), Name: c.Name, MACAddress: c.MAC.String(), Status: v1.StateConfigured, Reason: v1.ReasonRetained})
		}
	}
	return rows
}

// waitingReport says of an object that waits for its release just that.
func (d *Daemon) waitingReport(wish asked.Wish) v1.Report {
	obj := wish.Unreleased
	r := v1.Report{Schema: v1.ReportSchema, Node: d.Node, UID: obj.UID, Generation: obj.Generation,
		Executor: d.Executor, Version: d.Version, Phase: v1.PhaseDone, JobName: d.Job, Run: wish.LastRun(), Degraded: cmp.Or(d.vetoed(wish), d.clockSkew())}
	waits := func(id int, name, mac string) {
		r.Interfaces = append(r.Interfaces, v1.InterfaceStatus{ID: int32(id), Name: name, MACAddress: mac,
			Status: v1.StatePending, Reason: v1.ReasonWaitingForRelease, Message: v1.WaitingForReleaseMessage})
	}
	desired := asked.Parse(obj, d.Node)
	for _, n := range desired.NICs {
		waits(n.ID, n.Name, n.MAC.String())
	}
	for _, n := range desired.Invalid {
		waits(n.ID, n.Name, n.Text)
	}
	if len(r.Interfaces) == 0 {
		r.Phase = v1.PhaseApplying // no row can say it, and the node is not done with a generation that it has not begun
	}
	return r
}

// clockSkew is the remark about the host's clock, nil for none. Until the API server has answered,
// what was said last holds: a restart is no news.
func (d *Daemon) clockSkew() *v1.Remark {
	d.state.mu.Lock()
	c := d.state.status.Credential
	d.state.mu.Unlock()
	switch {
	case c != nil && c.ClockSkew != "":
		return &v1.Remark{Reason: v1.ReasonClockSkew, Message: c.ClockSkew}
	case c == nil || !c.ClockKnown:
		if before := d.reports.Last().Degraded; before != nil && before.Reason == v1.ReasonClockSkew {
			return before
		}
	}
	return nil
}

// date carries over since when each NIC is as wanted, so that the same state gives the same report.
func (d *Daemon) date(r *v1.Report, nics []status.NIC) {
	before := d.reports.Last()
	for i := range r.Interfaces {
		is := &r.Interfaces[i]
		if is.Status != v1.StateConfigured {
			continue
		}
		when := metav1.Time{Time: d.now().UTC().Truncate(time.Second)}
		k := slices.IndexFunc(nics, func(n status.NIC) bool { return n.MAC == is.MACAddress && !n.Unwanted })
		for _, b := range before.Interfaces {
			if (k < 0 || nics[k].Outcome == "") && b.MACAddress == is.MACAddress && b.Status == v1.StateConfigured && b.LastConfigured != nil {
				when = *b.LastConfigured
			}
		}
		if at, ok := d.own.between.done[is.MACAddress]; ok {
			when = metav1.Time{Time: at.UTC().Truncate(time.Second)}
		}
		if k >= 0 && nics[k].LastRepair != nil && nics[k].LastRepair.At.After(when.Time) { // of which no report has told yet
			when = metav1.Time{Time: nics[k].LastRepair.At}
		}
		is.LastConfigured = &when
		if k >= 0 {
			nics[k].LastConfigured = when.Time
		}
	}
}
