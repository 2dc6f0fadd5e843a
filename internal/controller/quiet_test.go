package controller

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
)

// Status is what JudgeStatus says of a node.
func Status(in Gathered) v1.MultiNicNodeConfigStatus { return JudgeStatus(in).Status }

// somewhere are times at which an event may wake a loop, before and after all that it waits for.
var somewhere = []time.Duration{0, time.Second, time.Minute, SilentAfter - time.Nanosecond, SilentAfter, SilentAfter + time.Nanosecond,
	7 * time.Minute, 59 * time.Minute, time.Hour, 25 * time.Hour, 30 * 24 * time.Hour}

// quietHours lets an hour pass from each of these times, in which nobody wakes the
// loop but the loop itself, and wants at most so many looks in each of the hours.
// It tells of a time shorter than a second.
func quietHours(t *testing.T, start time.Time, most int, look func(now time.Time) reconcile.Result) {
	t.Helper()
	times := somewhere
	if most > fewLooks {
		times = []time.Duration{0, 25 * time.Hour} // it is the same each time, and takes long
	}
	for _, at := range times {
		now, looks := start.Add(at), 0
		for end := now.Add(time.Hour); now.Before(end); {
			r := look(now)
			if r.RequeueAfter == 0 {
				break
			}
			if r.RequeueAfter < time.Second {
				t.Fatalf("%s after the start: run again in %s", now.Sub(start), r.RequeueAfter)
			}
			if looks++; looks > most {
				t.Fatalf("%s after the start: in an hour without an event it looks more than %d times, the last time for in %s", at, most, r.RequeueAfter)
			}
			now = now.Add(r.RequeueAfter)
		}
	}
}

// fewLooks in a quiet hour are those that a node may cost: a live one is judged
// every six minutes.
const fewLooks = 12

