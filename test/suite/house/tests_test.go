package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A test that is skipped proves nothing, and nobody looks at it again. What takes long is rows that the short run does not have (prerequisite.Long); a
// test of a kind of host is a row of those kinds.
func TestNoTestOfTheTestBedIsSkipped(t *testing.T) {
	may := []string{
		"test/bed/prerequisite/prerequisite.go", // the machine cannot: with CI it fails
		"test/bed/controlplane/cluster_test.go", // the user's own control plane has one program less
	}
	var skipping []string
	for _, path := range goFiles(t, "test") {
		file := token.NewFileSet()
		parsed, err := parser.ParseFile(file, filepath.Join(root, path), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, s.Sel.Name) {
				skipping = append(skipping, path)
				if !slices.Contains(may, path) {
					t.Errorf("%s:%d: a test is skipped", path, file.Position(s.Pos()).Line)
				}
			}
			return true
		})
	}
	for _, path := range may {
		if !slices.Contains(skipping, path) {
			t.Errorf("%s skips nothing any more: take it off the list", path)
		}
	}
}

// goFiles lists the Go files below a folder of the source tree.
func goFiles(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		rel, err := filepath.Rel(root, path)
		out = append(out, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A test that sleeps is slow on a quiet machine and fails on a busy one; where there is nothing to wait for, it says why it sleeps all the same.
func TestTestsThatSleepSayWhy(t *testing.T) {
	for _, path := range goFiles(t, "test") {
		if !strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "test/suite/house/") {
			continue
		}
		for i, line := range strings.Split(read(t, path), "\n") {
			if strings.Contains(line, "time.Sleep(") && !strings.Contains(line, "//") && !strings.HasPrefix(strings.TrimSpace(line), "for ") {
				t.Errorf("%s:%d: no comment says why it sleeps", path, i+1)
			}
		}
	}
}

// Pages say which test holds what: a test that is renamed or gone holds nothing.
func TestTheTestsThatPagesNameAreThere(t *testing.T) {
	var all strings.Builder
	for _, path := range goFiles(t, ".") {
		if strings.HasSuffix(path, "_test.go") {
			all.WriteString(read(t, path))
		}
	}
	for _, page := range []string{"test/README.md", "docs/threats.md"} {
		named := regexp.MustCompile("`(Test[A-Z]\\w+)`").FindAllStringSubmatch(read(t, page), -1)
		if len(named) == 0 {
			t.Errorf("%s names no test", page)
		}
		for _, m := range named {
			if !strings.Contains(all.String(), "\nfunc "+m[1]+"(t *testing.T)") {
				t.Errorf("%s names %s, and there is no such test", page, m[1])
			}
		}
	}
}
