package publish

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	v1 "multinicd/api/v1"
)

// lists draws a list of NICs from a small world, in which ports and MACs change hands, and ids are
// proposed without sense.
func lists(t *rapid.T) []v1.Interface {
	ports := rapid.Permutation([]int{0, 1, 2, 3, 4, 5}).Draw(t, "ports")
	macs := rapid.Permutation([]int{0, 1, 2, 3, 4, 5}).Draw(t, "macs")
	ids := rapid.Permutation([]int32{0, 1, 2, 3, 4, 5}).Draw(t, "ids")
	var out []v1.Interface
	for i := range rapid.IntRange(0, 5).Draw(t, "NICs") {
		n := v1.Interface{MACAddress: fmt.Sprintf("02:00:00:00:00:0%d", macs[i]), Address: fmt.Sprintf("10.0.%d.1", macs[i]), CIDR: fmt.Sprintf("10.0.%d.1/24", macs[i])}
		if rapid.Bool().Draw(t, "port") {
			n.PortID = fmt.Sprintf("port-%d", ports[i])
		}
		if rapid.Bool().Draw(t, "id") {
			n.ID = &ids[i]
		}
		out = append(out, n)
	}
	return out
}

// The object of a node through a life of wishes, reports and refusals.
func TestIdsAreGivenOnceWhateverIsPublished(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		by := Owner{Name: me, Removals: rapid.SampledFrom([]Removals{RemovalsKeep, RemovalsApply, RemovalsAll}).Draw(t, "removals")}
		var have *v1.MultiNicNodeConfig
		owned := map[int32]owner{} // by id
		for range rapid.IntRange(1, 8).Draw(t, "requests") {
			w := wish(lists(t)...)
			d := by.Decide(node, w, have)
			if d.Action == Refused {
				if d.Reason != EmptyList && d.Reason != Invalid {
					t.Fatalf("refused: %s %s", d.Reason, d.Message)
				}
				continue
			}
			next := d.Object.DeepCopy()
			switch d.Action {
			case Created:
				next.Generation = 1
			case Changed:
				if !cmp.Equal(next.Spec, have.Spec) {
					next.Generation++
				}
			case Unchanged:
				if !cmp.Equal(next, have) {
					t.Fatal("unchanged, and another object")
				}
			}
			normals, errs := next.Validate()
			if len(errs) > 0 {
				t.Fatalf("it breaks the rules: %v", errs)
			}
			for i, n := range normals {
				is := ownerOf(next.Spec.Interfaces[i])
				if was, known := owned[n.ID]; known && was.mac != is.mac && (was.port != is.port || is.port == "") {
					t.Fatalf("id %d was that of %v, which the node may still have, and is that of %v", n.ID, was, is)
				}
				owned[n.ID] = is
			}
			if again := by.Decide(node, w, next); again.Action != Unchanged {
				t.Fatalf("the same again is %s: %v", again.Action, again.Diff)
			}
			if len(w.NICs) > 1 {
				turned := w
				turned.NICs = append(append([]v1.Interface(nil), w.NICs[1:]...), w.NICs[0])
				if again := by.Decide(node, turned, next); again.Action != Unchanged {
					t.Fatalf("the same in another order is %s: %v", again.Action, again.Diff)
				}
			}
			have = next
			if rapid.Bool().Draw(t, "reported") {
				settledAt(have, have.Generation)
				owned = map[int32]owner{}
				for i, n := range normals {
					owned[n.ID] = ownerOf(have.Spec.Interfaces[i])
				}
			}
		}
	})
}

// owner is the NIC that a node may have under an id.
type owner struct{ mac, port string }

func ownerOf(n v1.Interface) owner { return owner{normal(n).MACAddress, n.PortID} }

// An object that is not ours is never touched, whatever is wished.
func TestWhatIsNotOursStaysWhateverIsPublished(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have := of(object(with(nic("1"), 0)), rapid.SampledFrom([]string{"", other, "x"}).Draw(t, "owner"))
		if to := rapid.SampledFrom([]string{"", other, "x"}).Draw(t, "handed to"); to != "" {
			noted(have, v1.HandOverAnnotation, to)
		}
		if d := by.Decide(node, wish(lists(t)...), have); d.Action != Refused {
			t.Fatalf("%s: %v", d.Action, d.Diff)
		}
	})
}

func TestReservationsAreBounded(t *testing.T) {
	var all []reserved
	for id := range int32(1000) {
		all = append(all, reserved{ID: id, Since: int64(id)})
	}
	o := noted(object(), v1.ReservedIDsAnnotation, annotation(all))
	left := reservations(o)
	if len(left) != maxReserved || left[0].ID != 1000-maxReserved {
		t.Errorf("%d are left, the first is %d", len(left), left[0].ID)
	}
}

// FuzzReservations: whatever stands in the annotation of an object, an id in it is one that a NIC can
// have, each once, and what is written of them is read as the same.
func FuzzReservations(f *testing.F) {
	f.Add(`[{"id":1,"mac":"02:00:00:00:01:01","since":2},{"id":1,"mac":"x","since":9},{"id":-1},{"id":10000},{"id":2147483647}]`)
	f.Add(`{"id":1}`)
	f.Add(`[null,{"id":1.5}]`)
	f.Fuzz(func(t *testing.T, text string) {
		o := object()
		noted(o, v1.ReservedIDsAnnotation, text)
		got := reservations(o)
		for i, r := range got {
			if r.ID < 0 || r.ID > v1.MaxID || i > 0 && got[i-1].ID >= r.ID {
				t.Errorf("the reservations are %+v", got)
			}
		}
		if len(got) > maxReserved {
			got = nil // the oldest are forgotten
		}
		noted(o, v1.ReservedIDsAnnotation, annotation(got))
		if again := reservations(o); len(again) != len(got) {
			t.Errorf("%+v is written as %s", got, annotation(got))
		}
	})
}