// Each loop, with a fleet of one node that is in each of the states in which it may
// stay for days.
func TestALoopThatNothingWakesLooksSeldom(t *testing.T) {
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	start := noon
	system := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: v1.SystemNamespace, Name: name, UID: uid, Generation: 1, CreationTimestamp: metav1.NewTime(start)}
	}
	nodes := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(start)}
	}
	theObject := object(1, func(o *v1.MultiNicNodeConfig) { o.ObjectMeta = system(node) })
	waits, away := theObject.DeepCopy(), theObject.DeepCopy()
	waits.Name, waits.UID = "waits", "waits"
	away.Name, away.UID = "away", "away"
	says := func(change ...func(*v1.Report)) client.Object {
		r := report(1, configured(1), configured(2))
		for _, c := range change {
			c(&r)
		}
		return &corev1.ConfigMap{ObjectMeta: nodes(v1.ReportName(node)), Data: map[string]string{v1.ReportKey: text(t, r)}}
	}
	garbage := &corev1.ConfigMap{ObjectMeta: nodes(v1.ReportName(node)), Data: map[string]string{v1.ReportKey: "{"}}
	byJob := func(r *v1.Report) { r.Executor = v1.ExecutorJob }
	lease := func(renewed bool) client.Object {
		l := &coordinationv1.Lease{ObjectMeta: nodes(v1.LeaseName(node))}
		if renewed {
			l.Spec.RenewTime, l.Spec.HolderIdentity = new(metav1.NewMicroTime(start)), new("somebody")
		}
		return l
	}
	theNode := nodeShell()
	theNode.ObjectMeta = metav1.ObjectMeta{Name: node, UID: "node", CreationTimestamp: metav1.NewTime(start)}
	account := identity{name: node, notes: map[string]string{}}.account()
	account.UID = "account"
	ends := identity{name: node, notes: map[string]string{sinceAnnotation: start.UTC().Format(time.RFC3339)}}.account()
	ends.UID = "account"
	join := &corev1.ServiceAccount{ObjectMeta: nodes(v1.JoinAccountName(node))}
	join.Annotations = map[string]string{v1.ExpiresAnnotation: start.Add(24 * time.Hour).UTC().Format(time.RFC3339)}
	theJob := newJob(node, JobKey{UID: uid, Generation: 1}, JobOptions{Image: "x"}, start)
	run := &v1.MultiNicNodeRun{ObjectMeta: system("run"), Spec: v1.MultiNicNodeRunSpec{Node: node, Action: v1.ActionTrigger}}
	ended := run.DeepCopy()
	ended.Status = v1.MultiNicNodeRunStatus{State: v1.RunFailed, ExitCode: new(int32(1)), FinishedAt: new(metav1.NewTime(start))}
	request := &v1.NodeTokenRequest{ObjectMeta: nodes(node), Spec: v1.NodeTokenRequestSpec{Door: v1.DoorKubelet, PublicKey: make([]byte, v1.PublicKeySize)}}

	// world is what a loop lives in.
	type world struct {
		client  client.Client
		now     func() time.Time
		pulses  *pulses
		inForce func(context.Context) error
		log     *slog.Logger
	}
	status := func(w world) reconcile.Reconciler {
		return &statusLoop{client: w.client, log: w.log, now: w.now, silentAfter: SilentAfter, pulses: w.pulses, jobs: true,
			events: events.NewFakeRecorder(1000), written: prometheus.NewCounter(prometheus.CounterOpts{}), outdated: prometheus.NewGauge(prometheus.GaugeOpts{}), reachable: func(context.Context, *v1.MultiNicNodeConfig) (bool, error) { return true, nil }}
	}
	rolled := func(o RolloutOptions) func(world) reconcile.Reconciler {
		return func(w world) reconcile.Reconciler {
			there := func(_ context.Context, o *v1.MultiNicNodeConfig) (bool, error) { return o.Name != "away", nil }
			return &rollout{client: w.client, log: w.log, events: events.NewFakeRecorder(1000), options: o, reachable: there, now: w.now,
				wake: make(chan event.TypedGenericEvent[*v1.MultiNicNodeConfig], 1000)}
		}
	}
	credentials := func(w world) *credentialLoop {
		return &credentialLoop{client: w.client, log: w.log, now: w.now, pulses: w.pulses, inForce: w.inForce,
			maker: &maker{client: w.client, now: w.now}}
	}
	credential := func(w world) reconcile.Reconciler { return credentials(w) }
	jobs := func(e Execution) func(world) reconcile.Reconciler {
		return func(w world) reconcile.Reconciler {
			return &jobLoop{client: w.client, reader: w.client, log: w.log, now: w.now, silentAfter: SilentAfter, pulses: w.pulses, inForce: w.inForce,
				counted: prometheus.NewCounterVec(prometheus.CounterOpts{}, []string{"what"}), options: JobOptions{Execution: e, Image: "x"}}
		}
	}
	runs := func(w world) reconcile.Reconciler {
		return &runLoop{client: w.client, reader: w.client, events: events.NewFakeRecorder(1000), log: w.log, now: w.now, ended: prometheus.NewCounterVec(prometheus.CounterOpts{}, []string{"action", "exit_code"})}
	}
	requests := func(w world) reconcile.Reconciler {
		return &requestLoop{client: w.client, reader: w.client, events: events.NewFakeRecorder(1000), log: w.log, now: w.now, identities: credentials(w), inForce: w.inForce}
	}
	labels := func(w world) reconcile.Reconciler { return &labelLoop{client: w.client, inForce: w.inForce} }

	objectKey := client.ObjectKey{Namespace: v1.SystemNamespace, Name: node}
	nodeKey := client.ObjectKey{Namespace: v1.NodesNamespace, Name: node}
	runKey := client.ObjectKeyFromObject(run)
	has := func(objects ...client.Object) []client.Object { return objects }
	for sentence, row := range map[string]struct {
		loop    func(world) reconcile.Reconciler
		key     client.ObjectKey
		objects []client.Object
		pulse   string // what the Lease said when it was seen first; "-": there is none
		lawless bool   // the admission policies are missing
		most    int    // 0: fewLooks
	}{
		"status: no object":                                          {loop: status, key: objectKey},
		"status: a node that never joined":                           {loop: status, key: objectKey, objects: has(theObject)},
		"status: a node without a Lease":                             {loop: status, key: objectKey, objects: has(theObject, says()), pulse: "-"},
		"status: a node that joined and never reported":              {loop: status, key: objectKey, objects: has(theObject), pulse: "renewed"},
		"status: a node with a daemon":                               {loop: status, key: objectKey, objects: has(theObject, says()), pulse: "renewed"},
		"status: a node with a report and a Lease that is made anew": {loop: status, key: objectKey, objects: has(theObject, says())},
		"status: a node that Jobs work on":                           {loop: status, key: objectKey, objects: has(theObject, says(byJob))},
		"status: a node that Jobs work on, which had a daemon":       {loop: status, key: objectKey, objects: has(theObject, says(byJob)), pulse: "renewed"},
		"status: a node whose Job runs":                              {loop: status, key: objectKey, objects: has(theObject, theJob)},
		"status: garbage":                                            {loop: status, key: objectKey, objects: has(theObject, garbage)},
		"status: garbage of a daemon":                                {loop: status, key: objectKey, objects: has(theObject, garbage), pulse: "renewed"},

		"rollout: no object":              {loop: rolled(RolloutOptions{Max: "1", StopAfter: 3})},
		"rollout: one is in change":       {loop: rolled(RolloutOptions{Max: "1", StopAfter: 3}), objects: has(theObject)},
		"rollout: one that is away waits": {loop: rolled(RolloutOptions{Max: "1", StopAfter: 3}), objects: has(theObject, away), most: int(time.Hour/rolloutEvery) + 1},
		"rollout: it was stopped by one":  {loop: rolled(RolloutOptions{Max: "1", StopAfter: 1}), objects: has(theObject, waits), most: int(time.Hour/rolloutEvery) + 1},

		"credential: no policies, for a node that is expected": {loop: credential, key: nodeKey, objects: has(theObject), lawless: true, most: int(time.Hour / admissionRetry)},
		"credential: a node that is expected":                  {loop: credential, key: nodeKey, objects: has(theObject, theNode)},
		"credential: a join token":                             {loop: credential, key: nodeKey, objects: has(join)},
		"credential: nothing speaks for it any more":           {loop: credential, key: nodeKey, objects: has(account)},
		"credential: nothing has spoken for it for a while":    {loop: credential, key: nodeKey, objects: has(ends), pulse: "renewed"},

		"job: no policies":                  {loop: jobs(ExecutionJob), key: objectKey, objects: has(theObject, theNode, account), lawless: true, most: int(time.Hour / admissionRetry)},
		"job: no Node":                      {loop: jobs(ExecutionJob), key: objectKey, objects: has(theObject)},
		"job: no ServiceAccount":            {loop: jobs(ExecutionJob), key: objectKey, objects: has(theObject, theNode)},
		"job: one runs":                     {loop: jobs(ExecutionJob), key: objectKey, objects: has(theObject, theNode, account, theJob)},
		"job: it has reported":              {loop: jobs(ExecutionJob), key: objectKey, objects: has(theObject, theNode, account, says(byJob))},
		"job: a daemon that lives":          {loop: jobs(ExecutionAuto), key: objectKey, objects: has(theObject, theNode, account, says(), lease(true)), pulse: "renewed"},
		"job: a Lease that was never moved": {loop: jobs(ExecutionAuto), key: objectKey, objects: has(theObject, theNode, account, says(byJob), lease(false))},

		"run: one that is not answered":   {loop: runs, key: runKey, objects: has(theObject, run)},
		"run: one of no object":           {loop: runs, key: runKey, objects: has(run)},
		"run: one that has ended":         {loop: runs, key: runKey, objects: has(theObject, ended)},
		"token-request: nothing is asked": {loop: requests, key: nodeKey, objects: has(theObject)},
		"token-request: it is refused":    {loop: requests, key: nodeKey, objects: has(request)},
		"token-request: no policies":      {loop: requests, key: nodeKey, objects: has(request, theObject), lawless: true, most: int(time.Hour / admissionRetry)},

		"node-label: it is so":    {loop: labels, key: client.ObjectKey{Name: node}, objects: has(theObject, theNode)},
		"node-label: no policies": {loop: labels, key: client.ObjectKey{Name: node}, objects: has(theObject, theNode), lawless: true, most: int(time.Hour / admissionRetry)},
		"node-label: no Node":     {loop: labels, key: client.ObjectKey{Name: node}, objects: has(theObject)},
	} {
		t.Run(sentence, func(t *testing.T) {
			now := start
			builder := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1.MultiNicNodeConfig{}, &v1.MultiNicNodeRun{}, &v1.NodeTokenRequest{}).
				WithIndex(&v1.MultiNicNodeRun{}, nodeIndex, func(client.Object) []string { return []string{node} })
			for _, o := range []client.Object{&batchv1.Job{}, &corev1.Pod{}} {
				builder = builder.WithIndex(o, jobIndex, func(o client.Object) []string { return []string{nodeOfJob(o)} })
			}
			for _, o := range row.objects {
				builder = builder.WithObjects(copied(t, o))
			}
			w := world{client: builder.Build(), now: func() time.Time { return now }, pulses: newPulses(), log: slog.New(slog.DiscardHandler)}
			w.inForce = func(context.Context) error {
				if row.lawless {
					return errors.New("the admission policies are missing")
				}
				return nil
			}
			if row.pulse != "-" {
				w.pulses.observe(node, row.pulse, start)
			}
			if row.most == 0 {
				row.most = fewLooks
			}
			loop := row.loop(w)
			quietHours(t, start, row.most, func(at time.Time) reconcile.Result {
				now = at
				r, err := loop.Reconcile(t.Context(), reconcile.Request{NamespacedName: row.key})
				if err != nil {
					t.Fatal(err)
				}
				return r
			})
		})
	}
}

