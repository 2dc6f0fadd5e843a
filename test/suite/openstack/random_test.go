package openstack

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
	"multinicd/test/bed/openstack"
	"multinicd/test/bed/prerequisite"
)

// truth is what Neutron was told, and what the objects have become meanwhile.
type truth struct {
	s *stage

	mu       sync.Mutex
	attached map[string]*instance // by port
	had      map[string]map[string]bool
	ids      map[string]int32 // by port and node
}

// watch takes a NIC that goes while its port is attached for a mistake, and an id that changes.
func (tr *truth) watch() {
	s := tr.s
	w, err := s.kube.Watch(s.t.Context(), &v1.MultiNicNodeConfigList{}, client.InNamespace(v1.SystemNamespace))
	s.must(err)
	s.t.Cleanup(w.Stop)
	go func() {
		for e := range w.ResultChan() {
			if o, ok := e.Object.(*v1.MultiNicNodeConfig); ok {
				tr.saw(o)
			}
		}
	}()
}

func (tr *truth) saw(o *v1.MultiNicNodeConfig) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	has := map[string]bool{}
	normals, _ := o.Validate()
	for i, nic := range o.Spec.Interfaces {
		has[nic.PortID] = true
		if was, known := tr.ids[o.Name+nic.PortID]; known && was != normals[i].ID {
			tr.s.t.Errorf("port %s of %s had id %d, and has %d", nic.PortID, o.Name, was, normals[i].ID)
		}
		tr.ids[o.Name+nic.PortID] = normals[i].ID
	}
	for port := range tr.had[o.Name] {
		if on := tr.attached[port]; !has[port] && on != nil && on.name == o.Name {
			tr.s.t.Errorf("generation %d of %s has lost port %s, which is attached", o.Generation, o.Name, port)
		}
	}
	tr.had[o.Name] = has
}

func (tr *truth) set(port string, on *instance) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.attached[port] = on
}

// ports are those that are attached, or those that are not, sorted.
func (tr *truth) ports(attached bool) []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var out []string
	for port, on := range tr.attached {
		if (on != nil) == attached {
			out = append(out, port)
		}
	}
	slices.Sort(out)
	return out
}

// Ports come and go, Neutron fails and lies, the publisher is killed. At the end the objects are what Neutron has; and in between no NIC goes whose port
// is there.
func TestARandomLife(t *testing.T) {
	t.Parallel()
	steps := append([]int{12}, prerequisite.Long(150)...)
	s := newStage(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	tr := &truth{s: s, attached: map[string]*instance{}, had: map[string]map[string]bool{}, ids: map[string]int32{}}
	all := []*instance{s.instance("random-1"), s.instance("random-2")}
	tr.watch()
	publish := func() interface{ Kill() } { return s.publish("--removal-age", "1s", "--page-size", "2") }
	running, next := publish(), 100
	lies := []func(http.Handler) http.Handler{
		nil, nil, nil, instead("/v2.0/ports", 200, `{"ports": []}`), instead("/v2.0/ports", 200, `{}`), instead("/v2.0/ports", 503, ""), instead("/v2.0/subnets", 200, `{"subnets": []}`),
		changed(func(ports []any) any { return openstack.Thing{"ports": ports[:len(ports)/2]} }),
	}
	for range steps[len(steps)-1] {
		s.way.Lie(lies[r.IntN(len(lies))])
		on, off := tr.ports(true), tr.ports(false)
		switch what := r.IntN(6); {
		case what == 0 && len(on) > 0:
			port := on[r.IntN(len(on))]
			tr.set(port, nil) // before: from now on it may go
			s.detach(port)
		case what == 1 && len(on) > 0:
			port := on[r.IntN(len(on))]
			tr.mu.Lock()
			delete(tr.attached, port)
			tr.mu.Unlock()
			s.remove(port)
		case what == 2 && len(off) > 0:
			port, i := off[r.IntN(len(off))], all[r.IntN(len(all))]
			s.attach(port, i)
			// The walk may have seen it as gone for the second time, and it goes just now: it comes back. Only later is that a mistake.
			s.way.Lie(nil)
			s.walks(2)
			tr.set(port, i)
		case what == 3:
			running.Kill()
			running = publish()
		case len(on) < 6:
			next++
			i := all[r.IntN(len(all))]
			tr.set(i.port(next), i)
		}
		s.walks(1)
	}
	s.way.Lie(nil)
	want := map[string][]string{"random-1": {}, "random-2": {}}
	tr.mu.Lock()
	for port, on := range tr.attached {
		if on != nil {
			want[on.name] = append(want[on.name], port)
		}
	}
	tr.mu.Unlock()
	for name, ports := range want {
		slices.Sort(ports)
		bed.Eventually(t, "the ports of "+name, strings.Join(ports, " "), func() string {
			var got []string
			if o := s.object(name); o != nil {
				for _, nic := range o.Spec.Interfaces {
					got = append(got, nic.PortID)
				}
			}
			slices.Sort(got)
			return strings.Join(got, " ")
		})
	}
	t.Logf("%d ports at the end", len(tr.ports(true)))
}
