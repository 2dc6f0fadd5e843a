package chart

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
)

// changes per way and number of NICs.
const changes = 10

// TestByDaemonAndByJobSideBySide measures the two ways in one run, one after the other on the same node: how long a change takes to be in
// the kernel, and in the status, and how many requests it costs. The log has the table; the test fails where a status is ahead of the
// kernel, and where a change by the daemon costs more requests than it may.
func TestByDaemonAndByJobSideBySide(t *testing.T) {
	for _, node := range prerequisite.Long("worker-node-measured") { // it takes minutes, and its numbers want a quiet machine
		sideBySide(t, node)
	}
}

func sideBySide(t *testing.T, node string) {
	c := newCluster(t, node)
	if err := c.node.WriteFile("/etc/multinicd/multinicd.toml", []byte("links.virtual_kinds = [\"veth\"]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var more []string
	for n := 3; n <= 10; n++ {
		mac := fmt.Sprintf("02:00:00:00:01:%02x", n)
		more = append(more, mac)
		if err := c.node.Plug(testhost.NIC{MAC: mac, Segment: "data" + strconv.Itoa(n)}); err != nil {
			t.Fatal(err)
		}
	}
	c.runHelm(append(install, "--set", "jobs.execution=auto")...)
	eventuallyLogs(c, "admission policies are in force")
	table := []string{"by       NICs  kernel p50  max    Configured p50  max    requests per change"}
	for _, way := range []string{"a Job", "daemon"} {
		if way == "daemon" {
			c.join()
		}
		for _, nics := range [][]string{nil, more} {
			table = append(table, c.measure(way, nics))
		}
	}
	t.Logf("side by side, %d changes each, on a machine that may be busy with other things:\n%s", changes, strings.Join(table, "\n"))
}

// measure makes changes of the MTU, and gives the line of the table.
func (c *cluster) measure(way string, more []string) string {
	c.t.Helper()
	c.publish(c.name, 1500, more...)
	c.configured()
	var kernel, status []time.Duration
	m, err := c.node.MonitorKernel()
	if err != nil {
		c.t.Fatal(err)
	}
	defer m.Stop()
	h := c.watch()
	before := c.requests()
	for n := range changes {
		mtu := 1401 + n
		m.Reset()
		c.publish(c.name, mtu, more...)
		start, configured := h.published(c)
		status = append(status, configured.Sub(start))
		events, err := m.Events()
		if err != nil {
			c.t.Fatal(err)
		}
		done := map[string]time.Time{}
		for _, e := range events {
			if e.What == "link" && strings.HasPrefix(e.Link, "multinic") && strings.Contains(e.Text, "mtu "+strconv.Itoa(mtu)) {
				if done[e.Link].IsZero() {
					done[e.Link] = e.Time
				}
			}
		}
		if len(done) != 2+len(more) {
			c.t.Fatalf("status says Configured of MTU %d; the kernel has told of %d NICs, want %d:\n%v", mtu, len(done), 2+len(more), events)
		}
		var last time.Time
		for _, at := range done {
			if at.After(last) {
				last = at
			}
		}
		if last.After(configured) {
			c.t.Errorf("status said Configured %v before the kernel had MTU %d", last.Sub(configured), mtu)
		}
		kernel = append(kernel, last.Sub(start))
	}
	requests := float64(c.requests()-before) / changes
	if way == "daemon" && requests > 8 {
		c.t.Errorf("a change by the daemon costs %.1f requests, want 8 at most", requests)
	}
	slices.Sort(kernel)
	slices.Sort(status)
	ms := func(d time.Duration) string { return d.Round(time.Millisecond).String() }
	return fmt.Sprintf("%-8s %4d  %10s  %-5s  %14s  %-5s  %.1f", way, 2+len(more), ms(kernel[changes/2]), ms(kernel[changes-1]),
		ms(status[changes/2]), ms(status[changes-1]), requests)
}

// requests counts what was asked for in the product's namespaces by others than this test.
func (c *cluster) requests() int {
	c.t.Helper()
	all, err := c.Requests()
	if err != nil {
		c.t.Fatal(err)
	}
	n := 0
	for _, r := range all {
		ours := r.ObjectRef.Namespace == system || r.ObjectRef.Namespace == nodes
		// The leader renews its Lease every 2 s, whatever happens.
		leader := r.ObjectRef.Resource == "leases" && (r.ObjectRef.Name == "multinic-bridge" || r.ObjectRef.Name == "multinic-credentials")
		if ours && !leader && !strings.HasPrefix(r.UserAgent, "kubectl") && !strings.HasPrefix(r.UserAgent, "chart.test") && !strings.HasPrefix(r.UserAgent, "helm") {
			n++
		}
	}
	return n
}
