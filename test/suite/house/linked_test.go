package house

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"multinicd/test/bed/artifact"
)

// A program's size is a fact of its source, so this measures no machine. What is linked is told by the names of functions that a program keeps for its
// stack traces.
func TestProgramsAreSmallAndLinkOnlyWhatTheyNeed(t *testing.T) {
	for _, p := range []struct {
		command string
		most    int // bytes, without symbols, for amd64
		has     string
		not     []string
	}{
		{"./cmd/multinicd", 14_000_000, "multinicd/netplan.(*Backend).Validate", []string{
			"text/template.(*state).", // finds methods by name, so that the linker keeps all of every type: see cmd/line
			"github.com/russross/blackfriday/v2.", "github.com/davecgh/go-spew/spew.",
			"k8s.io/client-go/kubernetes", "k8s.io/client-go/rest.", "k8s.io/client-go/tools/clientcmd", "k8s.io/client-go/plugin", "sigs.k8s.io/controller-runtime",
			"os/exec.(*Cmd).Start", "net/http/pprof.", "testing.(*T).", "multinicd/cmd/line/linetest.",
		}},
		{"./cmd/bridge", 38_000_000, "multinicd/internal/bridge.Run", []string{
			"text/template.(*state).", "github.com/russross/blackfriday/v2.", "testing.(*T).", "github.com/vishvananda/netlink.", "github.com/godbus/dbus/v5.", "multinicd/cmd/line/linetest.",
		}},
	} {
		t.Run(p.command, func(t *testing.T) {
			file, err := artifact.BuildCommand(t.Context(), t.Logf, p.command)
			if err != nil {
				t.Fatal(err)
			}
			program, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(program) > p.most {
				t.Errorf("it has %.1f MB, want at most %.1f: `go build -ldflags=-dumpdep` says who leads to what", float64(len(program))/1e6, float64(p.most)/1e6)
			}
			if !bytes.Contains(program, []byte(p.has)) {
				t.Fatalf("it does not have %s: names are written in another way, and this test sees nothing", p.has)
			}
			for _, name := range p.not {
				if bytes.Contains(program, []byte(name)) {
					t.Errorf("%s is linked in", name)
				}
			}
		})
	}
}

// Each command of multinicd starts a process, and a pattern takes it a quarter of a millisecond, needed or not: host/kubelet's took 5 ms at each start.
func TestMultinicdCompilesNoPatternBeforeItIsNeeded(t *testing.T) {
	files := strings.Fields(goList(t, "-deps", "-f", `{{$p := .ImportPath}}{{range .GoFiles}}{{$p}}/{{.}} {{end}}`, "./cmd/multinicd"))
	files = slices.DeleteFunc(files, func(f string) bool { return !strings.HasPrefix(f, module+"/") })
	if len(files) < 100 {
		t.Fatalf("it is made of %d files of ours only: this test sees nothing", len(files))
	}
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, strings.TrimPrefix(file, module+"/")), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(tree.Decls, early) {
			t.Errorf("%s compiles a pattern when the program starts: wrap it in sync.OnceValue", file)
		}
	}
}

// early says whether a declaration compiles a pattern when the program starts.
func early(d ast.Decl) (found bool) {
	vars, ok := d.(*ast.GenDecl)
	if !ok || vars.Tok != token.VAR {
		return false
	}
	ast.Inspect(vars, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			x, named := s.X.(*ast.Ident)
			found = found || named && x.Name == "regexp" && s.Sel.Name == "MustCompile"
		}
		_, later := n.(*ast.FuncLit)
		return !later
	})
	return found
}

func TestEarly(t *testing.T) {
	for text, want := range map[string]bool{
		"var a = regexp.MustCompile(`a`)":                                                  true,
		"var (\n a = 1\n b = []any{regexp.MustCompile(`a`)}\n)":                            true,
		"var a = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`a`) })": false,
		"func a() { regexp.MustCompile(`a`) }":                                             false,
		"var a *regexp.Regexp":                                                             false,
	} {
		tree, err := parser.ParseFile(token.NewFileSet(), "a.go", "package a\n"+text, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := early(tree.Decls[0]); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}
