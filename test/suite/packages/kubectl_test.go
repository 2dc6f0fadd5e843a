package packages

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"multinicd/test/bed"
)

// plugin is a manifest of krew (krew.googlecontainertools.github.com/v1alpha2).
type plugin struct {
	APIVersion, Kind string
	Metadata         struct{ Name string }
	Spec             struct {
		Version, ShortDescription, Description, Caveats string
		Platforms                                       []struct {
			Selector         struct{ MatchLabels map[string]string }
			URI, SHA256, Bin string
		}
	}
}

// The programs in the archives do not matter here: the script takes what it is given.
func TestThePluginOfKubectlIsWhatItsManifestSays(t *testing.T) {
	version, err := os.ReadFile(bed.Path(t, "VERSION"))
	if err != nil {
		t.Fatal(err)
	}
	v := strings.TrimSpace(string(version))
	run := func(dist, version, url string) (string, error) {
		args := []string{dist}
		for _, arch := range []string{"amd64", "arm64"} {
			file := filepath.Join(t.TempDir(), "program")
			if err := os.WriteFile(file, []byte("of "+arch), 0o700); err != nil {
				t.Fatal(err)
			}
			args = append(args, arch+"="+file)
		}
		cmd := exec.CommandContext(t.Context(), bed.Path(t, "packaging/kubectl.sh"), args...)
		cmd.Env = append(os.Environ(), "VERSION="+version, "SOURCE_DATE_EPOCH=1700000000", "LICENSES="+bed.Path(t, "LICENSE"), "KREW_URL="+url)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	make := func() string {
		dist := t.TempDir()
		if out, err := run(dist, v, "https://packages.example.org/x"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return dist
	}
	for _, wrong := range [][3]string{{"1.2", "https://packages.example.org/x", "no semantic version"}, {v, "ftp://packages.example.org", "is not https://"}} {
		dist := t.TempDir()
		out, err := run(dist, wrong[0], wrong[1])
		if _, missing := os.Stat(filepath.Join(dist, "multinic.yaml")); err == nil || !strings.Contains(out, wrong[2]) || missing == nil {
			t.Errorf("%s from %s: %v, %v, it says %q", wrong[0], wrong[1], err, missing, out)
		}
	}
	dist := make()
	text, err := os.ReadFile(filepath.Join(dist, "multinic.yaml"))
	var p plugin
	if err == nil {
		err = yaml.Unmarshal(text, &p)
	}
	if err != nil {
		t.Fatal(err)
	}
	// What krew's own check asks for beside that has been looked at by tools/krew, which the script runs.
	s := p.Spec
	if p.Metadata.Name != "multinic" || s.Version != "v"+v || len(s.Platforms) != 2 {
		t.Fatalf("the manifest is another one:\n%s", text)
	}
	for i, arch := range []string{"amd64", "arm64"} {
		one := s.Platforms[i]
		name := fmt.Sprintf("kubectl-multinic_%s_linux_%s.tar.gz", v, arch)
		archive, err := os.ReadFile(filepath.Join(dist, name))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(archive)
		if one.URI != "https://packages.example.org/x/"+name || one.SHA256 != hex.EncodeToString(sum[:]) || one.Bin != "kubectl-multinic" ||
			!cmp.Equal(one.Selector.MatchLabels, map[string]string{"os": "linux", "arch": arch}) {
			t.Errorf("%s: the manifest says %+v", name, one)
		}
		want := []string{"LICENSE", "LICENSES", "completion/multinic-bridge.bash", "completion/multinic-bridge.fish", "completion/multinic-bridge.zsh", "kubectl-multinic", "kubectl_complete-multinic", "multinic-bridge.8"}
		if diff := cmp.Diff(want, within(t, archive, arch)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	again, err := os.ReadFile(filepath.Join(make(), "multinic.yaml"))
	if err != nil || !bytes.Equal(again, text) {
		t.Errorf("a second time it is another one (%v):\n%s", err, again)
	}
}

// within lists the files of an archive, and looks at the program and what completes it.
func within(t *testing.T, archive []byte, arch string) (names []string) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			slices.Sort(names)
			return names
		} else if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		program := regexp.MustCompile(`^kubectl`).MatchString(h.Name)
		if h.Uid != 0 || h.ModTime.Unix() != 1700000000 || (h.Mode == 0o755) != program {
			t.Errorf("%s: user %d, time %s, mode %o", h.Name, h.Uid, h.ModTime, h.Mode)
		}
		if data, err := io.ReadAll(r); err != nil || h.Name == "kubectl-multinic" && string(data) != "of "+arch {
			t.Errorf("%s is %q (%v)", h.Name, data, err)
		}
	}
}

// kubectl asks the script, which says by its last line whether names of files belong there.
func TestKubectlCompletesThePlugin(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(bed.Build(t, "./cmd/bridge"), filepath.Join(dir, "kubectl-multinic")); err != nil {
		t.Fatal(err)
	}
	for words, want := range map[string]string{
		"no":                  "node :4",
		"token un":            "unblock :4",
		"ru":                  ":4",
		"fleet --output ":     "json table wide yaml :4",
		"fleet --kubeconfig ": ":0",
	} {
		cmd := exec.CommandContext(t.Context(), bed.Path(t, "packaging/completion/kubectl_complete-multinic"), strings.Split(words, " ")...)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(strings.Fields(regexp.MustCompile(`(?m)\t.*$`).ReplaceAllString(string(out), "")), " ")
		if got != want {
			t.Errorf("%q: %q, want %q", words, got, want)
		}
	}
}
