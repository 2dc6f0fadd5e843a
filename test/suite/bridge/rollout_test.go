package bridge

import (
	"context"
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
	args := append([]string{"run", "--duty", "status", "--kubeconfig", b.kubeconfig, "--health-address", "0",
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
