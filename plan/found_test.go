package plan_test

import (
	"testing"

	"multinicd/plan"
)

// What was found when a NIC was taken over is not told as if it were so now.
func TestEvidenceOfATakeOverIsOfThen(t *testing.T) {
	for from, want := range map[string]string{
		"": "",
		"taken over from netplan: 50-cloud-init.yaml names its MAC":           "taken over from netplan, found then: 50-cloud-init.yaml names its MAC",
		"taken over with address 10.9.0.5/24, which a person had set by hand": "taken over with address 10.9.0.5/24, which a person had set by hand",
	} {
		if got := plan.FoundThen(from); got != want {
			t.Errorf("%q: got %q, want %q", from, got, want)
		}
	}
}
