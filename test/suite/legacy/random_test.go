package legacy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
	"multinicd/test/bed/prerequisite"
)

// world is what each of two publishers wants of each node, and whose word counts.
type world struct {
	*cluster
	old   map[int][]int // the older object's entries
	new   map[int][]int // what the new publisher wrote
	owner map[int]string
}

// want is what the objects shall be in the end: "worker-1 0101 0102".
func (w *world) want() string {
	var out []string
	for node, owner := range w.owner {
		nics := w.old[node]
		if owner == "new" {
			nics = w.new[node]
		}
		words := []string{fmt.Sprintf("worker-%d", node)}
		for _, n := range nics {
			words = append(words, fmt.Sprintf("%04x", n))
		}
		slices.Sort(words[1:])
		out = append(out, strings.Join(words, " "))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func (w *world) got() string {
	w.t.Helper()
	var list v1.MultiNicNodeConfigList
	w.must(w.admin.List(w.t.Context(), &list, client.InNamespace(v1.SystemNamespace)))
	var out []string
	for _, o := range list.Items {
		words := []string{o.Name}
		for _, n := range o.Spec.Interfaces {
			words = append(words, strings.ReplaceAll(n.MACAddress[len(n.MACAddress)-5:], ":", ""))
		}
		slices.Sort(words[1:])
		out = append(out, strings.Join(words, " "))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// nics draws one to three NICs of a node.
func nics(r *rand.Rand, node int) []int {
	var out []int
	for _, n := range r.Perm(6)[:1+r.IntN(3)] {
		out = append(out, node<<8|n+1)
	}
	return out
}

// takes: the new publisher writes the object of a node, as if there were no other one: with its label, or without a word.
func (w *world) takes(r *rand.Rand, node int) {
	w.t.Helper()
	w.owner[node], w.new[node] = "new", nics(r, node)
	name := fmt.Sprintf("worker-%d", node)
	label := r.IntN(2) == 0
	for {
		o := &v1.MultiNicNodeConfig{}
		err := w.admin.Get(w.t.Context(), client.ObjectKey{Namespace: v1.SystemNamespace, Name: name}, o)
		there := err == nil
		if !there && !apierrors.IsNotFound(err) {
			w.t.Fatal(err)
		}
		o.Name, o.Namespace = name, v1.SystemNamespace
		if label || !there {
			metav1.SetMetaDataLabel(&o.ObjectMeta, v1.PublisherLabel, "viola")
		}
		delete(o.Annotations, v1.HandOverAnnotation)
		o.Spec.NodeName, o.Spec.Interfaces = name, nil
		for id, n := range w.new[node] {
			b := nic(n)
			o.Spec.Interfaces = append(o.Spec.Interfaces, v1.Interface{ID: new(int32(20 + id)), MACAddress: b.MACAddress, Address: b.Address, CIDR: b.CIDR})
		}
		if there {
			err = w.admin.Update(w.t.Context(), o, client.FieldOwner("viola"))
		} else {
			err = w.admin.Create(w.t.Context(), o, client.FieldOwner("viola"))
		}
		if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
			continue // the other one was faster
		}
		w.must(err)
		return
	}
}

// gives: the new publisher gives a node back to the older object.
func (w *world) gives(node int) {
	w.t.Helper()
	w.owner[node] = "old"
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1.HandOverAnnotation, v1.PublisherLegacy)
	o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("worker-%d", node), Namespace: v1.SystemNamespace}}
	w.must(w.admin.Patch(w.t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(patch))))
}

func (w *world) writeOld() {
	w.t.Helper()
	var entries []v1.BizNodeConfig
	for node, list := range w.old {
		entries = append(entries, entry(node, list...))
	}
	w.write(entries...) // in another order each time
}

// The older object and a new publisher write at the same time. In the end each node has what the one wants to whom it belongs, and nobody writes any more.
func TestTwoPublishersAtOnce(t *testing.T) {
	changes := slices.Max(append([]int{100}, prerequisite.Long(500)...))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d changes", seed, changes)
	r := rand.New(rand.NewPCG(seed, 0))
	const n = 8
	w := &world{cluster: newCluster(t, n), old: map[int][]int{}, new: map[int][]int{}, owner: map[int]string{}}
	for node := range n {
		w.old[node+1], w.owner[node+1] = nics(r, node+1), "old"
	}
	w.writeOld()
	p := w.publisher()
	for i := range changes {
		node := 1 + r.IntN(n)
		switch k := r.IntN(10); {
		case k < 5:
			w.old[node] = nics(r, node)
			w.writeOld()
		case k < 8 || w.owner[node] == "old":
			w.takes(r, node)
		default:
			w.gives(node)
		}
		if i%40 == 20 { // killed in mid-work
			p.Kill()
			p = w.publisher()
		}
	}
	bed.Eventually(t, "the objects", w.want(), w.got)
	w.settled()
	before := w.requests()
	w.settled()
	w.asked(before, nil)
	if got, want := w.got(), w.want(); got != want {
		t.Errorf("the objects are\n%s\nwant\n%s", got, want)
	}
}
