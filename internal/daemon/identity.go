package daemon

import (
	"fmt"
	"slices"
	"strings"

	v1 "multinicd/api/v1"
	"multinicd/plan"
)

// identity refuses an object that is meant for another machine. Ids are compared only with ids of
// their kind.
func (d *Daemon) identity(obj *v1.MultiNicNodeConfig) *plan.Refusal {
	want := strings.ToLower(strings.TrimSpace(obj.Spec.InstanceID))
	have := d.comparable(want)
	if want == "" || len(have) == 0 || slices.Contains(have, want) {
		return nil
	}
	return &plan.Refusal{Reason: v1.ReasonIdentityMismatch,
		Message: fmt.Sprintf("spec.instanceId is %s, this host is %s: the object is meant for another machine; correct it, or set instance_id in multinicd.toml", want, strings.Join(have, ", "))}
}

// comparable lists the host's ids of the same form as want: EC2 style (i-...) or UUID.
func (d *Daemon) comparable(want string) []string {
	if d.Instance != "" {
		return []string{strings.ToLower(d.Instance)}
	}
	var out []string
	for _, id := range d.Machine.Identity() {
		id = strings.ToLower(id)
		if strings.HasPrefix(id, "i-") == strings.HasPrefix(want, "i-") && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}
