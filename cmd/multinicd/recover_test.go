package main

import (
	"errors"
	"strings"
	"testing"

	"multinicd/internal/apply"
	"multinicd/nic"
)

// What multinicd recover says of each NIC, and whether that makes its exit code one that a person has to look at.
func TestWhatRecoverSays(t *testing.T) {
	c := nic.Config{Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}}
	for name, tt := range map[string]struct {
		found apply.Recovered
		says  string
		fails bool
	}{
		"undone":                     {apply.Recovered{NIC: c}, "multinic1 (02:00:00:00:01:01): as before the change", false},
		"finished":                   {apply.Recovered{NIC: c, Forward: true}, "multinic1 (02:00:00:00:01:01): the change was all but done", false},
		"the manager does not run":   {apply.Recovered{NIC: c, Pending: true}, "NetworkManager is told when multinicd starts", false},
		"an older version ran since": {apply.Recovered{NIC: nic.Config{MAC: c.MAC}, Stale: true}, "02:00:00:00:01:01: an older multinicd has run", false},
		"something is in the way":    {apply.Recovered{NIC: c, Err: errors.New("the name is taken")}, "multinic1 (02:00:00:00:01:01): half way still, and tried again when multinicd starts: the name is taken", true},
		"damaged":                    {apply.Recovered{NIC: nic.Config{MAC: c.MAC}, Damaged: true}, "02:00:00:00:01:01: its journal is damaged", true},
		"damaged, of no known NIC":   {apply.Recovered{Damaged: true}, "the journal is damaged", true},
	} {
		said, err := recovered(tt.found)
		if err != nil {
			said = err.Error()
		}
		if (err != nil) != tt.fails || !strings.HasPrefix(said, tt.says) && !strings.HasSuffix(said, tt.says) {
			t.Errorf("%s: got %q, failed: %v", name, said, err != nil)
		}
	}
}
