package house

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever doubts a row runs its test, where the page says that the test is. A row without a test says so.
func TestEveryThreatHasItsTestOrSaysThatThereIsNone(t *testing.T) {
	rows := 0
	for _, row := range table(t, "docs/threats.md", "") {
		if len(row) != 3 {
			continue // the attackers, and what is open
		}
		rows++
		tests := 0
		for part := range strings.SplitSeq(row[2], ";") {
			var folders []string
			for _, word := range codes(part) {
				if !strings.HasPrefix(word, "Test") {
					folders = append(folders, word)
					continue
				}
				tests++
				if folders == nil {
					folders = []string{"e2e"}
				}
				for _, folder := range folders {
					if !hasTest(t, folder, word) {
						t.Errorf("the row %q: %s has no %s", row[0], folder, word)
					}
				}
			}
		}
		if row[0] == "" || row[1] == "" || tests == 0 && !strings.Contains(row[2], "no test") {
			t.Errorf("the row %q needs what is tried, what happens, and a test or the words \"no test\"", row)
		}
	}
	if rows < 60 {
		t.Errorf("docs/threats.md has %d rows, want 60 or more", rows)
	}
}

// hasTest says whether a suite, or else a package, has a test in its own folder.
func hasTest(t *testing.T, folder, test string) bool {
	t.Helper()
	dir := filepath.Join("test/suite", folder)
	if _, err := os.Stat(filepath.Join(root, dir)); err != nil {
		dir = folder
	}
	for _, path := range goFiles(t, dir) {
		if filepath.Dir(path) == dir && strings.Contains(read(t, path), "\nfunc "+test+"(t *testing.T)") {
			return true
		}
	}
	return false
}

// A report to an address that nobody reads is lost, and a key whose fingerprint nobody knows proves nothing.
func TestPlaceholdersAreNamedWhileTheyAreThere(t *testing.T) {
	const address, fingerprint = "security@example.com", "0000 0000 0000 0000 0000  0000 0000 0000 0000 0000"
	for placeholder, pages := range map[string][]string{address: {"README.md", "README.ko.md"}, fingerprint: {"README.md", "README.ko.md", "docs/verify.md"}} {
		there := strings.Contains(read(t, "SECURITY.md"), placeholder)
		for _, page := range pages {
			if named := strings.Contains(read(t, page), placeholder); there != named {
				t.Errorf("the placeholder %s is in SECURITY.md: %v, in %s: %v", placeholder, there, page, named)
			}
		}
	}
}
