package openstack

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/watch"
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

func newTruth(s *stage) *truth {
	tr := &truth{s: s}
	tr.clear()
	tr.watch()
	return tr
}

// clear forgets all.
func (tr *truth) clear() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.attached, tr.had, tr.ids = map[string]*instance{}, map[string]map[string]bool{}, map[string]int32{}
}

func (tr *truth) forget(port string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	delete(tr.attached, port)
}

// watch takes a NIC that goes while its port is attached for a mistake, and an id that changes. The API server ends a watch after a while: then another
// one begins with all that there is.
func (tr *truth) watch() {
	s := tr.s
	open := func() (watch.Interface, error) {
		return s.kube.Watch(s.t.Context(), &v1.MultiNicNodeConfigList{}, client.InNamespace(v1.SystemNamespace))
	}
	w, err := open()
	s.must(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s.t.Context().Err() == nil {
			for e := range w.ResultChan() {
				if o, ok := e.Object.(*v1.MultiNicNodeConfig); ok {
					tr.saw(o)
				}
			}
			if w, err = open(); err != nil {
				if s.t.Context().Err() == nil {
					s.t.Errorf("watching the objects: %v", err)
				}
				return
			}
		}
		w.Stop()
	}()
	s.t.Cleanup(func() { <-done })
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

// port is one as Neutron has it.
type port struct {
	ID  string
	MAC string `json:"mac_address"`
	IPs []struct {
		Address string `json:"ip_address"`
	} `json:"fixed_ips"`
}

// ports are those of an instance, and what more is asked of them, page by page to the empty one.
func (i *instance) ports(query string) []port {
	i.s.t.Helper()
	var all []port
	for marker := ""; ; marker = "&marker=" + all[len(all)-1].ID {
		var list struct{ Ports []port }
		i.s.must(i.s.cloud.Read(i.s.t.Context(), "/v2.0/ports?limit=200&device_id="+i.id+"&"+query+marker, &list))
		if len(list.Ports) == 0 {
			return all
		}
		all = append(all, list.Ports...)
	}
}

// neutronHas is what Neutron says of the ports of an instance in the network data, to an administrator.
func (i *instance) neutronHas() string {
	i.s.t.Helper()
	var n struct{ Network struct{ MTU int } }
	i.s.must(i.s.cloud.Read(i.s.t.Context(), "/v2.0/networks/"+i.s.data.id, &n))
	var lines []string
	for _, p := range i.ports("network_id=" + i.s.data.id) {
		line := p.ID + " " + p.MAC
		for _, ip := range p.IPs {
			line += " " + ip.Address
		}
		lines = append(lines, line+fmt.Sprint(" ", n.Network.MTU))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// objectHas is the same of the node's object.
func (i *instance) objectHas() string {
	i.s.t.Helper()
	var lines []string
	if o := i.s.object(i.name); o != nil {
		for _, nic := range o.Spec.Interfaces {
			lines = append(lines, fmt.Sprint(nic.PortID, " ", nic.MACAddress, " ", nic.Address, " ", *nic.MTU))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// settles waits until the objects are what Neutron has. A person lets those NICs go that the publisher holds, by the word that it notes on the object.
func (tr *truth) settles(all []*instance) {
	tr.s.t.Helper()
	for _, i := range all {
		want := i.neutronHas()
		bed.Eventually(tr.s.t, "the NICs of "+i.name, want, func() string {
			got := i.objectHas()
			if o := tr.s.object(i.name); got != want && o != nil {
				if _, said, held := strings.Cut(o.Annotations[v1.PublisherNoteAnnotation], v1.ConfirmRemovalsAnnotation+"="); held {
					word, _, _ := strings.Cut(said, " ")
					patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"`+v1.ConfirmRemovalsAnnotation+`":"`+word+`"}}}`))
					tr.s.must(tr.s.kube.Patch(tr.s.t.Context(), o, patch))
				}
			}
			return got
		})
	}
}

// one makes a random change of the cloud.
func (tr *truth) one(r *rand.Rand, p *publisher, all []*instance) {
	s := tr.s
	on, off := tr.ports(true), tr.ports(false)
	switch what := r.IntN(7); {
	case what == 0 && len(on) > 0:
		port := on[r.IntN(len(on))]
		tr.set(port, nil) // before: from now on it may go
		s.detach(port)
	case what == 1 && len(on) > 0:
		port := on[r.IntN(len(on))]
		tr.forget(port)
		s.remove(port)
	case what == 2 && len(off) > 0:
		port, i := off[r.IntN(len(off))], all[r.IntN(len(all))]
		s.attach(port, i)
		// The walk may have seen it as gone for the second time, and it goes just now: it comes back. Only later is that a mistake.
		s.way.Lie(nil)
		p.arm(0, false)
		s.walks(2)
		tr.set(port, i)
	case what == 3:
		s.set("network", s.data.id, openstack.Thing{"mtu": 1400 + r.IntN(50)})
	case len(on) < 6:
		i := all[r.IntN(len(all))]
		tr.set(s.portOn(i, s.data, "", nil), i)
	}
}

// Ports come and go, Neutron fails and lies, the publisher is killed when it writes. After each sequence the objects are what Neutron has; and in between
// no NIC goes whose port is there, and no id changes.
func TestRandomSequencesOfChangesAndFaults(t *testing.T) {
	t.Parallel()
	const steps, together = 4, 10
	lanes, sequences := 1, 2
	for _, each := range prerequisite.Long(125) { // 500 in all
		lanes, sequences = 4, each
	}
	for lane := range lanes {
		t.Run(fmt.Sprint(lane), func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 1))
			lies := []func(http.Handler) http.Handler{
				nil, nil, nil, instead("/v2.0/ports", 200, `{"ports": []}`), instead("/v2.0/ports", 200, `{}`), instead("/v2.0/ports", 200, `{"ports": [{"id": "`),
				instead("/v2.0/ports", 204, ""), instead("/v2.0/ports", 401, `{}`), instead("/v2.0/ports", 403, `{}`), instead("/v2.0/ports", 503, ""), instead("/v2.0/subnets", 200, `{"subnets": []}`),
				changed(func(ports []any) any { return openstack.Thing{"ports": ports[:len(ports)/2]} }), openstack.EveryThird("0"),
			}
			tr := newTruth(s)
			p := s.supervise(4)
			var all []*instance
			for n := range sequences {
				if n%together == 0 { // others, since ids of NICs that no node gives back stay reserved
					for _, i := range all {
						i.gone()
					}
					tr.clear()
					all = []*instance{s.instance(fmt.Sprintf("random-%d-%d-1", lane, n)), s.instance(fmt.Sprintf("random-%d-%d-2", lane, n))}
				}
				for range steps {
					s.way.Lie(lies[r.IntN(len(lies))])
					p.arm(r.IntN(4), r.IntN(2) == 0) // 0: it lives
					tr.one(r, p, all)
					if r.IntN(2) == 0 { // else the next change comes before the publisher has seen this one
						s.walks(1)
					}
				}
				s.way.Lie(nil)
				p.arm(0, false)
				tr.settles(all)
				if t.Failed() {
					t.Fatalf("in sequence %d", n)
				}
				if n%25 == 24 {
					t.Logf("%d sequences; the publisher was killed %d times", n+1, p.deaths())
				}
			}
			t.Logf("%d sequences of %d steps; the publisher was killed %d times", sequences, steps, p.deaths())
		})
	}
}

// The publisher is killed before and after each of its writes, of which there is one of each kind. Whoever comes next ends what it has begun.
func TestKilledAtEveryWrite(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	tr := newTruth(s)
	all := []*instance{s.instance("killed-1"), s.instance("killed-2")}
	p := s.supervise(200)
	ports := map[*instance]string{}
	for _, i := range all {
		for range 2 {
			ports[i] = s.portOn(i, s.data, "", nil)
			tr.set(ports[i], i)
		}
	}
	tr.settles(all)
	both := append([]bool{}, prerequisite.Long(true)...)
	first, step := 1+rand.IntN(3), 3 // in short one write in three, others each time
	if len(both) > 0 {
		first, step = 1, 1
	}
	for write, lived := first, false; !lived; write += step {
		for _, after := range append([]bool{write%2 == 0}, slices.Repeat([]bool{write%2 != 0}, len(both))...) {
			died := p.deaths()
			p.arm(write, after)
			// a NIC comes, one goes, and one is at another address of another MTU
			fresh := s.portOn(all[0], s.data, "", nil)
			tr.set(fresh, all[0])
			tr.forget(ports[all[0]])
			s.remove(ports[all[0]])
			ports[all[0]] = fresh
			s.set("network", s.data.id, openstack.Thing{"mtu": 1400 + write})
			tr.settles(all)
			s.walks(2) // its notes
			lived = p.deaths() == died
			p.arm(0, false)
		}
		if write > 12 {
			t.Fatal("there are more writes than were meant")
		}
	}
	t.Logf("killed %d times", p.deaths())
	if p.deaths() < 3/step {
		t.Errorf("only %d writes were cut off", p.deaths())
	}
}
