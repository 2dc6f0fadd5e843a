package hosttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"multinicd/nic"
	"multinicd/plan"
)

// Scenario is a folder of plan/testdata, which all dialects share: want.json, links.json and record.json, which may be missing.
type Scenario struct {
	Want   []nic.Config
	View   plan.View
	Record plan.Record
}

// Plan is what plan.Make makes of it.
func (s Scenario) Plan() plan.Plan { return plan.Make(s.Want, nil, s.View, s.Record) }

// Host is a machine with the scenario's links, and with the files that the former agent has left of them.
func (s Scenario) Host(t *testing.T) *Machine {
	t.Helper()
	m := New(s.View.Links...)
	for _, l := range s.View.Links {
		for _, file := range l.Former {
			m.Put(t, file, []byte("of the former agent"), 0o600)
		}
	}
	return m
}

// Scenarios calls f for each, by the name of its folder; dir is the way to plan/testdata.
func Scenarios(t *testing.T, dir string, f func(t *testing.T, name string, s Scenario)) {
	t.Helper()
	found, err := filepath.Glob(dir + "/*/want.json")
	if err != nil || len(found) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, want := range found {
		folder := filepath.Dir(want)
		t.Run(filepath.Base(folder), func(t *testing.T) {
			var s Scenario
			for name, v := range map[string]any{"want.json": &s.Want, "links.json": &s.View, "record.json": &s.Record} {
				data, err := os.ReadFile(filepath.Join(folder, name))
				if errors.Is(err, fs.ErrNotExist) && name == "record.json" {
					continue
				}
				if err == nil {
					err = json.Unmarshal(data, v)
				}
				if err != nil {
					t.Fatalf("reading %s: %v", filepath.Join(folder, name), err)
				}
			}
			f(t, filepath.Base(folder), s)
		})
	}
}

// CarryOut puts the files of a plan in place, says what all its steps are, and fails where the same again would write anything.
func (m *Machine) CarryOut(t *testing.T, p plan.Plan, steps func(context.Context, plan.Action) ([]plan.Step, error)) string {
	t.Helper()
	var out strings.Builder
	for _, a := range p.Actions {
		fmt.Fprintf(&out, "%s %s\n", a.Kind, a.NIC.Name)
		if a.Kind != plan.Configure && a.Kind != plan.Remove {
			continue
		}
		todo, err := steps(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range todo {
			out.WriteString(Tell(s))
			if f := s.Do.File; f != nil && f.Absent {
				delete(m.Disk, f.Path)
			} else if f != nil {
				m.Put(t, f.Path, f.Data, f.Mode)
			}
		}
		if again, err := steps(t.Context(), a); err != nil || slices.ContainsFunc(again, func(s plan.Step) bool { return s.Do.File != nil }) {
			t.Errorf("the second time there is still something to write: %v, %v", again, err)
		}
	}
	return out.String()
}

// Put writes a file that is there before the test begins.
func (m *Machine) Put(t *testing.T, name string, data []byte, mode fs.FileMode) {
	t.Helper()
	if err := m.Write(name, data, mode); err != nil {
		t.Fatal(err)
	}
}

// Tell is a step in words, indented below its action's line.
func Tell(s plan.Step) string {
	out := "  " + string(s.Kind)
	if f := s.Do.File; f != nil && f.Absent {
		out += " remove " + f.Path
	} else if f != nil {
		out += fmt.Sprintf(" write %s %o", f.Path, f.Mode)
	}
	if s.Final {
		out += " (final)"
	}
	if m := s.Do.Manage; m != nil {
		out += tellManage(m)
	}
	if m := s.Undo.Manage; m != nil {
		out += " undo " + string(m.Verb) + tellManage(m)
	}
	out += "\n"
	if s.Do.Link != nil {
		for line := range strings.Lines(s.Do.Link.String()) {
			out += "    " + line
		}
	}
	if s.Do.Zero() && s.Undo.Link != nil {
		for line := range strings.Lines(s.Undo.Link.String()) {
			out += "    undo " + line
		}
	}
	return out
}

func tellManage(m *plan.Manage) (out string) {
	for _, f := range m.Files {
		out += " " + path.Base(f)
	}
	if m.UUID != "" {
		out += " " + m.UUID
	}
	return out
}

// Golden compares a tree of files, by their paths below dir, with a folder of testdata; update writes that anew instead.
func Golden(t *testing.T, dir string, got map[string]string, update bool) {
	t.Helper()
	if update {
		if err := writeTree(dir, got); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		want[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if have, ok := got[name]; !ok {
			t.Errorf("%s is not there any more (-update writes it anew)", filepath.Join(dir, name))
		} else if have != want[name] {
			t.Errorf("%s: got\n%s\nwant (-update writes it anew)\n%s", filepath.Join(dir, name), have, want[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is new (-update writes it):\n%s", filepath.Join(dir, name), got[name])
		}
	}
}

func writeTree(dir string, files map[string]string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for name, data := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(data), 0o644); err != nil {
			return err
		}
	}
	return nil
}
