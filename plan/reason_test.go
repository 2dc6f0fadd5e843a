package plan

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Who reads a refusal wants to know what to do, and has this one sentence.
func TestEveryRefusalEndsWithWhatToDo(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	look := func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) < 2 {
			return true
		}
		name, ok := call.Fun.(*ast.Ident)
		if !ok || name.Name != "refuse" {
			return true
		}
		literal, ok := call.Args[1].(*ast.BasicLit)
		if !ok {
			t.Errorf("a refusal whose text cannot be looked at: %v", call.Args[1])
			return true
		}
		text, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		verb := ""
		if i := strings.LastIndex(text, "; "); i >= 0 {
			verb, _, _ = strings.Cut(text[i+2:], " ")
		}
		switch verb {
		case "give", "take", "remove", "rename", "name", "use":
		default:
			t.Errorf("%q does not end with what to do, after a semicolon", text)
		}
		return true
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, look)
	}
	if found < 20 {
		t.Errorf("only %d refusals found", found)
	}
}

func TestALongRefusalKeepsWhatToDo(t *testing.T) {
	for name, row := range map[string]struct{ text, end string }{
		"a long cause":   {strings.Repeat("ä", 300) + "; remove it", "...; remove it"},
		"a long remedy":  {"it is so; " + strings.Repeat("remove it and ", 40), "..."},
		"no remedy":      {strings.Repeat("x", 300), "xxx..."},
		"short as it is": {"it is so; remove it", "it is so; remove it"},
	} {
		t.Run(name, func(t *testing.T) {
			got := refuse(NameTaken, "%s", row.text).Message
			if len(got) > maxMessage || !strings.HasSuffix(got, row.end) || strings.ToValidUTF8(got, "?") != got {
				t.Errorf("%d bytes: %s", len(got), got)
			}
		})
	}
}
