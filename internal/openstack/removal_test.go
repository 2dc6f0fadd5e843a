package openstack

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
)

// A NIC goes only if all is there that says so; each row takes one away.
func TestWhenANICGoes(t *testing.T) {
	other := with(port("c", 2), func(p *Port) { p.DeviceID = "another" })
	still, detached := port("c", 2), with(port("c", 2), func(p *Port) { p.DeviceID, p.DeviceOwner = "", "" })
	gone := map[string]Proof{"c": {Primary: true}}
	all := []time.Duration{0, time.Minute}
	const stays = "0=01 1=02 c:"
	for _, row := range []struct {
		name   string
		at     []time.Duration // of the walks
		change func(i int, w *World)
		ports  []Port
		proofs map[string]Proof
		want   string
	}{
		{"deleted, and the primary port is there", all, nil, nil, gone, "0=01"},
		{"detached", all, nil, nil, map[string]Proof{"c": {Port: &detached}}, "0=01"},
		{"attached to another instance", all, nil, nil, map[string]Proof{"c": {Port: &other}}, "0=01"},
		{"one walk", all[:1], nil, nil, gone, stays + "RemovalPending"},
		{"two walks within a minute", []time.Duration{0, time.Second}, nil, nil, gone, stays + "RemovalPending"},
		{"the second walk was not whole", all, func(i int, w *World) { w.Seen.Whole = i == 0 }, nil, gone, stays + "RemovalPending"},
		{"the first walk was not whole", all, func(i int, w *World) { w.Seen.Whole = i == 1 }, nil, gone, stays + "RemovalPending"},
		{"two walks were whole, and the one that decides is not", []time.Duration{0, time.Second, time.Minute}, func(i int, w *World) { w.Seen.Whole = i < 2 }, nil, gone, stays + "RemovalPending"},
		{"there was a walk with the port between", []time.Duration{0, time.Minute, 2 * time.Minute}, func(i int, w *World) {
			if i == 1 {
				w.Seen.Ports = append(w.Seen.Ports, still)
			}
		}, nil, gone, stays + "RemovalPending"},
		{"the node was frozen between", []time.Duration{0, time.Minute, 2 * time.Minute}, func(i int, w *World) {
			if i == 1 {
				w.Seen.Ports = nil
			}
		}, nil, gone, stays + "RemovalPending"},
		{"the answer has no ports at all", all, func(_ int, w *World) { w.Seen.Ports = nil }, nil, gone, "NoPrimary"},
		{"the port is hidden, as the primary port is", all, nil, nil, map[string]Proof{"c": {}}, stays + "RemovalUnproved"},
		{"asked for alone it is there", all, nil, nil, map[string]Proof{"c": {Port: &still, Primary: true}}, stays + "RemovalUnproved"},
		{"nobody was asked", all, nil, nil, nil, stays + "RemovalUnproved"},
		{"it is there, and not given to us any more", all, nil, []Port{with(port("c", 2), func(p *Port) { p.NetworkID = "other" })}, map[string]Proof{"c": {Port: new(with(port("c", 2), func(p *Port) { p.NetworkID = "other" }))}}, "0=01 c:NotAllowed"},
		{"the list says so, and alone it is given to us", all, nil, []Port{with(port("c", 2), func(p *Port) { p.NetworkID = "other" })}, map[string]Proof{"c": {Port: &still}}, stays + "NotAllowed c:RemovalUnproved"},
		{"it has another owner, which is no reason to go", all, nil, []Port{with(port("c", 2), func(p *Port) { p.DeviceOwner = "" })}, gone, stays + "ForeignOwner"},
	} {
		t.Run(row.name, func(t *testing.T) {
			have, m := object(t, port("b", 1), port("c", 2)), Memory{}
			var v Verdict
			for i, at := range row.at {
				w := World{Now: begin.Add(at), Machines: []Machine{machine("n1", instanceOne)}, Objects: []*v1.MultiNicNodeConfig{have}, Seen: seen(append([]Port{primary(), port("b", 1)}, row.ports...)...)}
				if row.change != nil {
					row.change(i, &w)
				}
				v = Judge(w, m, row.proofs, rules)
				m = v.Memory
			}
			if got := short(t, v.Nodes[0], have); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestTwoWalksAreNeededEvenIfNoTimeIs(t *testing.T) {
	have := object(t, port("b", 1), port("c", 2))
	at := rules
	at.RemovalAge = 0
	w := World{Now: begin, Machines: []Machine{machine("n1", instanceOne)}, Objects: []*v1.MultiNicNodeConfig{have}, Seen: seen(primary(), port("b", 1))}
	proofs := map[string]Proof{"c": {Primary: true}}
	first := Judge(w, Memory{}, proofs, at)
	if second := Judge(w, first.Memory, proofs, at); len(first.Nodes[0].Removed) != 0 || len(second.Nodes[0].Removed) != 1 {
		t.Errorf("first %v, then %v", first.Nodes[0].Removed, second.Nodes[0].Removed)
	}
}

// fleet are n nodes with two NICs each. Of the first gone nodes, Neutron says that the second NIC is
// gone, in each way.
func fleet(t *testing.T, n, gone int) (World, map[string]Proof) {
	t.Helper()
	w, proofs := World{Now: begin, Seen: seen()}, map[string]Proof{}
	for i := range n {
		name, instance := fmt.Sprintf("n%02d", i), fmt.Sprintf("i-%d", i)
		w.Machines = append(w.Machines, machine(name, instance))
		mine := func(p Port) Port { p.ID, p.DeviceID = p.ID+name, instance; return p }
		w.Seen.Ports = append(w.Seen.Ports, mine(primary()), mine(port("b", 1)), mine(port("c", 2)))
	}
	for _, v := range Judge(w, Memory{}, nil, rules).Nodes {
		w.Objects = append(w.Objects, stored(t, nil, *v.Wish))
	}
	for i := range gone {
		id := fmt.Sprintf("cn%02d", i)
		var left []Port
		for _, p := range w.Seen.Ports {
			if p.ID != id {
				left = append(left, p)
			}
		}
		w.Seen.Ports, proofs[id] = left, Proof{Primary: true}
	}
	return w, proofs
}

func TestTheBrake(t *testing.T) {
	for _, row := range []struct {
		name            string
		nodes, gone     int
		held, goes, say int // say: so many nodes have the word
	}{
		{"three of a few", 5, 3, 0, 3, 0},
		{"four of a few", 5, 4, 4, 0, 0},
		{"four of forty: a tenth", 20, 4, 0, 4, 0},
		{"five of forty", 20, 5, 5, 0, 0},
		{"a person releases one of five: four are left, a tenth", 20, 5, 0, 5, 1},
		{"a person releases all", 5, 5, 0, 5, 5},
		{"a person releases some of many", 10, 10, 6, 4, 4},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, proofs := fleet(t, row.nodes, row.gone)
			first := Judge(w, Memory{}, proofs, rules)
			w.Now = begin.Add(time.Minute)
			if got := len(Doubts(w, first.Memory, rules)); got != row.gone {
				t.Errorf("%d doubts, want %d", got, row.gone)
			}
			v := Judge(w, first.Memory, proofs, rules)
			if row.say > 0 {
				for _, o := range w.Objects[:row.say] {
					metav1.SetMetaDataAnnotation(&o.ObjectMeta, v1.ConfirmRemovalsAnnotation, v.Word)
				}
				v = Judge(w, first.Memory, proofs, rules)
			}
			goes := 0
			for _, n := range v.Nodes {
				goes += len(n.Removed)
			}
			if v.Held != row.held || goes != row.goes {
				t.Errorf("%d held, %d go; want %d, %d", v.Held, goes, row.held, row.goes)
			}
			for _, n := range v.Nodes {
				for _, r := range n.Remarks {
					if r.Reason == RemovalHeld && !strings.Contains(r.Message, v1.ConfirmRemovalsAnnotation+"="+v.Word) {
						t.Errorf("it does not say how to release it: %s", r.Message)
					}
				}
			}
		})
	}
}

// The word of other removals does not release these.
func TestAnOldWordReleasesNothing(t *testing.T) {
	w, proofs := fleet(t, 6, 5)
	first := Judge(w, Memory{}, proofs, rules)
	w.Now = begin.Add(time.Minute)
	word := Judge(w, first.Memory, proofs, rules).Word
	w, proofs = fleet(t, 6, 6)
	for _, o := range w.Objects {
		metav1.SetMetaDataAnnotation(&o.ObjectMeta, v1.ConfirmRemovalsAnnotation, word)
	}
	first = Judge(w, Memory{}, proofs, rules)
	w.Now = begin.Add(time.Minute)
	if v := Judge(w, first.Memory, proofs, rules); v.Held != 6 {
		t.Errorf("%d are held", v.Held)
	}
}

// Three at a time, again and again, are many: what goes within ten minutes counts together.
func TestTheBrakeOverTime(t *testing.T) {
	const nodes = 12 // 24 NICs, of which a tenth is less than three
	for _, row := range []struct {
		name  string
		every time.Duration // one NIC goes in each
		want  string        // how many have gone after each of them
	}{
		{"one a minute", time.Minute, "1 2 3 3 3 3 3 3 3 3"},
		{"one in five minutes", 5 * time.Minute, "1 2 3 4 5 6 7 8 9 10"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, _ := fleet(t, nodes, 0)
			var m Memory
			proofs, ports, went, got := map[string]Proof{}, w.Seen.Ports, 0, []string(nil)
			for i := range 10 {
				id := fmt.Sprintf("cn%02d", i)
				proofs[id] = Proof{Primary: true}
				ports = slices.DeleteFunc(slices.Clone(ports), func(p Port) bool { return p.ID == id })
				w.Seen.Ports = ports
				for _, at := range []time.Duration{0, row.every / 2, row.every - time.Second} { // seen, seen again, and once more
					w.Now = begin.Add(time.Duration(i)*row.every + at)
					v := Judge(w, m, proofs, with(rules, func(r *Rules) { r.RemovalAge = time.Second }))
					m = v.Memory
					for j, n := range v.Nodes {
						w.Objects[j] = stored(t, w.Objects[j], *n.Wish)
						went += len(n.Removed)
					}
				}
				got = append(got, fmt.Sprint(went))
			}
			if s := strings.Join(got, " "); s != row.want {
				t.Errorf("after each: %s, want %s", s, row.want)
			}
		})
	}
}

// What could not be written goes in the next walk, and is not counted twice.
func TestTheBrakeCountsANICOnce(t *testing.T) {
	w, proofs := fleet(t, 5, 3)
	m := Judge(w, Memory{}, proofs, rules).Memory
	for i := range 3 {
		w.Now = begin.Add(time.Duration(i+1) * time.Minute)
		v := Judge(w, m, proofs, rules)
		if m = v.Memory; v.Held != 0 || len(v.Nodes[0].Removed) != 1 {
			t.Errorf("try %d: %d held, node 1 loses %v", i, v.Held, v.Nodes[0].Removed)
		}
	}
}
