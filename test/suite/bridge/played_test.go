package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// fleet plays the daemons of many nodes: each acts on its object once that is
// released, and fails where the object says "bad".
type fleet struct {
	c      *cluster
	prefix string
	count  int

	mu      sync.Mutex
	did     map[string]int64 // by name: the generation last acted on
	failed  int              // how many have acted on a bad object since it was set to 0
	most    int              // the most that were seen in change at once
	changes int
	left    int // that many nodes do not act before it is 0: a rollout does not end
}

func newFleet(c *cluster, prefix string, count int) *fleet {
	c.t.Helper()
	f := &fleet{c: c, prefix: prefix, count: count, did: map[string]int64{}}
	for i := range count {
		o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: f.name(i), Namespace: v1.SystemNamespace}}
		o.Spec = v1.MultiNicNodeConfigSpec{NodeName: o.Name, SpecHash: "good", Interfaces: []v1.Interface{{ID: new(int32(1)), MACAddress: "02:00:00:00:01:01"}}}
		if err := c.admin.Create(c.t.Context(), o); err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(func() { _ = c.admin.Delete(context.WithoutCancel(c.t.Context()), o) })
	}
	return f
}

func (f *fleet) name(i int) string { return fmt.Sprintf("%s-%03d", f.prefix, i) }

func (f *fleet) objects() []v1.MultiNicNodeConfig {
	var list v1.MultiNicNodeConfigList
	if err := f.c.admin.List(context.WithoutCancel(f.c.t.Context()), &list, client.InNamespace(v1.SystemNamespace)); err != nil {
		return nil // the API server may be made to fail
	}
	var out []v1.MultiNicNodeConfig
	for _, o := range list.Items {
		if strings.HasPrefix(o.Name, f.prefix+"-") {
			out = append(out, o)
		}
	}
	return out
}

// play runs until the test ends.
func (f *fleet) play() {
	for i := range f.count {
		f.c.eventually("the Lease of "+f.name(i)+" can be renewed", func() string {
			lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: v1.LeaseName(f.name(i))}}
			body := fmt.Sprintf(`{"spec":{"holderIdentity":%q,"renewTime":%q}}`, f.name(i), metav1.NowMicro().UTC().Format("2006-01-02T15:04:05.000000Z"))
			if err := f.c.admin.Patch(f.c.t.Context(), lease, client.RawPatch("application/merge-patch+json", []byte(body))); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.c.t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			f.pass(ctx)
			time.Sleep(30 * time.Millisecond) // and looks again
		}
	}()
	f.c.t.Cleanup(func() { cancel(); <-done })
}

func (f *fleet) pass(ctx context.Context) {
	objects := f.objects()
	f.mu.Lock()
	defer f.mu.Unlock()
	changing := 0
	for _, o := range objects {
		s := o.Status
		if s.ReleasedGeneration != 0 && s.ReleasedGeneration == o.Generation && (s.ObservedGeneration != o.Generation || s.State == v1.StateInProgress || s.State == v1.StatePending) {
			changing++
		}
		if f.did[o.Name] == o.Generation || s.ReleasedGeneration != 0 && s.ReleasedGeneration < o.Generation {
			continue
		}
		if rand.N(3) == 0 {
			continue // some take longer
		}
		if f.left > 0 && f.acted(objects) >= f.count-f.left {
			continue
		}
		n := v1.InterfaceStatus{ID: 1, Name: "multinic1", MACAddress: "02:00:00:00:01:01", Status: v1.StateConfigured, Reason: v1.ReasonConfigured}
		bad := o.Spec.SpecHash == "bad"
		if bad {
			n.Status, n.Reason = v1.StateFailed, v1.ReasonProbeFailed
		}
		data, err := v1.Report{Node: o.Name, UID: o.UID, Generation: o.Generation, SpecHash: o.Spec.SpecHash, Executor: v1.ExecutorDaemon, Version: "test",
			Phase: v1.PhaseDone, Interfaces: []v1.InterfaceStatus{n}}.Encode()
		if err != nil {
			f.c.t.Error(err)
			return
		}
		body, err := json.Marshal(map[string]any{"data": map[string]string{v1.ReportKey: string(data)}})
		if err != nil {
			f.c.t.Error(err)
			return
		}
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: v1.ReportName(o.Name)}}
		if f.c.admin.Patch(ctx, cm, client.RawPatch("application/merge-patch+json", body)) != nil {
			continue
		}
		f.did[o.Name] = o.Generation
		f.changes++
		if bad {
			f.failed++
		}
	}
	f.most = max(f.most, changing)
}

// acted is how many nodes have acted on the present generation.
func (f *fleet) acted(objects []v1.MultiNicNodeConfig) int {
	n := 0
	for _, o := range objects {
		if f.did[o.Name] == o.Generation {
			n++
		}
	}
	return n
}

// leave has some nodes not act until it is called with 0.
func (f *fleet) leave(left int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = left
}

// seen gives how many nodes have acted on a bad object, and the most that were seen in change at once.
func (f *fleet) seen() (failed, most int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed, f.most
}

// publish changes every object.
func (f *fleet) publish(hash string) {
	f.c.t.Helper()
	for i := range f.count {
		o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: f.name(i), Namespace: v1.SystemNamespace}}
		if err := f.c.admin.Patch(f.c.t.Context(), o, client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"specHash":%q}}`, hash))); err != nil {
			f.c.t.Fatal(err)
		}
	}
}

// count is how many objects are in a state for their present generation, told by
// state and reason of their NIC.
func (f *fleet) counts() map[string]int {
	out := map[string]int{}
	for _, o := range f.objects() {
		word := string(o.Status.State)
		if o.Status.ObservedGeneration != o.Generation {
			word = "stale"
		} else if len(o.Status.InterfaceStatuses) > 0 {
			word += " " + o.Status.InterfaceStatuses[0].Reason
		}
		out[word]++
	}
	return out
}

func (f *fleet) settle(want string) {
	f.c.t.Helper()
	f.c.eventually(want, func() string {
		if got := fmt.Sprint(f.counts()); got != want {
			return "it is " + got
		}
		return ""
	})
}