// A loop that asks by itself, past the helper, is where one that spins comes from.
func TestOneHelperAsksToBeRunAgain(t *testing.T) {
	want := []string{
		"admission.go: NewTicker(admissionEvery)",
		// They answer an event: 100 ms gather what comes with it, and no look makes the next one.
		"rolloutloop.go: AddAfter(rolloutGather)",
		"rolloutloop.go: AddAfter(rolloutGather)",
		"rolloutloop.go: AddAfter(rolloutGather)",
	}
	if admissionEvery < soonest || rolloutEvery < soonest || admissionRetry < soonest || conflictRetry < soonest || cacheLag < soonest {
		t.Error("something is looked at more often than once a second")
	}
	timers := map[string]bool{"AddAfter": true, "AddRateLimited": true, "NewTicker": true, "NewTimer": true, "After": true, "AfterFunc": true, "Tick": true, "Sleep": true}
	fset := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && (key.Name == "RequeueAfter" || key.Name == "Requeue") && name != "again.go" {
					t.Errorf("%s: ask by again()", fset.Position(n.Pos()))
				}
			case *ast.CallExpr:
				called, ok := n.Fun.(*ast.SelectorExpr)
				if !ok || !timers[called.Sel.Name] || len(n.Args) == 0 {
					return true
				}
				if last, ok := n.Args[len(n.Args)-1].(*ast.Ident); ok && called.Sel.Name != "After" {
					got = append(got, name+": "+called.Sel.Name+"("+last.Name+")")
				} else if x, ok := called.X.(*ast.Ident); ok && x.Name == "time" {
					got = append(got, name+": time."+called.Sel.Name)
				}
			}
			return true
		})
	}
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(got))); diff != "" {
		t.Errorf("timers (-want +got):\n%s", diff)
	}
}
