package house

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"multinicd/internal/config"
)

//go:generate go test . -run TestConfigurationPageHoldsTheReference|TestKoreanPagesHoldHeadingsAndCode|TestTheSchemasForEditorsAreUpToDate -update

var update = flag.Bool("update", false, "write the generated parts of docs/ anew")

// root is the top of the source tree.
const root = "../../.."

func TestEveryReasonHasARow(t *testing.T) {
	want := constants(t, "api/v1", func(name, typ string) bool { return strings.HasPrefix(name, "Reason") })
	var got []string
	for _, row := range table(t, "docs/reasons.md", "") {
		if len(row) != 3 || row[1] == "" || row[2] == "" {
			t.Errorf("the row %q needs a reason, its meaning and what to do", row)
		}
		got = append(got, codes(row[0])...)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/reasons.md and the constants in api/v1 differ (-constants +rows):\n%s", diff)
	}
}

// What plan says of a NIC goes into the status as it is, and users look it up by that word.
func TestReasonsOfThePlanAreReasonsOfTheAPI(t *testing.T) {
	public := constants(t, "api/v1", func(name, typ string) bool { return strings.HasPrefix(name, "Reason") })
	for _, reason := range constants(t, "plan", func(name, typ string) bool { return typ == "Reason" }) {
		if !slices.Contains(public, reason) {
			t.Errorf("plan says %q; api/v1 has no such reason", reason)
		}
	}
}

// A reason that nothing gives is a promise of docs/reasons.md that nobody keeps. The constants of plan have no prefix.
func TestEveryReasonIsGiven(t *testing.T) {
	isReason := func(name, typ string) bool { return strings.HasPrefix(name, "Reason") || typ == "Reason" }
	given := map[string]bool{}
	for _, dir := range []string{"api", "cmd", "internal", "plan"} {
		for _, path := range goFiles(t, dir) {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range parsed.Decls {
				if f, ok := decl.(*ast.FuncDecl); ok { // tables of reasons give none
					ast.Inspect(f, func(n ast.Node) bool {
						if id, ok := n.(*ast.Ident); ok {
							given[strings.TrimPrefix(id.Name, "Reason")] = true
						}
						return true
					})
				}
			}
		}
	}
	for _, reason := range constants(t, "api/v1", isReason) {
		if !given[reason] {
			t.Errorf("nothing gives the reason %s", reason)
		}
	}
}

// The service runs already after a cleanup and after a change of its configuration: there `start` does
// nothing, and `restart` is meant. `start` is for a service that the same lines stop or install.
func TestPagesStartOnlyWhatDoesNotRun(t *testing.T) {
	start := regexp.MustCompile(`systemctl start multinicd|service multinicd start`)
	runsNot := regexp.MustCompile(`systemctl stop multinicd|\b(apt|apt-get|dnf|yum) install\b.*multinicd`)
	for _, page := range pages(t) {
		for _, lines := range strings.Split(read(t, page), "\n\n") {
			for _, block := range blocks(lines) {
				if at := start.FindStringIndex(block); at != nil && !runsNot.MatchString(block[:at[0]]) {
					t.Errorf("%s says start of a service that may run, want restart:\n%s", page, block)
				}
			}
		}
	}
	for _, row := range table(t, "docs/reasons.md", "") {
		if slices.Contains(codes(row[0]), "Removed") && !strings.Contains(row[2], "`systemctl restart multinicd`") {
			t.Errorf("the row of Removed does not say restart: %s", row[2])
		}
	}
}

// blocks cuts a table into its rows, which have nothing to do with each other, and leaves all else whole.
func blocks(lines string) []string {
	if strings.HasPrefix(lines, "|") || strings.Contains(lines, "\n|") {
		return strings.Split(lines, "\n")
	}
	return []string{lines}
}

