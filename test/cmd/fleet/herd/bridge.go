package herd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/measure"
	"multinicd/test/bed/product"
	"multinicd/test/bed/sandbox"
)

// Start is how one duty of the bridge begins, with all nodes there. Seconds count from the start of its process.
type Start struct {
	Duty     string  `json:"duty"`
	Ready    float64 `json:"readyS"` // its caches are full
	Leads    float64 `json:"leadsS"`
	Swept    float64 `json:"sweptS"` // it has looked at each node once
	CPU      float64 `json:"cpuSeconds"`
	MostMiB  float64 `json:"mostMiB"`
	Requests int     `json:"requests"`
}

// Handover is how long it takes after both leaders were killed, in s.
type Handover struct {
	Status   float64 `json:"statusS"`   // until a change of one object is a status
	Identity float64 `json:"identityS"` // until a new Node has an identity
}

// replica is a bridge of both duties.
type replica struct {
	product.Bridge
	health, metrics [2]string
	begin           time.Time
}

const (
	begins = 5 * time.Minute
	look   = 20 * time.Millisecond
	glance = 250 * time.Millisecond // each has the bridge count all objects
)

var duties = [2]bridge.Duty{bridge.Status, bridge.Credentials}

// start starts a replica that stands for election.
func (b Bed) start(ctx context.Context) (r replica, err error) {
	r.begin = time.Now()
	addresses, err := free(2 * len(duties))
	if err != nil {
		return r, err
	}
	for i, duty := range duties {
		r.health[i], r.metrics[i] = addresses[2*i], addresses[2*i+1]
		p, err := product.StartDuty(ctx, b.Box, b.Cluster, b.Binary, duty, "--leader-elect", "--health-address", r.health[i], "--metrics-address", r.metrics[i])
		if err != nil {
			return r, err
		}
		r.Bridge = append(r.Bridge, p...)
	}
	return r, nil
}

