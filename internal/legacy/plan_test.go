package legacy

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/internal/publish"
	"multinicd/internal/terminal"
	"multinicd/internal/terminal/hostile"
)

var update = flag.Bool("update", false, "write golden files anew")

// Each folder of testdata has an input, cluster.yaml, and what becomes of it, as a table and as JSON.
func TestPlansOfFiles(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*/cluster.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatal("there is no input", err)
	}
	for _, input := range inputs {
		dir := filepath.Dir(input)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			text, err := os.ReadFile(input)
			if err != nil {
				t.Fatal(err)
			}
			w, lost, err := Read(text)
			if err != nil {
				t.Fatal(err)
			}
			var table, asJSON bytes.Buffer
			p := w.Plan(lost)
			if err := p.Table(&table); err != nil {
				t.Fatal(err)
			}
			if err := p.JSON(&asJSON); err != nil {
				t.Fatal(err)
			}
			for name, got := range map[string]string{"plan.txt": table.String(), "plan.json": asJSON.String()} {
				golden := filepath.Join(dir, name)
				if *update {
					if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("%s: -want +got (-update writes it anew):\n%s", golden, diff)
				}
			}
		})
	}
}

func TestWhatCannotBeReadIsNamed(t *testing.T) {
	for name, row := range map[string]struct{ text, want string }{
		"no YAML":                    {"a: [", "reading document 1"},
		"a list without kind":        {"kind: List\nitems:\n- kind: Node\n- {}\n", "reading document 1: items[1]: the object has no kind"},
		"a text in place of a list":  {"apiVersion: multinic.io/v1\nkind: MultiNicBizConfig\nmetadata: {name: production}\nspec: {nodeConfigs: x}\n", "MultiNicBizConfig production"},
		"an object that is a text":   {"---\nx\n", "want an object with apiVersion and kind"},
		"a key twice":                {"kind: Node\nkind: Node\n", `key "kind" already set`},
		"a number in place of a MAC": {"# nothing\n---\napiVersion: multinic.io/v1alpha1\nkind: MultiNicNodeConfig\nmetadata: {name: w}\nspec: {interfaces: [{macAddress: 1}]}\n", "reading document 2: MultiNicNodeConfig w: spec.interfaces[0].macAddress"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Read([]byte(row.text))
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

func TestNothingOfAPlanActsOnATerminal(t *testing.T) {
	var p Plan
	hostile.Fill(&p)
	p.Nodes[0].Becomes, p.Nodes[0].Reason = publish.Refused, publish.Invalid
	for name, prints := range map[string]func(*bytes.Buffer) error{
		"table": func(b *bytes.Buffer) error { return p.Table(terminal.Writer(b)) },
		"json":  func(b *bytes.Buffer) error { return p.JSON(terminal.Writer(b)) },
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := prints(&out); err != nil {
				t.Fatal(err)
			}
			hostile.Check(t, out.String())
		})
	}
}

// FuzzRead: whatever a file has, it is refused by an error, or there is a plan of it. What the plan
// writes keeps the rules, and nothing of it acts on a terminal.
func FuzzRead(f *testing.F) {
	inputs, err := filepath.Glob("testdata/*/cluster.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, input := range inputs {
		text, err := os.ReadFile(input)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("kind: NodeList\nitems: [{kind: Node, metadata: {name: w}, spec: {providerID: 'openstack:///i-1'}}]\n"))
	f.Add([]byte("{\"kind\":\"MultiNicBizConfig\",\"apiVersion\":\"multinic.okestro.io/v1\",\"spec\":{\"nodeConfigs\":[{\"attachedNodeName\":\"\\u001b[2J\",\"interfaces\":[null]}]}}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		w, lost, err := Read(text)
		if err != nil {
			return
		}
		p := w.Plan(lost)
		for _, e := range w.Judge() {
			if e.Object == nil {
				continue
			}
			if _, errs := e.Object.Validate(); len(errs) > 0 {
				t.Errorf("%s breaks the rules: %v", told(e), errs)
			}
		}
		for _, o := range w.Old {
			Aggregate(o, w.Judge(), w.Objects, begin)
		}
		var out bytes.Buffer
		if err := p.Table(&out); err != nil {
			t.Error(err)
		}
		if err := p.JSON(terminal.Writer(&out)); err != nil {
			t.Error(err)
		}
		for _, r := range out.String() {
			if r != '\n' && strings.ContainsRune("\a\b\t\v\f\r\x1b\x7f\u009b\u202e\u2028", r) {
				t.Errorf("%U is printed", r)
			}
		}
	})
}
