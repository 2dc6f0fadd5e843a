package publish

import (
	"cmp"
	"encoding/json"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
)

// reserved is the id of a NIC that is gone from the object. Nobody else gets it before the node has
// reported that it gave the NIC back: the link has its name until then.
type reserved struct {
	ID     int32  `json:"id"`
	MAC    string `json:"mac"` // lower case
	PortID string `json:"portId,omitempty"`
	// Since is the first generation of the object without the NIC.
	Since int64 `json:"since"`
}

// maxReserved bounds the annotation. Of more, the oldest are forgotten.
const maxReserved = 256

// reservations are the ids of an object that nobody may have yet, sorted by id. An annotation that
// cannot be read counts as none.
func reservations(o *v1.MultiNicNodeConfig) []reserved {
	var all []reserved
	if json.Unmarshal([]byte(o.Annotations[v1.ReservedIDsAnnotation]), &all) != nil {
		return nil
	}
	all = slices.DeleteFunc(all, func(r reserved) bool {
		return r.ID < 0 || r.ID > v1.MaxID || settled(o, r.Since)
	})
	slices.SortFunc(all, byID)
	return slices.CompactFunc(all, func(a, b reserved) bool { return a.ID == b.ID })
}

func byID(a, b reserved) int { return cmp.Compare(a.ID, b.ID) }

// settled says that the node has reported a generation, or a later one, as done in all of its NICs,
// and that no NIC is left that it could not give back.
func settled(o *v1.MultiNicNodeConfig, generation int64) bool {
	ready := meta.FindStatusCondition(o.Status.Conditions, v1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration >= generation &&
		o.Status.ObservedGeneration >= generation && !meta.IsStatusConditionTrue(o.Status.Conditions, v1.ConditionDegraded)
}

// annotation is the text of reservations; "" for none.
func annotation(all []reserved) string {
	if len(all) == 0 {
		return ""
	}
	if len(all) > maxReserved {
		all = slices.Clone(all)
		slices.SortStableFunc(all, func(a, b reserved) int { return cmp.Compare(b.Since, a.Since) })
		all = all[:maxReserved]
		slices.SortFunc(all, byID)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return "" // these fields have no error
	}
	return string(text)
}
