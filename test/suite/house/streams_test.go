package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What others wrote passes internal/terminal on its way to a terminal. Everything that a command
// prints goes through the writers of its app, which escape; only main and the log name the streams.
func TestOnlyMainKnowsTheStreamsOfTheProcess(t *testing.T) {
	may := []string{"cmd/bridge/main.go", "cmd/multinicd/main.go", "cmd/multinicd/wire.go"}
	var named []string
	for _, folder := range []string{"api", "cmd", "host", "ifcfg", "internal", "netplan", "networkmanager", "nic", "plan", "sysctl"} {
		for _, path := range goFiles(t, folder) {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := s.X.(*ast.Ident); ok && slices.Contains(streams[x.Name], s.Sel.Name) {
					named = append(named, path)
				}
				return true
			})
		}
	}
	slices.Sort(named)
	if diff := slices.Compact(named); !slices.Equal(diff, may) {
		t.Errorf("the streams are named in %v, want %v", diff, may)
	}
}

// streams are what names the standard output or the standard error, by package.
var streams = map[string][]string{"os": {"Stdout", "Stderr"}, "fmt": {"Print", "Printf", "Println"}}
