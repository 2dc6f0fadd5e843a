package examples

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"multinicd/internal/config"
)

// cloudConfig is what our examples use of cloud-init.
type cloudConfig struct {
	Update   bool       `json:"package_update"`
	Packages []string   `json:"packages"`
	Boot     [][]string `json:"bootcmd"`
	Files    []file     `json:"write_files"`
	Run      [][]string `json:"runcmd"`
}

type file struct{ Path, Permissions, Content string }

var join = Join{
	Node: "worker-node-01", Server: "https://192.0.2.1:6443", CAHash: "sha256:00", File: []byte("secret.b.c\n-----BEGIN-----\n"),
	Expires: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC),
}

// cloudInit reads the examples as cloud-init does; an unknown key is refused.
func cloudInit(t *testing.T) map[string]cloudConfig {
	t.Helper()
	paths, err := filepath.Glob("cloud-init/*.yaml")
	if err != nil || len(paths) != 5 {
		t.Fatalf("got examples %q, %v, want five", paths, err)
	}
	all := map[string]cloudConfig{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		filled := string(text)
		if strings.HasSuffix(name, "-token") {
			if filled, err = join.Fill(filled); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
		}
		if first, _, _ := strings.Cut(filled, "\n"); first != "#cloud-config" {
			t.Errorf("%s begins with %q, and is nothing to cloud-init", path, first)
		}
		var c cloudConfig
		if err := yaml.UnmarshalStrict([]byte(filled), &c); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		all[name] = c
	}
	return all
}

func (c cloudConfig) file(path string) file {
	i := slices.IndexFunc(c.Files, func(f file) bool { return f.Path == path })
	if i < 0 {
		return file{}
	}
	return c.Files[i]
}

func TestTheSecretIsRootsAlone(t *testing.T) {
	for name, c := range cloudInit(t) {
		holds := func(text string) bool { return strings.Contains(text, "secret.b.c") }
		for _, f := range c.Files {
			want := file{"/run/multinicd-join/file", "0600", string(join.File)}
			if holds(f.Content) && f != want {
				t.Errorf("%s: got %+v, want %+v", name, f, want)
			}
		}
		for _, command := range slices.Concat(c.Boot, c.Run) {
			if slices.ContainsFunc(command, holds) {
				t.Errorf("%s: the secret is in the command line of %q", name, command)
			}
		}
		if secret := c.file("/run/multinicd-join/file").Path != ""; secret != strings.HasSuffix(name, "-token") {
			t.Errorf("%s: got secret %v", name, secret)
		}
	}
}

// The parts by which a machine joins are the same, whatever it is and whether multinicd is installed already.
func TestTheExamplesJoinInOneWay(t *testing.T) {
	all := cloudInit(t)
	want := all["join-token"]
	for _, name := range []string{"apt-token", "dnf-token"} {
		got := cloudConfig{Boot: all[name].Boot, Files: []file{all[name].file(want.Files[0].Path)}, Run: all[name].Run[1:]}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s joins in another way (-join-token +%[1]s):\n%s", name, diff)
		}
		if want := `node = "worker-node-01"`; !strings.Contains(all[name].file("/etc/multinicd/multinicd.toml").Content, want) {
			t.Errorf("%s does not tell the daemon %s", name, want)
		}
	}
	units := func(c cloudConfig) (out []file) {
		for _, f := range c.Files {
			if strings.HasPrefix(f.Path, "/etc/systemd/") || strings.HasPrefix(f.Path, "/etc/multinicd/") {
				out = append(out, f)
			}
		}
		return out
	}
	if diff := cmp.Diff(units(all["apt-kubelet"]), units(all["dnf-kubelet"])); diff != "" || len(units(all["apt-kubelet"])) != 3 {
		t.Errorf("the two kubelet examples differ (-apt +dnf):\n%s", diff)
	}
	if diff := cmp.Diff(all["apt-kubelet"].Run, all["dnf-kubelet"].Run); diff != "" {
		t.Errorf("the two kubelet examples run different commands (-apt +dnf):\n%s", diff)
	}
}

func TestTheSettingsInTheExamplesAreTaken(t *testing.T) {
	for name, c := range cloudInit(t) {
		text := c.file("/etc/multinicd/multinicd.toml").Content
		if name == "join-token" {
			continue
		}
		if _, err := config.Parse(name, []byte(text)); err != nil || text == "" {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff([]string{"multinicd"}, c.Packages); diff != "" || !c.Update {
			t.Errorf("%s: package_update is %v, packages (-want +got):\n%s", name, c.Update, diff)
		}
	}
}

func TestATemplateThatCannotBeFilledInIsRefused(t *testing.T) {
	for name, test := range map[string]struct{ template, want string }{
		"no place for the file":       {"node: @NODE@\n", "once, on a line of its own"},
		"two places":                  {"@JOIN_FILE@\n@JOIN_FILE@\n", "once, on a line of its own"},
		"a place within a line":       {"x: @JOIN_FILE@\n", "once, on a line of its own"},
		"a marker that nobody knows":  {"@JOIN_FILE@\n@NODES@\n", "@NODES@"},
		"a place more, within a line": {"  @JOIN_FILE@\nx: \"@JOIN_FILE@\"\n", "once, on a line of its own"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := join.Fill(test.template)
			if !errors.Is(err, ErrTemplate) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestAFileIsIndentedAsItsMarker(t *testing.T) {
	got, err := join.Fill("a: |\n   @JOIN_FILE@\nb: \"@NODE@ @EXPIRES@\"\n")
	if diff := cmp.Diff("a: |\n   secret.b.c\n   -----BEGIN-----\nb: \"worker-node-01 2026-11-30T12:00:00Z\"\n", got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// Whatever stands in this folder is an example, and has a place in the index of docs/cloud-init.md.
func TestThePageNamesEveryExample(t *testing.T) {
	page, err := os.ReadFile("../docs/cloud-init.md")
	if err != nil {
		t.Fatal(err)
	}
	err = fs.WalkDir(os.DirFS("cloud-init"), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.Contains(string(page), "(../examples/cloud-init/"+path+")") {
			t.Errorf("docs/cloud-init.md does not lead to %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Who may make workloads in our two namespaces is the bridge, or every node. An example that says so by its form has people give that right.
func TestNoExampleRunsInOurNamespaces(t *testing.T) {
	paths, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for doc := range strings.SplitSeq(string(text), "\n---\n") {
			var o struct {
				Kind     string
				Metadata struct{ Name, Namespace string }
			}
			if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			switch o.Kind {
			case "MultiNicNodeConfig", "MultiNicBizConfig", "MultiNicNodeRun", "Role", "RoleBinding", "Namespace":
				continue // nothing that runs, nor as whom
			}
			ran++
			if o.Metadata.Namespace == "" || strings.HasPrefix(o.Metadata.Namespace, "multinic-system") || strings.HasPrefix(o.Metadata.Namespace, "multinic-nodes") {
				t.Errorf("%s has %s %s in the namespace %q", path, o.Kind, o.Metadata.Name, o.Metadata.Namespace)
			}
		}
	}
	if ran < 2 {
		t.Errorf("%d workloads and accounts were found", ran)
	}
}
