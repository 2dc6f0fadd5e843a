package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"multinicd/api/v1"
	"multinicd/test/bed"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
)

// A node of thirty NICs, of which ten are as wanted, ten fail again and again (a neighbour holds the address), and ten are not plugged in. Half a minute
// long, or an hour, nothing comes from outside: then the daemon hardly works, and it reports on nothing.
func TestANodeOfWhichHalfFailsIsQuiet(t *testing.T) {
	t.Parallel()
	watched := 30 * time.Second
	if len(prerequisite.Long(watched)) > 0 {
		watched = time.Hour
	}
	const (
		name  = "quiet-node"
		each  = 10
		first = each + 1   // of those that fail
		away  = 2*each + 1 // the first that is not plugged in
	)
	mac := func(id int) string { return fmt.Sprintf("02:00:00:00:09:%02x", id) }
	segment := func(id int) string { return fmt.Sprintf("quiet%d", id) }
	b := bed.New(t)
	var nics []testhost.NIC
	var wish []string
	for id := 1; id <= 3*each; id++ {
		wish = append(wish, nicYAML(id, mac(id), fmt.Sprintf("10.90.%d.10/24", id)))
		if id < away {
			nics = append(nics, testhost.NIC{MAC: mac(id), Segment: segment(id)})
		}
	}
	c := newCluster(t, b)
	n := &node{Node: c.Member(testhost.Options{Name: name, NICs: nics}, strings.ReplaceAll(settings(name, ""), `"off"`, `"fast"`)), t: t, bed: b}
	for id := first; id < away; id++ {
		if err := b.World.AddAddress(segment(id), netip.MustParsePrefix(fmt.Sprintf("10.90.%d.10/24", id))); err != nil {
			t.Fatal(err)
		}
	}
	reports := func() (count int) {
		t.Helper()
		all, err := c.Requests()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			if r.ObjectRef.Name == v1.ReportName(name) && (r.Verb == "update" || r.Verb == "patch") && strings.Contains(r.User.Username, name) {
				count++
			}
		}
		return count
	}
	passes := func() int64 {
		t.Helper()
		s, err := n.status()
		if err != nil {
			t.Fatal(err)
		}
		return s.Meters.Passes
	}
	before := reports() // of an earlier run in this process
	if err := n.StartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Want(object(name, wish...))
	c.wantState(name, "Failed", fmt.Sprintf("%d/%d", each, 3*each))
	n.eventually("each kind of NIC", "10 Configured, 10 AddressInUse, 10 WaitingForNIC", func() string {
		said := c.get(name, `{.status.interfaceStatuses[*].reason}`)
		return fmt.Sprintf("%d Configured, %d AddressInUse, %d WaitingForNIC", strings.Count(said, "Configured"), strings.Count(said, "AddressInUse"), strings.Count(said, "WaitingForNIC"))
	})
	n.quiet()

	began, pid := time.Now(), n.must("systemctl", "show", "--value", "-p", "MainPID", "multinicd")
	reported, looked, used := reports(), passes(), n.cpu()
	n.must("sleep", fmt.Sprint(watched.Seconds()))
	// Ten NICs are tried again together: after 5 s, 15 s, 45 s and so on, and each 10 min in the end. Each try sets ten links up and down, and a burst of
	// events leads to a look or two.
	tries := int64(6 + watched/(10*time.Minute))
	took, spent := time.Since(began).Round(time.Second), n.cpu()-used
	t.Logf("in %s: %d passes, %s of CPU, %d reports (%d before)", took, passes()-looked, spent, reports()-reported, reported-before)
	if got := passes() - looked; got > 12*tries {
		t.Errorf("%d passes, want %d at most", got, 12*tries)
	}
	if got := reports() - reported; got != 0 {
		t.Errorf("%d reports while nothing changed", got)
	}
	if reported-before > 2 {
		t.Errorf("%d reports on an object with one outcome", reported-before)
	}
	if watched == time.Hour && spent > 2*time.Second {
		t.Errorf("the daemon used %s of CPU in an hour", spent)
	}
	if now := n.must("systemctl", "show", "--value", "-p", "MainPID", "multinicd"); now != pid {
		t.Errorf("the daemon was started anew: %s, was %s", now, pid)
	}

	// While the others are being tried again, so that a pass finds behind its changes what was not there before them. By itself the next try may be
	// minutes away.
	n.must("systemd-run", "--quiet", "--collect", "multinicd", "trigger")
	n.eventually("a try of what fails", "now", func() string {
		for id := first; id < away; id++ {
			if strings.Contains(n.Link(mac(id)), "multinic") {
				return "now"
			}
		}
		return "not yet"
	})
	if err := n.Plug(testhost.NIC{MAC: mac(away), Segment: segment(away)}); err != nil {
		t.Fatal(err)
	}
	c.wantState(name, "Failed", fmt.Sprintf("%d/%d", each+1, 3*each))
	n.wantStays("reports on one NIC that was plugged in", "1", func() string { return fmt.Sprint(reports() - reported) })
}
