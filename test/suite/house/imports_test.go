// Package house keeps the rules that the compiler does not know: who imports whom, which library stays in which room,
// how long a file and a package may be, what the documents promise, and how tightly the unit is sandboxed.
//
// In goes the source tree, read with the go command; out comes a sentence for each rule that is broken. The rules on
// imports are the tables of CONTRIBUTING.md, read from there, so that there is one of each.
//
// It starts nothing, needs no root and changes nothing (but docs/configuration.md, with -update).
//
// Start reading at TestPackagesImportOnlyWhatTheTableAllows.
package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// module is the path of the product's module.
const module = "multinicd"

// rules are the two tables of CONTRIBUTING.md. A key covers the packages below it; the longest one counts.
type rules struct {
	rooms     map[string][]string // room -> rooms it may import; "anything" allows all
	libraries map[string][]string // library -> rooms it stays in; "test files" are the tests of any room
	testsOnly []string            // rooms that product code must not import
}

func readRules(t *testing.T) rules {
	t.Helper()
	r := rules{rooms: map[string][]string{}, libraries: map[string][]string{}}
	for _, row := range table(t, "CONTRIBUTING.md", "Who imports whom") {
		for _, room := range codes(row[0]) {
			r.rooms[room] = codes(row[1])
			if strings.Contains(row[1], "anything") {
				r.rooms[room] = []string{"anything"}
			}
			if strings.Contains(row[2], "for tests only") {
				r.testsOnly = append(r.testsOnly, room)
			}
		}
	}
	for _, row := range table(t, "CONTRIBUTING.md", "Which library stays where") {
		library := codes(row[0])[0]
		r.libraries[library] = codes(row[1])
		if strings.Contains(row[1], "test files") {
			r.libraries[library] = []string{"test files"}
		}
	}
	return r
}

// mistake says what is wrong with an import of product code, or of its tests; "" if nothing is.
func (r rules) mistake(room, imported string, inTests bool) string {
	if room == "test" {
		return ""
	}
	if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
		allowed, theirRoom := r.rooms[room], longest(r.rooms, ours)
		switch {
		case inTests:
			return "" // a test may set up what it likes of ours
		case slices.Contains(r.testsOnly, theirRoom) && !slices.Contains(r.testsOnly, room):
			return theirRoom + " is for tests only"
		case theirRoom != room && !slices.Contains(allowed, theirRoom) && !slices.Contains(allowed, "anything"):
			return room + " may import " + or(strings.Join(allowed, ", "), "nothing of ours")
		}
		return ""
	}
	library := longest(r.libraries, imported)
	allowed := r.libraries[library]
	within := func(of string) bool { return room == of || strings.HasPrefix(room, of+"/") }
	if library == "" || slices.ContainsFunc(allowed, within) || inTests && slices.Contains(allowed, "test files") {
		return ""
	}
	return library + " stays in " + or(strings.Join(allowed, ", "), "test")
}

func TestPackagesImportOnlyWhatTheTableAllows(t *testing.T) {
	r := readRules(t)
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		room := longest(r.rooms, name)
		if room == "" {
			t.Errorf("%s has no room in CONTRIBUTING.md; which one is it?", name)
			continue
		}
		for _, imported := range p.Imports {
			if m := r.mistake(room, imported, false); m != "" {
				t.Errorf("%s imports %s, but %s", name, imported, m)
			}
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			if m := r.mistake(room, imported, true); m != "" {
				t.Errorf("a test of %s imports %s, but %s", name, imported, m)
			}
		}
	}
}

