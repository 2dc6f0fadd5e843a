package legacy

import (
	"fmt"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
	"multinicd/test/bed/prerequisite"
)

// An older object of many nodes with five NICs each: every node gets its object, a change of one entry writes one object, and the same again none.
func TestManyNodes(t *testing.T) {
	for _, n := range append([]int{30}, prerequisite.Long(1000)...) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			c := newCluster(t, n)
			var entries []v1.BizNodeConfig
			for i := range n {
				e := entry(i + 1)
				for k := range 5 {
					e.Interfaces = append(e.Interfaces, nic(5*i+k))
				}
				entries = append(entries, e)
			}
			begun := time.Now()
			p := c.publisher()
			c.write(entries...)
			summary := func() string {
				o := c.older()
				if o.Status.Summary == nil || o.Status.ObservedGeneration != o.Generation {
					return ""
				}
				s := o.Status.Summary
				return fmt.Sprintf("%d of %d pending", s.PendingNodes, s.TotalNodes)
			}
			bed.Eventually(t, "the summary", fmt.Sprintf("%d of %d pending", n, n), summary)
			t.Logf("%d nodes were written within %s", n, time.Since(begun).Round(10*time.Millisecond))
			before := c.requests()
			entries[0].Interfaces[0].MTU = new(int32(1400))
			begun = time.Now()
			c.write(entries...)
			bed.Eventually(t, "the first object", "1400", func() string { return fmt.Sprint(*c.object(1).Spec.Interfaces[0].MTU) })
			t.Logf("one of %d was changed within %s", n, time.Since(begun).Round(10*time.Millisecond))
			c.settled()
			c.asked(before, map[string]int{"get multinicnodeconfigs worker-1": 1, "patch multinicnodeconfigs worker-1": 1})
			p.Stop()
			c.measureMigration(n, entries)
		})
	}
}

// measureMigration hands the objects of so many nodes over and back; and once more without any object, so that all are written.
func (c *cluster) measureMigration(n int, entries []v1.BizNodeConfig) {
	t := c.t
	t.Helper()
	m := c.command()
	measure := func(line string, words ...string) {
		t.Helper()
		before, begun := c.requests(), time.Now()
		m.says(line, 0, words...)
		verbs := c.requestsOf(migrator, before)
		t.Logf("migrate %s: %d nodes within %s; requests %v", line, n, time.Since(begun).Round(10*time.Millisecond), verbs)
		if verbs["patch multinicnodeconfigs"] > 2*n || verbs["create multinicnodeconfigs"] > n {
			t.Errorf("migrate %s asked %v for %d nodes", line, verbs, n)
		}
	}
	measure("plan", fmt.Sprintf("%d unchanged", n))
	measure("run --to viola", fmt.Sprintf("%d handed over", n))
	measure("rollback", fmt.Sprintf("%d give back", n))
	c.must(c.admin.DeleteAllOf(t.Context(), &v1.MultiNicNodeConfig{}, client.InNamespace(v1.SystemNamespace)))
	c.fleet()
	measure("run --to viola --stop-after 0", fmt.Sprintf("%d handed over", n))
	bed.Eventually(t, "the nodes", "", func() string {
		out, code := m.run("verify")
		if code == 0 {
			return ""
		}
		return out[max(0, len(out)-200):]
	})
}

// requestsOf counts what a user has asked for since then, by verb and resource.
func (c *cluster) requestsOf(user string, since int) map[string]int {
	c.t.Helper()
	all, err := c.Cluster.Requests()
	c.must(err)
	out := map[string]int{}
	for _, r := range all[since:] {
		if r.User.Username == user && r.ObjectRef.Resource != "" {
			out[r.Verb+" "+r.ObjectRef.Resource]++
		}
	}
	return out
}
