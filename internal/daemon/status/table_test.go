package status

import (
	"strings"
	"testing"
	"time"

	"multinicd/internal/terminal/layout"
)

// A time that is to come is named as one: nothing was renewed then.
func TestTheLineOfTheCredential(t *testing.T) {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		c    Credential
		want string
	}{
		{Credential{Door: "JoinToken", Ends: noon.Add(time.Hour), Renewal: noon.Add(45 * time.Minute)},
			"credential by a join token, ends 2026-11-22T13:00:00Z, next renewal 2026-11-22T12:45:00Z"},
		{Credential{Door: "Kubelet", Ends: noon}, "credential by the kubelet's door, ends 2026-11-22T12:00:00Z"},
		{Credential{Renewal: noon, Trouble: "no answer"}, "credential, next renewal 2026-11-22T12:00:00Z, cannot be renewed: no answer"},
	} {
		if got := row.c.String(); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
		s := Node{Credential: &row.c}
		if table := s.Table(layout.Page{Verbose: true}); strings.Count(table, row.want+"\n") != 1 {
			t.Errorf("the table has no line %q:\n%s", row.want, table)
		}
	}
}
