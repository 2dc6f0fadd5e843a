package status

import (
	"strings"
	"testing"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/nic"
	"multinicd/plan"
)

// A NIC that waits for its name says too what it has in another way than it was asked for: whoever reads the status is told both.
func TestANICThatWaitsForItsNameSaysWhatElseDiffers(t *testing.T) {
	const note = "it has MTU 1500 and not 1400, since link vlan100, which lies on it, needs that"
	long := strings.Repeat("a rule of somebody's. ", 30)
	for name, c := range map[string]struct {
		link  string
		namer func(nic.Link, string) string
		note  string
		want  string
	}{
		"it has its name":         {"multinic1", nil, note, "Interface configured; " + note},
		"it waits for its name":   {"ens4", nil, note, "configured as ens4; " + note + "; the kernel does not rename a link that is up, it is multinic1 from the next boot on"},
		"nothing else differs":    {"ens4", nil, "", "configured as ens4; the kernel does not rename a link that is up, it is multinic1 from the next boot on"},
		"the reason is very long": {"ens4", func(nic.Link, string) string { return long }, note, v1.Printable("configured as ens4; "+note+"; "+long, v1.MaxMessage)},
	} {
		n := NIC{Name: "multinic1"}
		n.standing(apply.Result{Action: plan.Action{Note: c.note}}, &nic.Link{Name: c.link}, Known{Namer: c.namer})
		if n.Message != c.want {
			t.Errorf("%s: got %q, want %q", name, n.Message, c.want)
		}
	}
}
