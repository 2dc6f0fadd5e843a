package bed

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each test is in one part, and those that are named are in each.
func TestPartsAreDisjointAndComplete(t *testing.T) {
	folder := t.TempDir()
	var tests []string
	for _, name := range []string{"TestA", "TestB", "TestBB", "TestC", "TestD", "TestE", "TestF"} {
		tests = append(tests, name)
		if err := os.WriteFile(filepath.Join(folder, name+"_test.go"), []byte("package x\n\nfunc "+name+"(t *testing.T) {\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	always = []string{"TestB"}
	t.Cleanup(func() { always = nil })
	runs := map[string]int{}
	for _, part := range []string{"1/3", "2/3", "3/3"} {
		pattern, err := skipped(part, folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range tests {
			if !regexp.MustCompile(pattern).MatchString(name) {
				runs[name]++
			}
		}
	}
	for _, name := range tests {
		want := 1
		if name == "TestB" {
			want = 3
		}
		if runs[name] != want {
			t.Errorf("%s runs in %d of three parts, want %d", name, runs[name], want)
		}
	}
	for _, whole := range []string{"", "1/1"} {
		if pattern, err := skipped(whole, folder); pattern != "" || err != nil {
			t.Errorf("part %q leaves out %q (%v)", whole, pattern, err)
		}
	}
	for _, bad := range []string{"0/3", "4/3", "x", "2"} {
		if _, err := skipped(bad, folder); err == nil || !strings.Contains(err.Error(), "want a part like 2/5") {
			t.Errorf("part %q: got error %v", bad, err)
		}
	}
	always = []string{"TestGone"}
	if _, err := skipped("1/3", folder); err == nil || !strings.Contains(err.Error(), "TestGone") {
		t.Errorf("a test that is named and not there: got error %v", err)
	}
}
