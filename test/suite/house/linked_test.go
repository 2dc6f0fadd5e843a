package house

import (
	"bytes"
	"os"
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
