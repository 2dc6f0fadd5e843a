package daemon

import (
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/status"
	"multinicd/nic"
	"multinicd/plan"
)

// repairsEvery is how often reports may tell of nothing but repairs. The next look at the host,
// Resync at most, tells what had to wait.
const repairsEvery = 4 * time.Minute

// noteRepair remembers the repair of a NIC that was made now.
func (d *Daemon) noteRepair(mac nic.MAC, about string) {
	if !d.own.started { // a boot may have left something undone that no file can say
		return
	}
	count := d.own.repairs[mac].Count
	if b := lastRow(d.reports.Last(), mac.String()).LastRepair; count == 0 && b != nil { // of before our start
		count = int(b.Count)
	}
	d.own.repairs[mac] = status.Repair{At: d.now().UTC().Truncate(time.Second), Count: count + 1, About: v1.Printable(about, v1.MaxMessage)}
}

// keepRepairs forgets those of every NIC for which the newest plan has no action.
func (d *Daemon) keepRepairs(actions []plan.Action) {
	maps.DeleteFunc(d.own.repairs, func(mac nic.MAC, _ status.Repair) bool {
		return !slices.ContainsFunc(actions, func(a plan.Action) bool { return a.NIC.MAC == mac && a.Kind != plan.Remove })
	})
}

func lastRow(r v1.Report, mac string) v1.InterfaceStatus {
	for _, is := range r.Interfaces {
		if is.MACAddress == mac {
			return is
		}
	}
	return v1.InterfaceStatus{}
}

// tellRepairs adds to a report the last repair of each NIC, as far as the bridge reads that. A
// report that would tell of nothing but repairs waits until repairsEvery is over: whoever spoils a
// NIC again and again must not make the node speak each time. While a fight goes on, the repairs of
// it wait for its end.
func (d *Daemon) tellRepairs(r *v1.Report, nics []status.NIC, level int32) {
	before := d.reports.Last()
	for i := range r.Interfaces {
		is := &r.Interfaces[i]
		b := lastRow(before, is.MACAddress)
		is.LastRepair = b.LastRepair
		k := slices.IndexFunc(nics, func(n status.NIC) bool { return n.MAC == is.MACAddress && !n.Unwanted })
		if k < 0 || is.MACAddress == v1.NoMAC {
			continue
		}
		switch last := nics[k].LastRepair; {
		case last == nil && b.LastRepair != nil: // of before our start
			nics[k].LastRepair = &status.Repair{At: b.LastRepair.Time.UTC(), Count: int(b.LastRepair.Count), About: b.LastRepair.Message}
		case last != nil && is.Reason != v1.ReasonDriftFighting:
			is.LastRepair = &v1.Repair{Time: metav1.Time{Time: last.At}, Count: int32(min(last.Count, 1<<30)), Message: last.About}
		}
	}
	*r = r.AtLevel(level)
	quiet := *r
	quiet.Interfaces = slices.Clone(r.Interfaces)
	for i := range quiet.Interfaces {
		is := &quiet.Interfaces[i]
		b := lastRow(before, is.MACAddress)
		is.LastConfigured, is.LastRepair = b.LastConfigured, b.LastRepair
	}
	switch {
	case same(*r, before) || !same(quiet, before):
	case d.now().Sub(d.own.told) < repairsEvery && !d.own.told.IsZero():
		*r = quiet
	default:
		d.own.told = d.now()
	}
}

// same compares what would be sent.
func same(a, b v1.Report) bool {
	x, err1 := a.Encode()
	y, err2 := b.Encode()
	return err1 == nil && err2 == nil && string(x) == string(y)
}
