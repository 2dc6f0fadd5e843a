package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/measure"
	"multinicd/test/bed/monitor"
)

// What is changed.
const (
	kindAddress = "address"
	kindMTU     = "mtu"
)

// patience is how long one change may take until the run is given up.
const patience = 30 * time.Second

// change is one, with its times in milliseconds after the API server's answer to the writer.
type change struct {
	Number     int       `json:"number"`
	Generation int64     `json:"generation"`
	Want       string    `json:"want"`
	Accepted   time.Time `json:"accepted"`

	Sent       float64 `json:"sentMs"` // negative
	Touched    float64 `json:"touchedMs"`
	Kernel     float64 `json:"kernelMs"`     // as wanted, and so it stayed
	Reported   float64 `json:"reportedMs"`   // the daemon's report came in at the API server
	Stated     float64 `json:"statedMs"`     // the bridge's status came in there
	Configured float64 `json:"configuredMs"` // a watcher saw it

	Daemon    int  `json:"daemonRequests"`
	Bridge    int  `json:"bridgeRequests"`
	Foreign   int  `json:"foreignEvents"` // of the kernel, on other links and of rules
	Early     bool `json:"early"`         // Configured was written before the kernel was so
	Persisted bool `json:"persisted"`     // the file for the next boot was there when Configured was seen
}

// series is a row of changes of one kind.
type series struct {
	DAD     string   `json:"dad"`
	Kind    string   `json:"kind"`
	Changes []change `json:"changes"`
	// Lost counts addresses, routes and rules of others that were there before the first change and not after the last.
	Lost int `json:"lost"`
}

// observed is the object as the watch gave it, and when.
type observed struct {
	at     time.Time
	object *v1.MultiNicNodeConfig
}

// series makes the changes one after the other, each after the one before is Configured.
func (b *bench) series(ctx context.Context, dad, kind string) (series, error) {
	s := b.stand
	out := series{DAD: dad, Kind: kind}
	if err := s.configure(ctx, dad); err != nil {
		return out, err
	}
	kernel, err := s.host.MonitorKernel()
	if err != nil {
		return out, err
	}
	defer kernel.Stop()
	news, err := s.watch(ctx)
	if err != nil {
		return out, err
	}
	have, err := s.link(ctx)
	if err != nil {
		return out, err
	}
	before, err := s.others(ctx)
	if err != nil {
		return out, err
	}
	for i := range b.changes {
		c, now, err := s.change(ctx, kernel, news, have, next(have, kind), b.pause)
		if err != nil {
			return out, fmt.Errorf("change %d: %w\n%s", i+1, err, s.host.Journal(ctx))
		}
		c.Number = i + 1
		have = now
		out.Changes = append(out.Changes, c)
	}
	if there, err := s.link(ctx); err != nil || there.String() != have.String() {
		return out, fmt.Errorf("the kernel shows %s after announcements that make %s: %w", there, have, err)
	}
	after, err := s.others(ctx)
	if err != nil {
		return out, err
	}
	out.Lost = lost(before, after)
	requests, err := s.cluster.Requests()
	if err != nil {
		return out, err
	}
	count(out.Changes, requests)
	return out, nil
}

// configure gives the daemon its settings, if they are others, and waits until it has taken up its work.
func (s *stand) configure(ctx context.Context, dad string) error {
	const name = "/etc/multinicd/multinicd.toml"
	old, err := s.host.ReadFile(name)
	if err != nil {
		return err
	}
	if string(old) != settings(dad) {
		if err := s.host.WriteFile(name, []byte(settings(dad)), 0o644); err != nil {
			return err
		}
		if err := s.host.RestartDaemon(ctx); err != nil {
			return err
		}
	}
	if err := s.settled(ctx); err != nil {
		return err
	}
	return measure.Rest(ctx, 3*time.Second) // IPv6 has done with checking its addresses by then
}

// next is a link that differs from l in one thing, and has not been wanted a moment ago.
func next(l link, kind string) link {
	if kind == kindMTU {
		l.MTU = 1300 + (l.MTU+1)%200
		return l
	}
	var last int
	for _, a := range l.Addresses {
		_, _ = fmt.Sscanf(a, "192.168.100.%d/24", &last) // another address: begin anew
	}
	l.Addresses = []string{fmt.Sprintf("192.168.100.%d/24", 10+(last+1)%200)}
	return l
}

// watch gives each state of the object as it comes.
func (s *stand) watch(ctx context.Context) (<-chan observed, error) {
	w, err := s.client.Watch(ctx, &v1.MultiNicNodeConfigList{}, client.InNamespace(v1.SystemNamespace), client.MatchingFields{"metadata.name": node})
	if err != nil {
		return nil, fmt.Errorf("watching the object: %w", err)
	}
	news := make(chan observed, 1000)
	go func() {
		defer close(news)
		defer w.Stop()
		for e := range w.ResultChan() {
			if o, ok := e.Object.(*v1.MultiNicNodeConfig); ok {
				news <- observed{time.Now(), o}
			}
		}
	}()
	return news, nil
}