// The libraries that were chosen for the product are not quietly replaced by code of our own.
func TestEachRoomUsesTheLibraryThatItIsNamedFor(t *testing.T) {
	r, all := readRules(t), packages(t)
	for library, rooms := range r.libraries {
		for _, room := range rooms {
			if room == "test files" {
				continue
			}
			used := slices.ContainsFunc(all, func(p pkg) bool {
				name := strings.TrimPrefix(p.ImportPath, module+"/")
				return (name == room || strings.HasPrefix(name, room+"/")) &&
					slices.ContainsFunc(p.Imports, func(i string) bool { return i == library || strings.HasPrefix(i, library+"/") })
			})
			if !used {
				t.Errorf("%s is said to be of %s, which does not import it", library, room)
			}
		}
	}
	for _, library := range []string{"github.com/coreos/go-systemd", "github.com/godbus/dbus", "github.com/vishvananda/netlink", "k8s.io/client-go", "github.com/BurntSushi/toml", "github.com/urfave/cli"} {
		if rooms := r.libraries[library]; len(rooms) == 0 || rooms[0] == "test files" {
			t.Errorf("%s is to be kept, and has the rooms %q", library, rooms)
		}
	}
}

func TestTheTableRefuses(t *testing.T) {
	r := readRules(t)
	for _, c := range []struct {
		name, room, imported string
		inTests, want        bool
	}{
		{"plan reading the machine", "plan", "multinicd/host", false, true},
		{"plan naming a NIC", "plan", "multinicd/nic", false, false},
		{"the host deciding", "host", "multinicd/plan", false, true},
		{"one backend using the other", "ifcfg", "multinicd/netplan", false, true},
		{"netplan knowing ifcfg files", "netplan", "multinicd/ifcfg", false, true},
		{"netplan having NetworkManager make a change", "netplan", "multinicd/networkmanager", false, false},
		{"what all dialects share knowing one", "networkmanager", "multinicd/ifcfg", false, true},
		{"the daemon knowing a backend", "internal/daemon", "multinicd/netplan", false, true},
		{"the daemon knowing Kubernetes", "internal/daemon", "k8s.io/client-go/rest", false, true},
		{"the node's side of the API server", "internal/kube", "k8s.io/client-go/rest", false, false},
		{"the credential knowing the connection", "internal/kube/credential", "multinicd/internal/kube", false, true},
		{"netlink where links are read", "host/kernel", "github.com/vishvananda/netlink/nl", false, false},
		{"netlink beside the files", "host", "github.com/vishvananda/netlink/nl", false, true},
		{"the kernel asking a service", "host/kernel", "multinicd/host/bus", false, true},
		{"what the kubelet is told asking who configures", "host/kubelet", "multinicd/host/survey", false, true},
		{"the files asking who configures", "host", "multinicd/host/survey", false, true},
		{"netlink where neighbours are asked", "host/neighbour", "github.com/vishvananda/netlink", false, true},
		{"what asks neighbours looking at links", "host/neighbour", "multinicd/host/kernel", false, true},
		{"netlink elsewhere", "internal/daemon", "github.com/vishvananda/netlink", false, true},
		{"D-Bus elsewhere", "netplan", "github.com/godbus/dbus/v5", false, true},
		{"running a program", "host", "os/exec", false, true},
		{"a test running a program", "host", "os/exec", true, true},
		{"the test bed running a program", "test", "os/exec", false, false},
		{"a fake machine in the product", "internal/apply", "multinicd/internal/hosttest", false, true},
		{"a fake machine in a test", "internal/apply", "multinicd/internal/hosttest", true, false},
		{"the product using the test bed", "cmd/multinicd", "multinicd/test/bed", false, true},
		{"go-cmp in the product", "plan", "github.com/google/go-cmp/cmp", false, true},
		{"go-cmp in a test", "plan", "github.com/google/go-cmp/cmp", true, false},
		{"what the node is asked for knowing the loop", "internal/daemon/asked", "multinicd/internal/daemon", false, true},
		{"what the node is asked for knowing the transaction", "internal/daemon/asked", "multinicd/internal/apply", false, true},
		{"when a NIC is tried again knowing what is asked for", "internal/daemon/pace", "multinicd/internal/daemon/asked", false, true},
		{"what is said of the node knowing the loop", "internal/daemon/status", "multinicd/internal/daemon", false, true},
		{"what carries a report knowing what it says", "internal/daemon/outbox", "multinicd/internal/daemon/status", false, true},
		{"what decides for the host knowing the loop", "internal/node", "multinicd/internal/daemon", false, true},
		{"the daemon knowing who decides for the host", "internal/daemon", "multinicd/internal/node", false, true},
		{"what decides for the host choosing a backend", "internal/node", "multinicd/netplan", false, false},
		{"what decides for the host parsing flags", "internal/node", "github.com/urfave/cli/v2", false, true},
		{"what decides for the host knowing Kubernetes", "internal/node", "k8s.io/client-go/rest", false, true},
		{"the wiring", "cmd/multinicd", "multinicd/netplan", false, false},
		{"a loop of the bridge knowing another", "internal/bridge/status", "multinicd/internal/bridge/jobs", false, true},
		{"a loop of the bridge gathering", "internal/bridge/status", "multinicd/internal/bridge/gather", false, false},
		{"what is below the loops knowing one", "internal/bridge/gather", "multinicd/internal/bridge/status", false, true},
		{"a loop of the bridge knowing the wiring", "internal/bridge/jobs", "multinicd/internal/bridge", false, true},
		{"a loop of the bridge speaking to the API server", "internal/bridge/jobs", "k8s.io/client-go/tools/events", false, false},
		{"a fixture of the bridge's tests in a loop", "internal/bridge/jobs", "multinicd/internal/bridge/bridgetest", false, true},
		{"the one writer knowing who publishes", "internal/publish", "multinicd/internal/intake", false, true},
		{"the HTTP door writing by the one writer", "internal/intake", "multinicd/internal/publish", false, false},
		{"the HTTP door knowing the bridge", "internal/intake", "multinicd/internal/bridge", false, true},
		{"a loop of the bridge writing specs", "internal/bridge/status", "multinicd/internal/publish", false, true},
		{"the bridge writing YAML for a host", "cmd/bridge", "multinicd/netplan", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := r.mistake(c.room, c.imported, c.inTests); (got != "") != c.want {
				t.Errorf("%s importing %s: refused %t (%s), want %t", c.room, c.imported, got != "", got, c.want)
			}
		})
	}
}

