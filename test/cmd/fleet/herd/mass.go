package herd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/measure"
	"multinicd/test/bed/product"
	"multinicd/test/bed/sandbox"
)

// Mass is a change of all objects but one at once, and what becomes of that one meanwhile.
type Mass struct {
	Things  int     `json:"things"`
	Written float64 `json:"writtenS"` // until the last object was changed
	// Until the statuses are Configured, in s from when the first object was changed.
	First float64 `json:"firstS"`
	P50   float64 `json:"p50S"`
	P99   float64 `json:"p99S"`
	Last  float64 `json:"lastS"`
	// The same, each from when its own object was changed.
	Own50 float64 `json:"ownP50S"`
	Own99 float64 `json:"ownP99S"`
	OwnW  float64 `json:"ownMaxS"`
	// Processor seconds until the last one was Configured: those of the bridge are of both duties.
	APIServer float64 `json:"apiServerCPUSeconds"`
	Etcd      float64 `json:"etcdCPUSeconds"`
	Bridge    float64 `json:"bridgeCPUSeconds"`
	Requests  int     `json:"bridgeRequests"`
	Writes    int     `json:"statusWrites"`
	// Before is one object that is changed every second while nothing else happens, Probe the same while all others change.
	Before Probe `json:"before"`
	Probe  Probe `json:"probe"`
}

// Probe is how long a change of one object takes until it is Configured.
type Probe struct {
	Changes int     `json:"changes"`
	P50     float64 `json:"p50Ms"`
	Max     float64 `json:"maxMs"`
}

func probeOf(took []time.Duration) Probe {
	var ms []float64
	for _, d := range took {
		ms = append(ms, float64(d.Microseconds())/1000)
	}
	if len(ms) == 0 {
		return Probe{}
	}
	return Probe{len(ms), measure.Quantile(ms, 50), slices.Max(ms)}
}

const (
	probeEvery  = time.Second
	probeBefore = 10
)

// mass changes all objects but the last, which is the probe.
func (b Bed) mass(ctx context.Context, n *notices) (Mass, error) {
	last := len(b.Nodes) - 1
	m := Mass{Things: last}
	b.Logf("one object changes, %d times; then all", probeBefore)
	var before []time.Duration
	for i := range probeBefore {
		took, err := b.probe(ctx, n, fmt.Sprintf("alone-%d", i))
		if err != nil {
			return m, err
		}
		before = append(before, took)
	}
	m.Before = probeOf(before)
	place, err := b.Cluster.AuditSize()
	if err != nil {
		return m, err
	}
	pids := [][]int{{b.Cluster.APIServer.PID()}, {b.Cluster.Etcd.PID()}, b.Bridge.PIDs()}
	to := []*float64{&m.APIServer, &m.Etcd, &m.Bridge}
	if err := account(pids, to, -1); err != nil {
		return m, err
	}
	begin := time.Now()
	written, told := make([]time.Time, last), make([]<-chan time.Time, last)
	changed := make(chan error, 1)
	go func() {
		changed <- b.Each(func(i int) error {
			if i == last {
				return nil
			}
			var err error
			told[i], err = n.change(ctx, b.Nodes[i], "all-at-once")
			written[i] = time.Now()
			return err
		})
	}()
	var probes []time.Duration
	probing, stop := context.WithCancel(ctx)
	defer stop()
	probed := make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			took, err := b.probe(ctx, n, fmt.Sprintf("beside-%d", i))
			if err != nil {
				probed <- err
				return
			}
			probes = append(probes, took)
			if probing.Err() != nil {
				probed <- nil
				return
			}
		}
	}()
	if err := <-changed; err != nil {
		return m, err
	}
	m.Written = time.Since(begin).Seconds()
	var all, own []float64
	patient, cancel := context.WithTimeoutCause(ctx, max(5*time.Minute, time.Duration(last)*600*time.Millisecond), errors.New("the statuses take too long"))
	defer cancel()
	for i, news := range told {
		select {
		case at := <-news:
			all, own = append(all, at.Sub(begin).Seconds()), append(own, max(0, at.Sub(written[i]).Seconds()))
		case err := <-probed:
			return m, errors.Join(err, errors.New("the probe ended"))
		case <-patient.Done():
			return m, fmt.Errorf("%s: %w", b.Nodes[i], context.Cause(patient))
		}
	}
	end := time.Now()
	if err := account(pids, to, 1); err != nil {
		return m, err
	}
	stop()
	if err := <-probed; err != nil {
		return m, err
	}
	m.Probe = probeOf(probes)
	m.First, m.P50, m.P99, m.Last = slices.Min(all), measure.Quantile(all, 50), measure.Quantile(all, 99), slices.Max(all)
	m.Own50, m.Own99, m.OwnW = measure.Quantile(own, 50), measure.Quantile(own, 99), slices.Max(own)
	bridge := "system:serviceaccount:" + v1.SystemNamespace + ":"
	return m, b.Cluster.AuditFrom(place, func(q controlplane.Request) {
		own := q.User.Username == bridge+v1.BridgeAccount || q.User.Username == bridge+v1.CredentialsAccount
		if own && q.Stage == "ResponseComplete" && q.Verb != "watch" && q.Received.Before(end) {
			m.Requests++
			if q.ObjectRef.Resource == objects && q.ObjectRef.Subresource == "status" {
				m.Writes++
			}
		}
	})
}

