package fault

import (
	"flag"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/test/bed"
	"multinicd/test/bed/prerequisite"
)

var update = flag.Bool("update", false, "write the tables of docs/reliability.md anew, from what happens")

// matrix is one table of docs/reliability.md: what became of the host, by fault and operation.
type matrix struct {
	name    string // of the table, in its markers
	head    string // of the first column
	columns []string
	rows    []string // in order
	mu      sync.Mutex
	cells   map[string]map[string]string
}

func newMatrix(name, head string, columns ...string) *matrix {
	return &matrix{name: name, head: head, columns: columns, cells: map[string]map[string]string{}}
}

// How a host is found after a fault.
const (
	asBefore = "as before"
	asWanted = "as wanted"
)

// row makes a row that has no outcome yet, for the sake of the order.
func (m *matrix) row(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cells[name] == nil {
		m.rows = append(m.rows, name)
		m.cells[name] = map[string]string{}
	}
}

// set notes an outcome; a fault that is met several times has to end the same way each time, or in both.
func (m *matrix) set(row, column, outcome string) {
	m.row(row)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch old := m.cells[row][column]; {
	case old == "":
		m.cells[row][column] = outcome
	case !strings.Contains(old, outcome):
		m.cells[row][column] = asBefore + " or " + asWanted
	}
}

func (m *matrix) String() string {
	var b strings.Builder
	b.WriteString("| " + m.head + " | " + strings.Join(m.columns, " | ") + " |\n|---" + strings.Repeat("|---", len(m.columns)) + "|\n")
	for _, row := range m.rows {
		b.WriteString("| " + row)
		for _, c := range m.columns {
			cell := m.cells[row][c]
			if cell == "" {
				cell = "-"
			}
			b.WriteString(" | " + cell)
		}
		b.WriteString(" |\n")
	}
	return b.String()
}

var page sync.Mutex

// publish compares the table with docs/reliability.md, or writes it there. A test that failed has nothing to publish.
func (m *matrix) publish(t *testing.T) {
	t.Helper()
	if t.Failed() {
		return
	}
	page.Lock()
	defer page.Unlock()
	path, head, got, tail := m.published(t)
	if *update {
		if err := os.WriteFile(path, []byte(head+m.String()+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(got, m.String()); diff != "" {
		t.Errorf("docs/reliability.md does not say what happens (-page +what happened); write it anew with: go test ./test/suite/fault -update\n%s", diff)
	}
}

// end is publish where all rows were tried, and else check.
func (m *matrix) end(t *testing.T) {
	t.Helper()
	if whole() {
		m.publish(t)
	} else {
		m.check(t)
	}
}

// whole says that all rows of all tables are tried.
func whole() bool { return *update || len(prerequisite.Long(true)) > 0 }

// oneInThree are the rows that a test tries: one in three, others each time, and in the long run all.
func oneInThree[T any](all []T) (out []T) {
	if whole() {
		return all
	}
	for i := rand.IntN(3); i < len(all); i += 3 {
		out = append(out, all[i])
	}
	return out
}

// check compares the cells that have an outcome with those of docs/reliability.md: for a test that tried only some.
func (m *matrix) check(t *testing.T) {
	t.Helper()
	page.Lock()
	defer page.Unlock()
	_, _, text, _ := m.published(t)
	says := map[string][]string{}
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		says[cells[0]] = cells[1:]
	}
	if diff := cmp.Diff(says[m.head], m.columns); diff != "" {
		t.Fatalf("columns of the table %q of docs/reliability.md (-page +here):\n%s", m.name, diff)
	}
	for _, row := range m.rows {
		for i, c := range m.columns {
			got, said := m.cells[row][c], "nothing"
			if i < len(says[row]) {
				said = says[row][i]
			}
			if got != "" && !strings.Contains(said, got) {
				t.Errorf("%s, %s: the host is %s, and docs/reliability.md says %s", row, c, got, said)
			}
		}
	}
}

// published cuts docs/reliability.md at the markers of the table.
func (m *matrix) published(t *testing.T) (path, head, table, tail string) {
	t.Helper()
	path = bed.Path(t, "docs/reliability.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+m.name+": written by go test ./test/suite/fault -update -->\n", "<!-- end of "+m.name+" -->\n"
	head, rest, ok1 := strings.Cut(string(text), begin)
	table, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("docs/reliability.md has no place for the table %q: want\n%s%s", m.name, begin, end)
	}
	return path, head + begin, table, end + tail
}