// change makes one, and gives the link as it is afterwards.
func (s *stand) change(ctx context.Context, kernel *monitor.Kernel, news <-chan observed, have, want link, pause time.Duration) (change, link, error) {
	patch, err := patchFor(want)
	if err != nil {
		return change{}, have, err
	}
	kernel.Reset()
	object := s.object()
	sent := time.Now()
	if err := s.client.Patch(ctx, object, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		return change{}, have, fmt.Errorf("patching the object: %w", err)
	}
	c := change{Generation: object.Generation, Want: want.String(), Accepted: time.Now()}
	configured, err := await(ctx, news, object.Generation)
	if err != nil {
		return c, have, err
	}
	c.Persisted = s.persisted(want)
	if err := measure.Rest(ctx, pause*2/3+rand.N(pause*2/3+1)); err != nil {
		return c, have, err
	}
	events, err := kernel.Events()
	if err != nil {
		return c, have, err
	}
	have, first, became, foreign := replay(have, events, want)
	if became.IsZero() {
		return c, have, fmt.Errorf("status is Configured, and the kernel has %s, not %s", have, want)
	}
	c.Foreign, c.Sent = foreign, ms(sent.Sub(c.Accepted))
	c.Touched, c.Kernel, c.Configured = ms(first.Sub(c.Accepted)), ms(became.Sub(c.Accepted)), ms(configured.Sub(c.Accepted))
	return c, have, nil
}

// patchFor says in the object what the link is to be.
func patchFor(want link) ([]byte, error) {
	type op struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	const nic = "/spec/interfaces/0/"
	address, _, _ := strings.Cut(want.Addresses[0], "/")
	patch, err := json.Marshal([]op{{"replace", nic + "address", address}, {"replace", nic + "cidr", want.Addresses[0]}, {"replace", nic + "mtu", want.MTU}})
	if err != nil {
		return nil, fmt.Errorf("encoding the patch: %w", err)
	}
	return patch, nil
}

// await gives the time at which the watch showed the object as Configured in that generation.
func await(ctx context.Context, news <-chan observed, generation int64) (time.Time, error) {
	give := time.NewTimer(patience)
	defer give.Stop()
	var last v1.MultiNicNodeConfigStatus
	for {
		select {
		case o, ok := <-news:
			if !ok {
				return time.Time{}, fmt.Errorf("the watch ended")
			}
			last = o.object.Status
			if o.object.Generation == generation && last.ObservedGeneration == generation && last.State == v1.StateConfigured {
				return o.at, nil
			}
		case <-give.C:
			return time.Time{}, fmt.Errorf("not Configured within %s; status is %+v", patience, last)
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}

// persisted says whether the next boot would make the link as wanted.
func (s *stand) persisted(want link) bool {
	text, err := s.host.ReadFile(netplanFile)
	return err == nil && strings.Contains(string(text), want.Addresses[0]) && strings.Contains(string(text), fmt.Sprintf("mtu: %d", want.MTU))
}

const netplanFile = "/etc/netplan/90-" + nicName + ".yaml"

// The users whose requests count.
const (
	daemonUser = "system:serviceaccount:" + v1.NodesNamespace + ":multinic-node-" + node
	bridgeUser = "system:serviceaccount:" + v1.SystemNamespace + ":" + v1.BridgeAccount
	// the same bridge, whose requests no change waits for
	credentialsUser = "system:serviceaccount:" + v1.SystemNamespace + ":" + v1.CredentialsAccount
)

// count puts into each change the requests that came between it and the next, and tells from them whether its Configured was written early.
func count(changes []change, requests []controlplane.Request) {
	slices.SortStableFunc(requests, func(a, b controlplane.Request) int { return a.Received.Compare(b.Received) })
	for i := range changes {
		c := &changes[i]
		from, to := c.at(c.Sent), c.at(c.Configured+1000)
		if i+1 < len(changes) {
			to = changes[i+1].at(changes[i+1].Sent)
		}
		for _, r := range requests {
			if r.Received.Before(from) || !r.Received.Before(to) {
				continue
			}
			at := ms(r.Received.Sub(c.Accepted))
			switch r.User.Username {
			case daemonUser:
				c.Daemon++
				if r.ObjectRef.Resource == "configmaps" {
					c.Reported = at
				}
			case bridgeUser:
				if strings.HasPrefix(r.ObjectRef.Resource, "validatingadmission") || strings.Contains(r.RequestURI, "dryRun=") {
					continue // it looks at the policies now and then, whatever changes
				}
				c.Bridge++
				if r.ObjectRef.Subresource == "status" && at <= c.Configured {
					c.Stated = at // the last one before it was seen is the one
				}
			}
		}
		c.Early = c.Configured < c.Kernel || c.Stated < c.Kernel
	}
}

// at is a time of the change on the clock.
func (c change) at(after float64) time.Time {
	return c.Accepted.Add(time.Duration(after * float64(time.Millisecond)))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