// free are addresses of loopback that nobody listens on, nor has connections from.
func free(n int) (addresses []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.77.77.77:0")
		if err != nil {
			return nil, fmt.Errorf("looking for a port: %w", err)
		}
		defer l.Close() // all at the end, so that none is found twice
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// bridges measures a start, a change of leader, and a change of all objects.
func (b Bed) bridges(ctx context.Context, r *Results) (product.Bridge, error) {
	b.Logf("the bridge starts, with all nodes there")
	b.Bridge.Stop()
	place, err := b.Cluster.AuditSize()
	if err != nil {
		return b.Bridge, err
	}
	first, err := b.start(ctx)
	if err != nil {
		return first.Bridge, err
	}
	if r.Starts, err = b.started(ctx, first, place); err != nil {
		return first.Bridge, err
	}
	b.Logf("another stands by; the leaders are killed")
	second, err := b.start(ctx)
	if err == nil {
		_, err = second.ready(ctx)
	}
	if err != nil {
		return append(first.Bridge, second.Bridge...), err
	}
	n, err := b.notice(ctx)
	if err != nil {
		return append(first.Bridge, second.Bridge...), err
	}
	defer n.end()
	if r.Leader, err = b.handover(ctx, first, n); err != nil {
		return second.Bridge, fmt.Errorf("changing the leader: %w", err)
	}
	b.Bridge = second.Bridge
	r.Mass, err = b.mass(ctx, n)
	return second.Bridge, err
}

// ready waits until the caches of both duties are full, and gives how long each took.
func (r replica) ready(ctx context.Context) (took [2]float64, err error) {
	for i, at := range r.health {
		err := until(ctx, look, begins, func() (bool, error) {
			resp, err := http.Get("http://" + at + "/readyz")
			if err != nil {
				return false, nil // it does not listen yet
			}
			return resp.StatusCode == http.StatusOK, resp.Body.Close()
		})
		if err != nil {
			return took, fmt.Errorf("waiting for the bridge for %s: %w\n%s", duties[i], err, r.Log())
		}
		took[i] = time.Since(r.begin).Seconds()
	}
	return took, nil
}

func (b Bed) started(ctx context.Context, r replica, place int64) ([]Start, error) {
	ends := make(chan error, len(duties))
	out := make([]Start, len(duties))
	for i, duty := range duties {
		s := &out[i]
		s.Duty = string(duty)
		go func() { ends <- b.begins(ctx, r, i, s) }()
	}
	var all error
	for range duties {
		all = errors.Join(all, <-ends)
	}
	if all != nil {
		return nil, fmt.Errorf("%w\n%s", all, r.Log())
	}
	err := b.Cluster.AuditFrom(place, func(q controlplane.Request) {
		for i, duty := range duties {
			own := q.User.Username == "system:serviceaccount:"+v1.SystemNamespace+":"+duty.Account()
			if own && q.Stage == "ResponseComplete" && q.Verb != "watch" && q.Received.Before(r.begin.Add(time.Duration(out[i].Swept*float64(time.Second)))) {
				out[i].Requests++
			}
		}
	})
	return out, err
}

// begins waits for one duty, step by step.
func (b Bed) begins(ctx context.Context, r replica, i int, s *Start) error {
	since := func() float64 { return time.Since(r.begin).Seconds() }
	one := replica{Bridge: r.Bridge[i : i+1], begin: r.begin}
	err := until(ctx, look, begins, func() (bool, error) {
		if s.Ready == 0 {
			if resp, err := http.Get("http://" + r.health[i] + "/readyz"); err == nil {
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					s.Ready = since()
				}
			}
		}
		if s.Leads == 0 {
			var lease coordinationv1.Lease
			path := "/apis/coordination.k8s.io/v1/namespaces/" + v1.SystemNamespace + "/leases/" + duties[i].Account()
			if b.Cluster.Get(ctx, path, &lease) == nil && lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity != "" {
				s.Leads = since()
			}
		}
		return s.Ready > 0 && s.Leads > 0, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for %s to lead: %w", s.Duty, err)
	}
	idle := 0 // looks in a row
	err = until(ctx, glance, begins, func() (bool, error) {
		looked, waiting, err := queues(r.metrics[i])
		if err != nil || looked < len(b.Nodes) || waiting > 0 {
			idle = 0
			return false, nil
		}
		if idle == 0 {
			s.Swept = since()
		}
		idle++
		return idle == 3, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the first sweep of %s: %w", s.Duty, err)
	}
	pid := one.PIDs()[0]
	if s.CPU, err = sandbox.Processor(pid); err != nil {
		return err
	}
	s.MostMiB, err = sandbox.Memory(pid, "VmHWM:")
	return err
}

// queues is how often the loops of a bridge have looked at something, and how much waits for them or is looked at.
func queues(at string) (looked, waiting int, err error) {
	resp, err := http.Get("http://" + at + "/metrics")
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, _, _ := strings.Cut(lines.Text(), "{")
		_, value, _ := strings.Cut(lines.Text(), "} ")
		n, err := strconv.ParseFloat(value, 64)
		switch {
		case err != nil:
		case name == "controller_runtime_reconcile_total":
			looked += int(n)
		case name == "workqueue_depth", name == "controller_runtime_active_workers":
			waiting += int(n)
		}
	}
	return looked, waiting, lines.Err()
}

// handover kills the leaders of both duties, changes one object and makes one Node.
func (b Bed) handover(ctx context.Context, leader replica, n *notices) (h Handover, err error) {
	leader.Kill()
	killed := time.Now()
	known := make(chan error, 1)
	go func() {
		err := product.Expect(ctx, b.Cluster, "herd-newcomer")
		h.Identity = time.Since(killed).Seconds()
		known <- err
	}()
	seen, err := n.change(ctx, b.Nodes[0], "after-the-leader")
	if err == nil {
		err = wait(ctx, 5*time.Minute, seen)
		h.Status = time.Since(killed).Seconds()
	}
	err = errors.Join(err, <-known)
	return h, err
}

// until asks again and again.
func until(ctx context.Context, every, patience time.Duration, is func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("it takes too long"))
	defer cancel()
	for {
		done, err := is()
		if done || err != nil {
			return err
		}
		if err := measure.Rest(ctx, every); err != nil {
			return err
		}
	}
}
