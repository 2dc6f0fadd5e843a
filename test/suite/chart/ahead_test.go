package chart

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	v1 "multinicd/api/v1"
	"multinicd/test/bed/prerequisite"
)

// watched is how many changes are watched: the long run has the number that is promised.
func watched() int {
	for _, long := range prerequisite.Long(200) {
		return long
	}
	return 40
}

// neverAheadByDaemon stops the daemon for a moment in the middle of some changes, so that what it says too early would stand for long.
func (c *cluster) neverAheadByDaemon() {
	pid, err := c.node.DaemonPID(c.t.Context())
	if err != nil || pid == 0 {
		c.t.Fatalf("multinicd does not run: %v", err)
	}
	signal := func(name string) {
		if _, err := c.node.Run(c.t.Context(), "kill", "-"+name, strconv.Itoa(pid)); err != nil {
			c.t.Fatal(err)
		}
	}
	c.neverAhead(watched(), func() {
		time.Sleep(rand.N(150 * time.Millisecond)) // until any moment of the change
		signal("STOP")
		time.Sleep(100 * time.Millisecond) // in which a status that came too early is told
		signal("CONT")
	})
}

// neverAhead makes changes and looks into the kernel at each status that is told: one that says Configured of a generation which the kernel
// does not have at that moment fails the test. Every change raises the MTU of both NICs, every fourth also moves an address on by one, and
// now and then two come at once; disturb is called in the middle of every third.
func (c *cluster) neverAhead(changes int, disturb func()) {
	c.t.Helper()
	client, err := dynamic.NewForConfig(c.Config())
	if err != nil {
		c.t.Fatal(err)
	}
	objects := client.Resource(v1.GroupVersion.WithResource("multinicnodeconfigs")).Namespace(system)
	const least = 1281 // what IPv6 takes, and one more
	publish := func(n int) int64 {
		at := place{MTU1: least + n, MTU2: least + n, Address: 10 + n/4}
		patch := fmt.Sprintf(`[{"op": "replace", "path": "/spec/interfaces/0/mtu", "value": %d}, {"op": "replace", "path": "/spec/interfaces/1/mtu", "value": %d},
			{"op": "replace", "path": "/spec/interfaces/1/address", "value": "192.168.101.%d"}, {"op": "replace", "path": "/spec/interfaces/1/cidr", "value": "192.168.101.%d/24"}]`,
			at.MTU1, at.MTU2, at.Address, at.Address)
		o, err := objects.Patch(c.t.Context(), c.name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{})
		if err != nil {
			c.t.Fatal(err)
		}
		return o.GetGeneration()
	}
	publish(0)
	c.configured()
	kernel, err := c.node.Netlink()
	if err != nil {
		c.t.Fatal(err)
	}
	defer kernel.Close()
	w := &witness{kernel: kernel, wishes: map[int64]place{}}
	h := c.watch(w.see)
	begin := time.Now()
	waited := 0
	for n := 1; n <= changes; n++ {
		generation := publish(n)
		if n%8 == 5 && n < changes { // overtaken by the next, which moves no address
			time.Sleep(rand.N(100 * time.Millisecond)) // until any moment of the change
			n++
			generation = publish(n)
		}
		if n%3 == 0 && disturb != nil {
			disturb()
		}
		h.settled(c.t, generation)
		waited++
	}
	took := time.Since(begin)
	h.neverBackwards(c.t)
	early, looks := w.said()
	for _, what := range early {
		c.t.Errorf("a status is ahead of the kernel: %s", what)
	}
	if looks < waited {
		c.t.Errorf("%d statuses were compared with the kernel, want %d at least", looks, waited)
	}
	// A status that is a step ahead would have been seen.
	ahead := h.last()
	ahead.Generation++
	ahead.Spec = *ahead.Spec.DeepCopy()
	*ahead.Spec.Interfaces[1].MTU++
	ahead.Status.ObservedGeneration++
	w.see(ahead)
	if now, _ := w.said(); len(now) != len(early)+1 {
		c.t.Error("a status that is ahead of the kernel is not seen to be")
	}
	c.t.Logf("%d changes in %s, %d statuses of Configured compared with the kernel, %d ahead of it", changes, took.Round(time.Second), looks, len(early))
}

// place is how far a wish, or the kernel, has come: numbers that a later wish never lowers.
type place struct{ MTU1, MTU2, Address int }

// reaches: p is as far as q, or farther.
func (p place) reaches(q place) bool {
	return p.MTU1 >= q.MTU1 && p.MTU2 >= q.MTU2 && p.Address >= q.Address
}

// witness compares each status with the kernel at the moment at which it is told.
type witness struct {
	kernel *netlink.Handle

	mu     sync.Mutex
	wishes map[int64]place // by generation
	looks  int
	early  []string
}

// see is called for each state of the object, in order.
func (w *witness) see(o v1.MultiNicNodeConfig) {
	w.mu.Lock()
	defer w.mu.Unlock()
	nics := o.Spec.Interfaces
	if len(nics) != 2 || nics[0].MTU == nil || nics[1].MTU == nil {
		w.early = append(w.early, fmt.Sprintf("generation %d has another form: %+v", o.Generation, o.Spec))
		return
	}
	wish := place{MTU1: int(*nics[0].MTU), MTU2: int(*nics[1].MTU)}
	_, _ = fmt.Sscanf(nics[1].CIDR, "192.168.101.%d/24", &wish.Address)
	w.wishes[o.Generation] = wish
	s := o.Status
	if s.State != v1.StateConfigured {
		return
	}
	have, err := w.look()
	want, known := w.wishes[s.ObservedGeneration]
	w.looks++
	if err != nil || known && !have.reaches(want) {
		w.early = append(w.early, fmt.Sprintf("Configured of generation %d, which is %+v; the kernel has %+v (%v)", s.ObservedGeneration, want, have, err))
	}
}

// look is the kernel's own answer.
func (w *witness) look() (have place, err error) {
	for name, to := range map[string]*int{"multinic1": &have.MTU1, "multinic2": &have.MTU2} {
		link, err := w.kernel.LinkByName(name)
		if err != nil {
			return have, err
		}
		*to = link.Attrs().MTU
		if name != "multinic2" {
			continue
		}
		addresses, err := w.kernel.AddrList(link, netlink.FAMILY_V4)
		if err != nil {
			return have, err
		}
		for _, a := range addresses {
			var n int
			if _, err := fmt.Sscanf(a.IPNet.String(), "192.168.101.%d/24", &n); err == nil {
				have.Address = max(have.Address, n)
			}
		}
	}
	return have, nil
}

// said is what was ahead of the kernel, and how often was looked.
func (w *witness) said() ([]string, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.early...), w.looks
}

// settled waits until a generation is seen to be Configured.
func (h *history) settled(t *testing.T, generation int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("generation %d is seen to be Configured", generation), func(context.Context) string {
		if s := h.last().Status; s.ObservedGeneration != generation || s.State != v1.StateConfigured {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
}

// last is the newest state of the object that was seen.
func (h *history) last() v1.MultiNicNodeConfig {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.all) == 0 {
		return v1.MultiNicNodeConfig{}
	}
	return h.all[len(h.all)-1]
}