// The daemon must not grow by what only the bridge needs, however indirectly.
func TestTheDaemonDoesNotLinkTheBridge(t *testing.T) {
	heavy := []string{"sigs.k8s.io/controller-runtime", "k8s.io/client-go/kubernetes", "k8s.io/client-go/informers",
		"k8s.io/client-go/dynamic/dynamicinformer", "github.com/prometheus/client_golang",
		module + "/internal/bridge", module + "/internal/publish", module + "/internal/intake"}
	for dep := range strings.Lines(goList(t, "-deps", "./cmd/multinicd")) {
		dep = strings.TrimSpace(dep)
		if slices.ContainsFunc(heavy, func(h string) bool { return dep == h || strings.HasPrefix(dep, h+"/") }) {
			t.Errorf("cmd/multinicd links %s, which is the bridge's", dep)
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// pkg is what `go list -json` tells of a package, as far as the rules need it.
type pkg struct {
	ImportPath, Doc                             string
	GoFiles, Imports, TestImports, XTestImports []string
}

// packages lists the packages of the module; one that does not build is listed all the same.
func packages(t *testing.T) []pkg {
	t.Helper()
	var all []pkg
	dec := json.NewDecoder(strings.NewReader(goList(t, "-e", "-json=ImportPath,Doc,GoFiles,Imports,TestImports,XTestImports", "./...")))
	for {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("reading what go list says: %v", err)
		}
		all = append(all, p)
	}
}

func goList(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}

// longest gives the longest key that is name or one of its parents; "" if none is.
func longest(in map[string][]string, name string) string {
	for p := name; p != "." && p != "/"; p = path.Dir(p) {
		if _, ok := in[p]; ok {
			return p
		}
	}
	return ""
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
