package hosttest

import (
	"os"
	"path/filepath"
	"testing"
)

// Files makes files below root, by their paths on the host, with the folders that they need (0755, files 0644).
func Files(t testing.TB, root string, files map[string]string) {
	t.Helper()
	for name, data := range files {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// NeedRoot skips a test that only root can run, and says why; where CI runs it, that is a failure.
func NeedRoot(t testing.TB, why string) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("CI") != "":
		t.Fatal("needs root, " + why)
	default:
		t.Skip("needs root, " + why)
	}
}
