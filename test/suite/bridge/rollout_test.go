package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge"
	"multinicd/test/bed"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/prerequisite"
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

func TestTheRolloutBrakeStopsABadChangeAndSurvivesTheBridge(t *testing.T) {
	c := newCluster(t)
	b := &braked{fleet: newFleet(c, "brake", 50), limit: 5, stopAfter: 3, kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	stop := c.startBridgeWith(bridge.Options{}) // without a brake
	b.play()
	b.settle("map[Configured Configured:50]")
	stop()
	backwards := b.watch()
	if err := c.WriteKubeconfig(b.kubeconfig, "", "system:serviceaccount:"+v1.SystemNamespace+":multinic-bridge"); err != nil {
		t.Fatal(err)
	}
	b.program = b.start()
	defer func() { kill(b.program) }()

	b.whatWasSettledIsReleased()
	b.aBadChangeStops()
	b.aMendedChangeSurvivesKills()
	b.theLeaderIsKilledInTheMiddle()

	if _, most := b.seen(); most > b.limit {
		t.Errorf("%d nodes were in change at once, want at most %d", most, b.limit)
	}
	seen, wrong := backwards()
	for _, what := range wrong {
		t.Errorf("a status went backwards: %s", what)
	}
	if least := b.count * (3 + leadersKilled()); seen < least {
		t.Errorf("%d states of objects were seen, want %d at least: the watch is broken", seen, least)
	}
}

// braked is a fleet whose changes a bridge lets through a few at a time. The bridge is a program of
// its own, which can be killed.
type braked struct {
	*fleet
	limit, stopAfter int // --rollout-max and --rollout-stop-after
	kubeconfig       string
	program          *exec.Cmd
}

func (b *braked) start(more ...string) *exec.Cmd {
	t := b.c.t
	t.Helper()
	args := append([]string{"run", "--kubeconfig", b.kubeconfig, "--health-address", "0",
		"--metrics-address", "0", "--log-format", "text", "--rollout-max", fmt.Sprint(b.limit), "--rollout-stop-after", fmt.Sprint(b.stopAfter)}, more...)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), bed.Build(t, "./cmd/bridge"), args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func kill(program *exec.Cmd) {
	_ = program.Process.Kill()
	_ = program.Wait()
}

func (b *braked) whatWasSettledIsReleased() {
	b.c.t.Helper()
	b.c.eventually("what was settled is released", func() string {
		for _, o := range b.objects() {
			if o.Status.ReleasedGeneration != o.Generation {
				return o.Name + " is not"
			}
		}
		return ""
	})
}

// aBadChangeStops after stopAfter nodes, also for a bridge that has just started.
func (b *braked) aBadChangeStops() {
	b.c.t.Helper()
	b.publish("bad")
	b.settle("map[Failed ProbeFailed:3 Pending WaitingForRelease:47]")
	time.Sleep(2 * time.Second) // in which no other node is to be let through
	kill(b.program)
	b.program = b.start()       // a new one knows no more than the objects say
	time.Sleep(3 * time.Second) // likewise
	b.settle("map[Failed ProbeFailed:3 Pending WaitingForRelease:47]")
	if failed, _ := b.seen(); failed > b.stopAfter {
		b.c.t.Errorf("%d nodes took the bad change, want at most %d", failed, b.stopAfter)
	}
}

// aMendedChangeSurvivesKills of the bridge at any moment. No bridge runs afterwards.
func (b *braked) aMendedChangeSurvivesKills() {
	t := b.c.t
	t.Helper()
	b.publish("mended")
	for kills := 0; ; kills++ { // at any moment of it
		time.Sleep(rand.N(1500 * time.Millisecond)) // until any moment
		if b.counts()["Configured Configured"] == b.count {
			_, most := b.seen()
			t.Logf("done with %d kills of the bridge, %d at most in change at once", kills, most)
			break
		}
		if kills < 12 {
			kill(b.program)
			if b.counts()["Configured Configured"] < b.count {
				b.stillWaits()
			}
			b.program = b.start()
		}
		if kills > 200 {
			t.Fatalf("the rollout does not end: %v", b.counts())
		}
	}
	kill(b.program)
}

// theLeaderIsKilledInTheMiddle of a rollout, of two replicas, and the other one ends it. No bridge
// runs afterwards.
func (b *braked) theLeaderIsKilledInTheMiddle() {
	t := b.c.t
	t.Helper()
	b.program = b.start("--leader-elect")
	b.c.eventually("it leads", func() string { return b.led("") })
	for round := range leadersKilled() {
		standby := b.start("--leader-elect")
		leader := b.leader()
		hash := fmt.Sprint("again-", round)
		b.leave(1) // it would end before a slow look, or between that and the kill
		b.publish(hash)
		b.c.eventually("the rollout is in the middle", func() string {
			if n := b.counts()["Configured Configured"]; n < b.count/5 || n == b.count {
				return fmt.Sprintf("%d nodes are done", n)
			}
			return ""
		})
		kill(b.program)
		b.leave(0)
		b.program = standby
		b.stillWaits()
		b.c.eventually("the other one leads", func() string { return b.led(leader) })
		b.settle("map[Configured Configured:50]")
		for _, o := range b.objects() {
			if s := o.Status; s.ObservedSpecHash != hash || s.ReleasedGeneration != o.Generation || !strings.Contains(brief(s), "Ready=True AllInterfacesConfigured 1/1") {
				t.Errorf("%s: %s, hash %s, released %d of %d", o.Name, brief(s), s.ObservedSpecHash, s.ReleasedGeneration, o.Generation)
			}
		}
	}
	if err := b.program.Process.Signal(syscall.SIGTERM); err != nil { // it gives the lead back, which other tests want
		t.Error(err)
	}
	_ = b.program.Wait()
}

// leadersKilled: each takes the 15 s for which a Lease holds.
func leadersKilled() int { return 1 + len(prerequisite.Long(2, 3, 4, 5)) }

// leader is who leads, as the Lease has it.
func (f *fleet) leader() string {
	lease := &coordinationv1.Lease{}
	if f.c.admin.Get(f.c.t.Context(), client.ObjectKey{Namespace: v1.SystemNamespace, Name: "multinic-bridge"}, lease) != nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// led waits for somebody other than before to lead.
func (f *fleet) led(before string) string {
	if now := f.leader(); now == "" || now == before {
		return "the Lease is held by " + now
	}
	return ""
}

// watch compares each state of each object with the one before until the test ends, or what it gives is called: how many there were, and what went
// backwards.
func (f *fleet) watch() func() (int, []string) {
	f.c.t.Helper()
	objects, err := dynamic.NewForConfig(f.c.Config())
	if err != nil {
		f.c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.c.t.Context()))
	w, err := objects.Resource(v1.GroupVersion.WithResource("multinicnodeconfigs")).Namespace(v1.SystemNamespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		f.c.t.Fatal(err)
	}
	seen, wrong, before := 0, []string(nil), map[string]v1.MultiNicNodeConfig{}
	var done sync.WaitGroup
	done.Go(func() {
		for e := range w.ResultChan() {
			u, ok := e.Object.(*unstructured.Unstructured)
			if !ok || !strings.HasPrefix(u.GetName(), f.prefix+"-") {
				continue
			}
			var o v1.MultiNicNodeConfig
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &o); err != nil {
				wrong = append(wrong, err.Error())
				continue
			}
			if what := installed.Backwards(before[o.Name], o); what != "" {
				wrong = append(wrong, o.Name+": "+what)
			}
			before[o.Name] = o
			seen++
		}
	})
	end := sync.OnceFunc(func() { cancel(); w.Stop(); done.Wait() })
	f.c.t.Cleanup(end)
	return func() (int, []string) { end(); return seen, wrong }
}

// stillWaits: without a bridge no node acts on what is not released.
func (f *fleet) stillWaits() {
	f.c.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range f.objects() {
		if o.Status.ReleasedGeneration < o.Generation && f.did[o.Name] == o.Generation {
			f.c.t.Errorf("%s acted without a release", o.Name)
		}
	}
}
