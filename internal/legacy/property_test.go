package legacy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	v1 "multinicd/api/v1"
	"multinicd/internal/publish"
)

// lists draws the entries of an older object in a small world: nodes that are not there, entries
// twice, names that are wrong, MACs that change hands.
func lists(t *rapid.T) []v1.BizNodeConfig {
	var out []v1.BizNodeConfig
	for range rapid.IntRange(0, 5).Draw(t, "entries") {
		n := rapid.IntRange(1, 4).Draw(t, "node") // of three
		var nics []v1.BizInterface
		for range rapid.IntRange(0, 3).Draw(t, "NICs") {
			nics = append(nics, nic(fmt.Sprintf("%02d", 10*n+rapid.IntRange(0, 3).Draw(t, "MAC"))))
		}
		if len(nics) > 0 && rapid.IntRange(0, 9).Draw(t, "strange") == 0 {
			nics[0].MACAddress = rapid.SampledFrom([]string{"", "nonsense", "02:00:00:00:01:11"}).Draw(t, "strange MAC")
		}
		e := entry(n, nics...)
		switch rapid.IntRange(0, 9).Draw(t, "name") {
		case 0:
			e.AttachedNodeID = ""
		case 1:
			e.AttachedNodeName = rapid.SampledFrom([]string{"", "worker-2", "vm-7"}).Draw(t, "another name")
		}
		out = append(out, e)
	}
	return out
}

// The objects of a cluster through a life of an older object and of somebody else.
func TestTheOlderObjectTouchesOnlyWhatIsItsOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		objects := map[string]*v1.MultiNicNodeConfig{}
		world := func(old ...*v1.MultiNicBizConfig) World {
			return World{Old: old, Machines: nodes(3), Objects: slices.Collect(maps.Values(objects))}
		}
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "who") == 0 {
				somebody(t, objects)
				continue
			}
			o := old(lists(t)...)
			before := text(objects)
			entries := world(o).Judge()
			if after := text(objects); after != before {
				t.Fatalf("Judge has changed what it was given:\n%s", cmp.Diff(before, after))
			}
			for _, e := range entries {
				apply(t, e, objects)
			}
			for _, e := range world(o).Judge() {
				if e.Action == publish.Created || e.Action == publish.Changed {
					t.Fatalf("the same again is %s: %v", told(e), e.Diff)
				}
			}
			turned := o.DeepCopy()
			slices.Reverse(turned.Spec.NodeConfigs)
			for _, e := range world(turned).Judge() {
				if e.Action == publish.Created || e.Action == publish.Changed {
					t.Fatalf("the same in another order is %s: %v", told(e), e.Diff)
				}
			}
			s := Aggregate(o, entries, slices.Collect(maps.Values(objects)), begin)
			if sum := *s.Summary; len(s.NodeStatuses) != len(o.Spec.NodeConfigs) || sum.ConfiguredNodes+sum.FailedNodes+sum.PendingNodes != sum.TotalNodes {
				t.Fatalf("%d entries, and the status is %v %v", len(o.Spec.NodeConfigs), s.NodeStatuses, sum)
			}
		}
		if got := world().Judge(); len(got) > 0 {
			t.Fatalf("without an older object there is %v", got)
		}
	})
}

// somebody makes an object, writes one without regard to whose it is, or hands one over.
func somebody(t *rapid.T, objects map[string]*v1.MultiNicNodeConfig) {
	n := rapid.IntRange(1, 3).Draw(t, "node of somebody")
	o := objects[fmt.Sprintf("worker-%d", n)]
	switch {
	case o == nil:
		o = of(object(n, fmt.Sprintf("%02d", 10*n)), rapid.SampledFrom([]string{"", v1.PublisherIntake}).Draw(t, "publisher"))
	case rapid.Bool().Draw(t, "hand over"):
		o = noted(o.DeepCopy(), v1.HandOverAnnotation, rapid.SampledFrom([]string{v1.PublisherLegacy, v1.PublisherIntake}).Draw(t, "to"))
	default:
		o = wroteBy(o.DeepCopy(), "somebody")
		o.Spec.Interfaces = object(n, fmt.Sprintf("%02d", 10*n+rapid.IntRange(0, 3).Draw(t, "MAC of somebody"))).Spec.Interfaces
		o.Generation++
	}
	objects[o.Name] = o
}

// apply does what an entry says, and checks that it may.
func apply(t *rapid.T, e Entry, objects map[string]*v1.MultiNicNodeConfig) {
	if e.Action != publish.Created && e.Action != publish.Changed {
		return
	}
	have := objects[e.Node]
	given := have != nil && have.Annotations[v1.HandOverAnnotation] == v1.PublisherLegacy
	if have != nil && !given && (have.Labels[v1.PublisherLabel] != v1.PublisherLegacy || TakenBy(have) != "") {
		t.Fatalf("%s, and the object is somebody else's", told(e))
	}
	if _, errs := e.Object.Validate(); len(errs) > 0 {
		t.Fatalf("%s breaks the rules: %v", told(e), errs)
	}
	if have != nil && len(have.Spec.Interfaces) > 0 && len(e.Object.Spec.Interfaces) == 0 {
		t.Fatalf("%s takes the last NIC", told(e))
	}
	next := wroteBy(e.Object.DeepCopy(), v1.PublisherLegacy)
	next.Generation++
	objects[e.Node] = next
}

func text(objects map[string]*v1.MultiNicNodeConfig) string {
	out, err := json.Marshal(objects)
	if err != nil {
		return err.Error()
	}
	return string(out)
}
