package controlplane

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The log grows while it is read, so its last line may be half of one.
func TestTheAuditLogIsReadFromAPlaceOn(t *testing.T) {
	c := &Cluster{dir: t.TempDir()}
	first := `{"auditID":"1","verb":"get"}` + "\n"
	file := filepath.Join(c.dir, "audit.log")
	if err := os.WriteFile(file, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	place, err := c.AuditSize()
	if err != nil || place != int64(len(first)) {
		t.Fatalf("the log ends at %d, %v", place, err)
	}
	if err := os.WriteFile(file, []byte(first+`{"auditID":"2","stage":"ResponseStarted"}`+"\n"+`{"auditID":"2","stage":"ResponseComplete"}`+"\n"+`{"audit`), 0o600); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[int64][]string{0: {"1", "2 ResponseStarted", "2 ResponseComplete"}, place: {"2 ResponseStarted", "2 ResponseComplete"}} {
		var got []string
		see := func(r Request) {
			id := r.AuditID
			if r.Stage != "" {
				id += " " + r.Stage
			}
			got = append(got, id)
		}
		if err := c.AuditFrom(from, see); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("from %d: -want +got:\n%s", from, diff)
		}
	}
	if err := os.WriteFile(file, []byte("no JSON\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.AuditFrom(0, func(Request) {}); err == nil {
		t.Error("a line that cannot be read is no error")
	}
}