// account adds to each sum what processes have used of a processor until now, or takes that off.
func account(pids [][]int, to []*float64, sign float64) error {
	for i := range to {
		for _, pid := range pids[i] {
			v, err := sandbox.Processor(pid)
			if err != nil {
				return err
			}
			*to[i] += sign * v
		}
	}
	return nil
}

// probe changes the last node's object, and waits until it is Configured, and until the second is over.
func (b Bed) probe(ctx context.Context, n *notices, hash string) (time.Duration, error) {
	begin := time.Now()
	seen, err := n.change(ctx, b.Nodes[len(b.Nodes)-1], hash)
	if err == nil {
		err = wait(ctx, 5*time.Minute, seen)
	}
	took := time.Since(begin)
	if err == nil {
		err = measure.Rest(ctx, probeEvery-took)
	}
	return took, err
}

func wait(ctx context.Context, patience time.Duration, seen <-chan time.Time) error {
	select {
	case <-seen:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(patience):
		return fmt.Errorf("no status within %s", patience)
	}
}

// notices watches all objects, and tells who waits for the status of a change.
type notices struct {
	admin client.WithWatch
	end   context.CancelFunc

	mu      sync.Mutex
	waiting map[string]notice // by node
}

type notice struct {
	hash string
	seen chan time.Time
}

// notice begins to watch.
func (b Bed) notice(ctx context.Context) (*notices, error) {
	admin, err := product.Client(b.Cluster.Config())
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(ctx)
	n := &notices{admin: admin, end: end, waiting: map[string]notice{}}
	open := func() (watch.Interface, error) {
		return admin.Watch(ctx, &v1.MultiNicNodeConfigList{}, client.InNamespace(v1.SystemNamespace))
	}
	news, err := open()
	if err != nil {
		end()
		return nil, err
	}
	go func() {
		for {
			for e := range news.ResultChan() {
				if o, ok := e.Object.(*v1.MultiNicNodeConfig); ok {
					n.saw(o, time.Now())
				}
			}
			for { // a watch that is not read fast enough ends; a new one begins with all objects
				var err error
				if news, err = open(); err == nil {
					break
				}
				if measure.Rest(ctx, 20*time.Millisecond) != nil {
					return
				}
			}
		}
	}()
	return n, nil
}

// saw tells who waits for an object as it is now.
func (n *notices) saw(o *v1.MultiNicNodeConfig, at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w, ok := n.waiting[o.Name]
	if ok && o.Spec.SpecHash == w.hash && o.Status.ObservedSpecHash == w.hash && o.Status.ObservedGeneration == o.Generation && o.Status.State == v1.StateConfigured {
		delete(n.waiting, o.Name)
		w.seen <- at
	}
}

// change changes an object. The channel tells once when its status is that of the change.
func (n *notices) change(ctx context.Context, node, hash string) (<-chan time.Time, error) {
	seen := make(chan time.Time, 1)
	n.mu.Lock()
	n.waiting[node] = notice{hash, seen}
	n.mu.Unlock()
	o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: node, Namespace: v1.SystemNamespace}}
	return seen, n.admin.Patch(ctx, o, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"specHash":%q}}`, hash)))
}
