package plan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/internal/hosttest"
	"multinicd/nic"
	"multinicd/plan"
)

var update = flag.Bool("update", false, "write golden files anew")

// scenario is a folder of testdata, shared by all dialects: want.json ([]nic.Config), links.json
// (plan.View), record.json (plan.Record; absent: nothing is ours), and plan.json, which is
// written by -update.
type scenario struct {
	want   []nic.Config
	view   plan.View
	record plan.Record
}

func load(t *testing.T, dir string) (s scenario) {
	t.Helper()
	for name, v := range map[string]any{"want.json": &s.want, "links.json": &s.view, "record.json": &s.record} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) && name == "record.json" {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		if err := d.Decode(v); err != nil {
			t.Fatalf("reading %s: %v", filepath.Join(dir, name), err)
		}
	}
	return s
}

// told is an action as plan.json has it: whole, except the link, which is in links.json, and what
// is zero.
type told struct {
	Kind    plan.Kind
	NIC     string
	MAC     nic.MAC
	Link    string      `json:",omitempty"`
	Reason  plan.Reason `json:",omitempty"`
	Message string      `json:",omitempty"`
	Change  []string    `json:",omitempty"`
	After   any         `json:",omitempty"`
}

func tell(t *testing.T, p plan.Plan) []byte {
	t.Helper()
	out := []told{}
	for _, a := range p.Actions {
		x := told{Kind: a.Kind, NIC: a.NIC.Name, MAC: a.NIC.MAC, Reason: a.Reason, Message: a.Message, After: bare(t, a.After)}
		if a.Link != nil {
			x.Link = a.Link.Name
		}
		if s := strings.TrimSpace(a.Change.String()); s != "" {
			x.Change = strings.Split(s, "\n")
		}
		out = append(out, x)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(out); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// bare gives v as JSON has it, without what is zero.
func bare(t *testing.T, v any) any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return strip(out)
}

func strip(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			if x[k] = strip(e); x[k] == nil {
				delete(x, k)
			}
		}
		if len(x) == 0 {
			return nil
		}
	case []any:
		for i := range x {
			x[i] = strip(x[i])
		}
		if len(x) == 0 {
			return nil
		}
	default:
		if v != nil && reflect.ValueOf(v).IsZero() {
			return nil
		}
	}
	return v
}

func TestMakeOverTheScenarios(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*/want.json")
	if err != nil || len(dirs) < 10 {
		t.Fatalf("only %d scenarios: %v", len(dirs), err)
	}
	for _, d := range dirs {
		dir := filepath.Dir(d)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			s := load(t, dir)
			got := tell(t, plan.Make(s.want, nil, s.view, s.record))
			golden := filepath.Join(dir, "plan.json")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s: -want +got (-update writes it anew):\n%s", golden, diff)
			}
		})
	}
}

// The links and NICs that most tests begin with.
var (
	mac    = hosttest.MAC
	config = hosttest.Config
	link   = hosttest.Link
	up     = hosttest.Up
	route  = hosttest.Route
	from   = hosttest.RouteFrom
)

func prefixes(ss ...string) (out []netip.Prefix) {
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// owned is what we remember of link(id) once c was applied to it.
func owned(c nic.Config) plan.Owned {
	return plan.Owned{MAC: c.MAC, Config: c, Applied: true, Found: plan.Found{Name: "eth" + string(rune('0'+c.ID)), MTU: 1500}}
}

func in(table int, r nic.Route) nic.Route { r.Table = table; return r }

// rule sends what comes from an address into the table of NIC id.
func rule(id int, from string) nic.Rule {
	return nic.Rule{Priority: 20000 + id, From: netip.MustParsePrefix(from), Table: 10000 + id}
}
