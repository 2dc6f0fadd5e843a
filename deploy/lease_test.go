package deploy_test

import (
	"strings"
	"testing"

	"github.com/google/cel-go/common/types"
)

// An API server knows these fields only since 1.31, and keeps them only where its feature gate CoordinatedLeaderElection is on. So no request
// to that of the test bed can show what the policy makes of them.
func TestANodeDoesNotChooseHowItsLeaseIsHandedOn(t *testing.T) {
	var rule string
	for _, v := range policies(t)["multinic-node-leases"].Spec.Validations {
		if strings.Contains(v.Message, "strategy") {
			rule = v.Expression
		}
	}
	if rule == "" {
		t.Fatal("multinic-node-leases says nothing of it")
	}
	lease := func(fields ...string) map[string]any {
		spec := map[string]any{"holderIdentity": "x"}
		for i := 0; i+1 < len(fields); i += 2 {
			spec[fields[i]] = fields[i+1]
		}
		return map[string]any{"spec": spec}
	}
	for name, tt := range map[string]struct {
		before, after map[string]any
		want          bool
	}{
		"neither is there":                     {lease(), lease(), true},
		"both stay as somebody else set them":  {lease("strategy", "OldestEmulationVersion", "preferredHolder", "a"), lease("strategy", "OldestEmulationVersion", "preferredHolder", "a"), true},
		"it sets a strategy":                   {lease(), lease("strategy", "OldestEmulationVersion"), false},
		"it changes the strategy":              {lease("strategy", "OldestEmulationVersion"), lease("strategy", "x"), false},
		"it takes the strategy away":           {lease("strategy", "OldestEmulationVersion"), lease(), false},
		"it says who comes next":               {lease(), lease("preferredHolder", "a"), false},
		"it changes who comes next":            {lease("preferredHolder", "a"), lease("preferredHolder", "b"), false},
		"it sets one, and leaves the other be": {lease("strategy", "x"), lease("strategy", "x", "preferredHolder", "a"), false},
	} {
		got, _, err := compile(t, rule).Eval(map[string]any{"request": map[string]any{}, "object": tt.after, "oldObject": tt.before})
		if err != nil || (got == types.True) != tt.want {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, tt.want)
		}
	}
}
