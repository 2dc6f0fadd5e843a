package fault

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multinicd/test/bed"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
)

// others is what the kernel has of everything but the data NICs.
func (n *node) others() string {
	n.t.Helper()
	return n.Sh(`
		ip -oneline address | sed 's/valid_lft.*//' | grep -v -E '^[0-9]+: (multinic|eth[1-9])'
		for family in -4 -6; do
			ip $family -oneline route show table all | grep -v -E ' dev (multinic|eth[1-9])' | sort
			ip $family rule
		done`)
}

// wanted is one NIC of a random object; nil: not in it.
type wanted struct {
	ID        int              `json:"id"`
	MAC       string           `json:"macAddress"`
	CIDR      string           `json:"cidr"`
	MTU       int              `json:"mtu,omitempty"`
	Addresses []string         `json:"addresses,omitempty"`
	Routes    []map[string]any `json:"routes,omitempty"`
}

// many is how many NICs change at random; NIC steady, beside them, never does.
const (
	many   = 5
	steady = 9
)

func macOf(i int) string { return fmt.Sprintf("02:00:00:00:01:%02x", i) }

// some is NIC i at random, with a name of two.
func some(r *rand.Rand, i int) *wanted {
	if r.IntN(4) == 0 {
		return nil
	}
	net := 10*i + r.IntN(4)
	w := &wanted{ID: i + 10*r.IntN(2), MAC: macOf(i), CIDR: fmt.Sprintf("172.16.%d.%d/24", net, 2+r.IntN(3)), MTU: []int{0, 1400, 1450}[r.IntN(3)]}
	if r.IntN(3) == 0 {
		w.Addresses = []string{fmt.Sprintf("2001:db8:%d::%d/64", net, 1+r.IntN(3))}
	}
	if r.IntN(2) == 0 {
		w.Routes = []map[string]any{{"to": fmt.Sprintf("10.%d.%d.0/24", 20+i, r.IntN(3)), "via": fmt.Sprintf("172.16.%d.1", net)}}
	}
	return w
}

// nicOf says which NIC a link of that name is; 0: none of ours.
func nicOf(link string) int {
	var i int
	if n, err := fmt.Sscanf(link, "multinic%d", &i); err == nil && n == 1 {
		return i % 10
	}
	if n, err := fmt.Sscanf(link, "eth%d", &i); err == nil && n == 1 && i > 0 {
		return []int{0, 1, 2, 3, 4, 5, steady}[min(i, 6)]
	}
	return 0
}

func TestRandomChangesTouchNothingElse(t *testing.T) {
	t.Parallel()
	changes := 100
	for _, more := range prerequisite.Long(1000) {
		changes = more
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("MULTINIC_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d changes; the same again with MULTINIC_SEED=%d", changes, seed)
	r := rand.New(rand.NewPCG(seed, 0))

	b := bed.New(t)
	c := newCluster(t, b)
	const name = "busy"
	var macs []string
	for i := range many {
		macs = append(macs, macOf(i+1))
	}
	o := testhost.Options{NICs: append(bed.NICs(macs...), testhost.NIC{MAC: macOf(steady), Segment: "data9"})}
	n := c.newMember(name, o)
	if err := b.World.AddAddress("data9", netip.MustParsePrefix("10.9.0.1/24")); err != nil {
		t.Fatal(err)
	}
	c.Want(object(name, entry(steady, macOf(steady), "10.9.0.2/24")))
	bed.Eventually(t, "the object", "Configured multinic9=Configured", func() string { return c.summary(name) })
	// The kernel's own IPv6 addresses and their checks would make events long after a link went up.
	n.Sh(`
		for f in /proc/sys/net/ipv6/conf/*/addr_gen_mode; do echo 1 >$f; done
		for f in /proc/sys/net/ipv6/conf/*/accept_dad; do echo 0 >$f; done
	` + testhost.Bystanders)

	second := make(chan string, 1) // another daemon waits for the lock, and gives up
	go func() {
		out, err := n.Command(t.Context(), "multinicd", "run").CombinedOutput()
		second <- fmt.Sprintf("%s%v", out, err)
	}()
	client, err := dynamic.NewForConfig(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	objects := client.Resource(schema.GroupVersionResource{Group: "multinic.io", Version: "v1", Resource: "multinicnodeconfigs"}).Namespace("multinic-system")
	kernel, err := n.MonitorKernel()
	if err != nil {
		t.Fatal(err)
	}
	defer kernel.Stop()
	n.eventually("what the kernel tells before the first change", "[]", func() string {
		kernel.Reset()
		time.Sleep(2 * time.Second) // in which nothing is to happen
		events, err := kernel.Events()
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(events)
	})
	others := n.others()
	pings, err := b.World.Ping(netip.MustParseAddr("10.9.0.2"), n.Address.Addr())
	if err != nil {
		t.Fatal(err)
	}

	var have [many + 1]*wanted
	var changed [many + 1]time.Time
	began := time.Now()
	for step := range changes {
		now := map[int]bool{}
		for len(now) == 0 {
			for range 1 + r.IntN(2) {
				i := 1 + r.IntN(many)
				next := some(r, i)
				if text(next) != text(have[i]) {
					have[i], now[i] = next, true
				}
			}
		}
		list := []any{&wanted{ID: steady, MAC: macOf(steady), CIDR: "10.9.0.2/24"}}
		for _, w := range have {
			if w != nil {
				list = append(list, w)
			}
		}
		patch, err := json.Marshal(map[string]any{"spec": map[string]any{"interfaces": list}})
		if err != nil {
			t.Fatal(err)
		}
		var obj *unstructured.Unstructured
		if obj, err = objects.Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		n.eventually(fmt.Sprintf("the status at step %d", step), fmt.Sprintf("%d Configured %d", obj.GetGeneration(), len(list)), func() string {
			s, err := n.Status()
			if err != nil {
				return err.Error()
			}
			return fmt.Sprintf("%d %s %d", s.Generation, s.State, len(s.NICs))
		})
		for i := range now {
			changed[i] = time.Now()
		}
		events, err := kernel.Events()
		if err != nil {
			t.Fatal(err)
		}
		kernel.Reset()
		for _, e := range events {
			i := nicOf(e.Link)
			// The kernel tells of a carrier, and what hangs on it, some time after a link was set up.
			late := e.What == "link" || strings.HasPrefix(e.Text, "ff00::/8") || strings.HasPrefix(e.Text, "fe80::")
			if now[i] || late && i > 0 && i <= many && time.Since(changed[i]) < 10*time.Second {
				continue
			}
			t.Errorf("step %d, which changes the NICs %v: %s", step, slices.Sorted(maps.Keys(now)), e)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d changes in %v", changes, time.Since(began).Round(time.Millisecond))
	sent, lost, err := pings.Stop()
	if err != nil {
		t.Error(err)
	}
	for target, n := range sent {
		t.Logf("ping of %s: %d sent, %d lost", target, n, lost[target])
		if n == 0 || lost[target] > 0 {
			t.Errorf("ping of %s: %d of %d lost", target, lost[target], n)
		}
	}
	if got := n.others(); got != others {
		t.Errorf("the rest of the host is\n%s\nwas\n%s", got, others)
	}
	select {
	case out := <-second:
		if !strings.Contains(out, "exit status 7") || !strings.Contains(out, "multinicd run") {
			t.Errorf("a second daemon says %s; want exit status 7, and who holds the lock", out)
		}
	case <-time.After(60 * time.Second):
		t.Error("a second daemon still waits")
	}
}

func text(w *wanted) string {
	out, _ := json.Marshal(w) // of plain values
	return string(out)
}
