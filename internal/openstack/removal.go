package openstack

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "multinicd/api/v1"
)

const (
	// polls is in how many whole walks a port has to be absent until its NIC may go.
	polls = 2
	// brakeLeast and brakePart bound what goes within brakeTime: so many NICs, or this part of all of
	// them.
	brakeLeast, brakePart = 3, 10
	brakeTime             = 10 * time.Minute
)

// Memory is what is kept from one walk to the next: since when ports are absent, and when NICs went
// that nobody had to release. The zero value knows of none. It is never changed.
type Memory struct {
	absent map[key]since
	went   map[key]time.Time
}

type key struct{ node, port string }

type since struct {
	time  time.Time
	walks int
}

// Doubt is a port of a NIC that may go, if what the walk says is proved.
type Doubt struct {
	Node, Instance string
	PortID         string
	// Primary are the ids of the node's primary ports. If Neutron does not know the port, it must
	// know one of them right afterwards.
	Primary []string
}

// Proof is what Neutron says of one port, asked for by its id.
type Proof struct {
	// Port as it is; nil if no cloud knows it.
	Port *Port
	// Primary says that a primary port of the node was there afterwards, by the same token.
	Primary bool
}

// proves says whether the NIC may go. A port that is hidden from us is not known either: then the
// primary port is hidden, too.
func (p Proof) proves(what absence, instance string, r Rules) bool {
	switch {
	case p.Port == nil:
		return what == gone && p.Primary
	case strings.ToLower(p.Port.DeviceID) != instance:
		return true
	default:
		return what == optOut && !r.allow(*p.Port)
	}
}

// remember gives the memory after this walk. A walk that was not whole counts for nobody.
func (m Memory) remember(w World, nodes []*node) Memory {
	next := Memory{map[key]since{}, map[key]time.Time{}}
	for k, at := range m.went {
		if w.Now.Sub(at) < brakeTime {
			next.went[k] = at
		}
	}
	for _, n := range nodes {
		if n.frozen != "" {
			continue
		}
		for _, e := range n.entries {
			k := key{n.machine.Name, e.nic.PortID}
			was, known := m.absent[k]
			switch {
			case e.absent == present:
			case !w.Seen.Whole && known:
				next.absent[k] = was
			case !w.Seen.Whole:
			case !known:
				next.absent[k] = since{w.Now, 1}
			default:
				next.absent[k] = since{was.time, was.walks + 1}
			}
		}
	}
	return next
}

// ripe says that the port of a NIC is absent for long enough.
func (m Memory) ripe(w World, n *node, e entry, r Rules) bool {
	s, known := m.absent[key{n.machine.Name, e.nic.PortID}]
	return w.Seen.Whole && known && e.absent != present && s.walks >= polls && w.Now.Sub(s.time) >= r.RemovalAge
}

// Doubts are the ports that have to be asked for one by one before Judge may let their NICs go.
func Doubts(w World, m Memory, r Rules) []Doubt {
	nodes := w.look(r)
	m = m.remember(w, nodes)
	var out []Doubt
	for _, n := range nodes {
		for _, e := range n.entries {
			if n.frozen == "" && m.ripe(w, n, e, r) {
				out = append(out, Doubt{Node: n.machine.Name, Instance: n.instance, PortID: e.nic.PortID, Primary: n.primary})
			}
		}
	}
	return out
}

// brake says which of the NICs that may go do go. word stands for all of them: an object that has it
// as its annotation was looked at by a person. What goes without the word is kept in m.
func (m Memory) brake(now time.Time, nodes []*node, may map[key]bool) (goes map[key]bool, word string, held int) {
	all := 0
	for _, n := range nodes {
		if n.ours {
			all += len(n.object.Spec.Interfaces)
		}
	}
	goes, word = map[key]bool{}, wordOf(may)
	var rest []key
	for _, n := range nodes {
		for _, e := range n.entries {
			k := key{n.machine.Name, e.nic.PortID}
			switch {
			case !may[k]:
			case n.object.Annotations[v1.ConfirmRemovalsAnnotation] == word:
				goes[k] = true
			default:
				rest = append(rest, k)
			}
		}
	}
	lately := maps.Clone(m.went)
	for _, k := range rest {
		lately[k] = now
	}
	if len(lately) > max(brakeLeast, all/brakePart) {
		return goes, word, len(rest)
	}
	for _, k := range rest {
		goes[k], m.went[k] = true, now
	}
	return goes, word, 0
}

// wordOf is the same for the same NICs.
func wordOf(may map[key]bool) string {
	var all []key
	for k := range may {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b key) int { return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.port, b.port)) })
	sum := sha256.New()
	for _, k := range all {
		fmt.Fprintln(sum, k.node, k.port)
	}
	return hex.EncodeToString(sum.Sum(nil))[:8]
}