// An example that a page has people copy to a host of theirs counts on any host: an instanceId in it
// would have it refused wherever the host knows its own.
func TestExamplesToCopyFitEveryHost(t *testing.T) {
	copied := regexp.MustCompile(`\bcp \S*/(examples/[a-z0-9-]+\.yaml) `)
	found := 0
	for _, page := range pages(t) {
		for _, m := range copied.FindAllStringSubmatch(read(t, page), -1) {
			found++
			if regexp.MustCompile(`(?m)^\s*instanceId:`).MatchString(read(t, m[1])) {
				t.Errorf("%s has %s copied, which has an instanceId", page, m[1])
			}
		}
	}
	if found == 0 {
		t.Error("no page has an example copied: this test looks for the wrong thing")
	}
}

func TestConfigurationPageHoldsTheReference(t *testing.T) {
	const begin, end = "<!-- reference.toml: written by make generate -->\n```toml\n", "```\n<!-- end of reference.toml -->\n"
	path := filepath.Join(root, "docs/configuration.md")
	page := read(t, "docs/configuration.md")
	head, rest, ok := strings.Cut(page, begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("docs/configuration.md has lost its markers %q and %q", begin, end)
	}
	want := head + begin + string(config.Reference()) + end + tail
	if *update {
		if page != want {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	if diff := cmp.Diff(want, page); diff != "" {
		t.Errorf("docs/configuration.md is stale, run make generate (-want +got):\n%s", diff)
	}
}

func TestEveryPageOfDocsIsInItsIndex(t *testing.T) {
	index := read(t, "docs/README.md")
	for _, page := range pages(t) {
		inDocs, ok := strings.CutPrefix(page, "docs/")
		if filepath.Dir(page) == "docs/ko" && inDocs != "ko/README.md" { // these have an index of their own
			if name := filepath.Base(page); !strings.Contains(read(t, "docs/ko/README.md"), "("+name+")") || korean[page] == "" {
				t.Errorf("docs/ko/README.md does not lead to %s, or the test of Korean pages does not know it", name)
			}
			continue
		}
		if ok && inDocs != "README.md" && !strings.Contains(index, "("+inDocs+")") {
			t.Errorf("docs/README.md does not lead to %s", page)
		}
	}
}

// Whoever looks for a suite finds what it proves, needs and takes; a row that tells of no suite misleads.
func TestEverySuiteHasARow(t *testing.T) {
	folders, err := filepath.Glob(filepath.Join(root, "test/suite/*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("there is no suite (%v)", err)
	}
	var want, got []string
	for _, folder := range folders {
		want = append(want, filepath.Base(folder))
	}
	for _, row := range table(t, "test/README.md", "The suites") {
		if len(row) != 4 || slices.Contains(row, "") {
			t.Errorf("the row %q needs a suite, what it proves, what it needs and how long it takes", row)
		}
		got = append(got, codes(row[0])...)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("test/README.md and the folders of test/suite differ (-folders +rows):\n%s", diff)
	}
}

func TestLinksOfThePagesLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:\s]+)[^):\s]*\)`)
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s leads to %s, which is not there", page, m[1])
			}
		}
	}
}

func TestPagesNameOnlyTargetsThatMakeHas(t *testing.T) {
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z-]*):.*## `).FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[m[1]] = true
	}
	for _, page := range pages(t) {
		for _, m := range regexp.MustCompile("(?:`|\\$ |=1 |sudo )make ([a-z][a-z-]*)").FindAllStringSubmatch(read(t, page), -1) {
			if !targets[m[1]] {
				t.Errorf("%s says make %s; there is no such target", page, m[1])
			}
		}
	}
}

func TestTheVersionHasASectionInTheChangelog(t *testing.T) {
	version := strings.TrimSpace(read(t, "VERSION"))
	if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(version) {
		t.Errorf("VERSION is %q, want a plain semantic version", version)
	}
	if !strings.Contains(read(t, "CHANGELOG.md"), "\n## "+version) {
		t.Errorf("CHANGELOG.md has no section for %s", version)
	}
}

