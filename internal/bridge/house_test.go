package bridge

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sources are the Go files of the bridge's rooms, without their tests and what is for
// tests only.
func sources(t *testing.T) []string {
	t.Helper()
	here, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	below, err := filepath.Glob("*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	all := slices.DeleteFunc(append(here, below...), func(name string) bool {
		return strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "bridgetest/")
	})
	if len(all) == 0 {
		t.Fatal("there are no sources")
	}
	return all
}

// A loop that asks by itself, past the helper, is where one that spins comes from.
func TestOneHelperAsksToBeRunAgain(t *testing.T) {
	want := []string{
		"admission/watch.go: NewTimer(d)", "admission/watch.go: NewTimer(every)",
		// They answer an event: 100 ms gather what comes with it, and no look makes the next one.
		"rollout/loop.go: AddAfter(rolloutGather)",
		"rollout/loop.go: AddAfter(rolloutGather)",
		"rollout/loop.go: AddAfter(rolloutGather)",
	}
	timers := map[string]bool{"AddAfter": true, "AddRateLimited": true, "NewTicker": true, "NewTimer": true, "After": true, "AfterFunc": true, "Tick": true, "Sleep": true}
	fset := token.NewFileSet()
	var got []string
	for _, name := range sources(t) {
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && (key.Name == "RequeueAfter" || key.Name == "Requeue") && name != "gather/again.go" {
					t.Errorf("%s: ask by gather.Again()", fset.Position(n.Pos()))
				}
			case *ast.CallExpr:
				called, ok := n.Fun.(*ast.SelectorExpr)
				if !ok || !timers[called.Sel.Name] || len(n.Args) == 0 {
					return true
				}
				if last, ok := n.Args[len(n.Args)-1].(*ast.Ident); ok && called.Sel.Name != "After" {
					got = append(got, name+": "+called.Sel.Name+"("+last.Name+")")
				} else if x, ok := called.X.(*ast.Ident); ok && x.Name == "time" {
					got = append(got, name+": time."+called.Sel.Name)
				}
			}
			return true
		})
	}
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(got))); diff != "" {
		t.Errorf("timers (-want +got):\n%s", diff)
	}
}

// A worker that hangs works on no other node. The library ends a pass for whoever
// asks it to, by the options that all loops take.
func TestEveryPassOfALoopHasADeadline(t *testing.T) {
	loops, bounded := 0, 0
	for _, name := range sources(t) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		loops += strings.Count(string(text), "ctrl.NewControllerManagedBy(")
		bounded += strings.Count(string(text), "WithOptions(gather.LoopOptions(")
	}
	if loops == 0 || loops != bounded {
		t.Errorf("%d loops, of which %d take the options of all", loops, bounded)
	}
}
