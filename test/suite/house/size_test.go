package house

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	linesOfAFile    = 400
	linesOfAPackage = 2500
)

// What does not fit a head is read by nobody. The lines of api/v1 are not counted: the package is one wire format, and
// has the code that is generated from it.
func TestNoFileAndNoPackageIsTooLong(t *testing.T) {
	lines := map[string]int{}
	for _, file := range goFiles(t, ".") {
		if !strings.HasSuffix(file, "_test.go") && path.Dir(file) != "api/v1" {
			lines[file] = strings.Count(read(t, file), "\n")
		}
	}
	if len(lines) == 0 {
		t.Fatal("no Go file was found")
	}
	for _, sentence := range tooLong(lines) {
		t.Error(sentence)
	}
}

// tooLong says of each file and of each package with too many lines how many it has, and what to do. The lines are by
// the file's path.
func tooLong(lines map[string]int) (sentences []string) {
	packages := map[string]int{}
	for _, file := range slices.Sorted(maps.Keys(lines)) {
		packages[path.Dir(file)] += lines[file]
		if n := lines[file]; n > linesOfAFile {
			sentences = append(sentences, fmt.Sprintf("%s has %d lines, want %d at most: give what it does second a file of its own", file, n, linesOfAFile))
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		if n := packages[dir]; n > linesOfAPackage {
			sentences = append(sentences, fmt.Sprintf("package %s has %d lines without its tests, want %d at most: find the files that need least of the others, and give them a room of their own", dir, n, linesOfAPackage))
		}
	}
	return sentences
}

func TestTooLong(t *testing.T) {
	for _, row := range []struct {
		name  string
		lines map[string]int
		want  []string
	}{
		{"all is as long as it may be", map[string]int{"a/a.go": 400, "a/b.go": 400, "a/c.go": 400, "a/d.go": 400, "a/e.go": 400, "a/f.go": 400, "a/g.go": 100}, nil},
		{"a line too many in a package", map[string]int{"a/a.go": 400, "a/b.go": 400, "a/c.go": 400, "a/d.go": 400, "a/e.go": 400, "a/f.go": 400, "a/g.go": 101},
			[]string{"package a has 2501 lines without its tests, want 2500 at most: find the files that need least of the others, and give them a room of their own"}},
		{"a line too many in a file", map[string]int{"a/a.go": 401}, []string{"a/a.go has 401 lines, want 400 at most: give what it does second a file of its own"}},
		{"a folder below is another package", map[string]int{"a/a.go": 400, "a/b.go": 400, "a/c.go": 400, "a/d.go": 400, "a/e.go": 400, "a/f.go": 400, "a/b/g.go": 400}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, tooLong(row.lines)); diff != "" {
				t.Errorf("too long (-want +got):\n%s", diff)
			}
		})
	}
}