// Prose is wrapped, so that a change of one sentence shows as few changed lines. Tables and code
// cannot be wrapped.
func TestPagesAreWrapped(t *testing.T) {
	const columns = 100
	for _, page := range pages(t) {
		if dir := filepath.Dir(page); page != "README.md" && page != "README.ko.md" && page != "CONTRIBUTING.md" && dir != "docs" && dir != "docs/ko" {
			continue
		}
		code, n := false, 0
		for line := range strings.Lines(read(t, page)) {
			line = strings.TrimSuffix(line, "\n")
			n++
			if strings.HasPrefix(line, "```") {
				code = !code
			}
			if !code && !strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "<!--") && width(line) > columns {
				t.Errorf("%s:%d has more than %d columns", page, n, columns)
			}
		}
	}
}

// width is how many columns a line has in a terminal. A Hangul syllable has two.
func width(line string) int {
	n := 0
	for _, r := range line {
		if n++; unicode.Is(unicode.Hangul, r) {
			n++
		}
	}
	return n
}

// pages lists the Markdown pages of the repository, without those of test data.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || d.Name() == "bin" || d.Name() == "dist"):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".md"):
			rel, err := filepath.Rel(root, path)
			all = append(all, rel)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// constants gives the sorted values of the string constants of a package that keep accepts by name and declared type.
func constants(t *testing.T, dir string, keep func(name, typ string) bool) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no Go files (%v)", dir, err)
	}
	var all []string
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			typ := ""
			if id, ok := spec.Type.(*ast.Ident); ok {
				typ = id.Name
			}
			for i, name := range spec.Names {
				if i >= len(spec.Values) || !keep(name.Name, typ) {
					continue
				}
				if lit, ok := spec.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					value, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, value)
				}
			}
			return false
		})
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// table gives the rows, cell by cell, of the tables under a heading of a page, or of all of them if heading is "".
func table(t *testing.T, page, heading string) [][]string {
	t.Helper()
	var rows [][]string
	inside, header := heading == "", true
	for line := range strings.Lines(read(t, page)) {
		line = strings.TrimSpace(line)
		if title := strings.TrimLeft(line, "#"); title != line && heading != "" {
			inside = strings.TrimSpace(title) == heading
		}
		if !strings.HasPrefix(line, "|") {
			header = true
			continue
		}
		if strings.HasPrefix(line, "|---") {
			header = false
			continue
		}
		if inside && !header {
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	if len(rows) == 0 {
		t.Fatalf("%s has no table under %q", page, heading)
	}
	return rows
}

// codes gives the words of a cell that are set as code.
func codes(cell string) []string {
	var all []string
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
		all = append(all, m[1])
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestTheChartIsOfThisVersion(t *testing.T) {
	version := strings.TrimSpace(read(t, "VERSION"))
	for _, key := range []string{"version", "appVersion"} {
		if !strings.Contains(read(t, "charts/multinic/Chart.yaml"), "\n"+key+": "+version+"\n") {
			t.Errorf("charts/multinic/Chart.yaml has another %s than %s", key, version)
		}
	}
}

// Who is woken by an alert wants to read what to do, under its name.
func TestEveryAlertHasItsSection(t *testing.T) {
	page := read(t, "docs/alerts.md")
	alerts := regexp.MustCompile(`(?m)^  - alert: (\w+)$`).FindAllStringSubmatch(read(t, "charts/multinic/files/alerts.yaml"), -1)
	if len(alerts) == 0 {
		t.Fatal("no alerts found")
	}
	for _, m := range alerts {
		if !strings.Contains(page, "\n## "+m[1]+"\n") {
			t.Errorf("docs/alerts.md has no section %s", m[1])
		}
		if !strings.Contains(read(t, "charts/multinic/files/alerts.yaml"), "docs/alerts.md#"+strings.ToLower(m[1])) {
			t.Errorf("alert %s does not name its section of docs/alerts.md", m[1])
		}
	}
}

// What could not be compared is a note, not a fault: nobody is to be woken by it. The metric of
// degraded nodes counts remarks of nodes, which are for who looks.
func TestNoAlertFiresOnANote(t *testing.T) {
	alerts := read(t, "charts/multinic/files/alerts.yaml")
	for _, word := range []string{"IdentityUnverified", "multinic_nodes_degraded", `status!="True"`} {
		if strings.Contains(alerts, word) {
			t.Errorf("an alert fires on %s", word)
		}
	}
}
