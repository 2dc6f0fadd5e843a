package packages

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/test/bed"
	"multinicd/test/bed/artifact"
)

// both is what either package installs, beside its documentation: mode and path. The rpm has a preset too, and each has a
// folder of its own for completions of zsh.
var both = []string{
	"-rw-r--r-- /etc/multinicd/multinicd.toml",
	"-rw-r--r-- /usr/lib/systemd/system/multinicd-recover.service",
	"-rw-r--r-- /usr/lib/systemd/system/multinicd.service",
	"-rw-r--r-- /usr/share/bash-completion/completions/multinicd",
	"-rw-r--r-- /usr/share/fish/vendor_completions.d/multinicd.fish",
	"-rw-r--r-- /usr/share/man/man5/multinicd.toml.5.gz",
	"-rw-r--r-- /usr/share/man/man8/multinicd.8.gz",
	"-rw-r--r-- /usr/share/multinicd/multinicbizconfig.schema.json",
	"-rw-r--r-- /usr/share/multinicd/multinicd.schema.json",
	"-rw-r--r-- /usr/share/multinicd/multinicnodeconfig.schema.json",
	"-rw-r--r-- /usr/share/multinicd/multinicnoderun.schema.json",
	"-rwxr-xr-x /usr/bin/multinicd",
}

func TestBothFormatsInstallTheSame(t *testing.T) {
	build(t)
	for _, name := range files() {
		path := filepath.Join(built.dir, name)
		var listing string
		var want []string
		if strings.HasSuffix(name, ".deb") {
			listing = output(t, "dpkg-deb", "--contents", path)
			want = append(slices.Clone(both), "-rw-r--r-- /usr/share/zsh/vendor-completions/_multinicd")
		} else {
			listing = output(t, "rpm", "-qp", "--queryformat", `[%{FILEMODES:perms} root/root %{FILESIZES} 0 0 %{FILENAMES}\n]`, path)
			want = slices.Insert(slices.Clone(both), 1, "-rw-r--r-- /usr/lib/systemd/system-preset/50-multinicd.preset")
			want = append(want, "-rw-r--r-- /usr/share/zsh/site-functions/_multinicd")
		}
		var got []string
		for line := range strings.Lines(listing) {
			f := strings.Fields(line)
			file := strings.TrimPrefix(f[5], ".")
			if f[1] != "root/root" {
				t.Errorf("%s: %s belongs to %s", name, file, f[1])
			}
			if f[0][0] != 'd' && !strings.HasPrefix(file, "/usr/share/doc/") && !strings.HasPrefix(file, "/usr/share/lintian/") {
				got = append(got, f[0]+" "+file)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		pages, err := filepath.Glob(bed.Path(t, "docs/*.md")) // all of them, since they lead to each other
		if err != nil || len(pages) < 10 {
			t.Fatalf("the pages are %q (%v)", pages, err)
		}
		korean, err := filepath.Glob(bed.Path(t, "docs/ko/*.md"))
		if err != nil || len(korean) < 10 {
			t.Fatalf("the Korean pages are %q (%v)", korean, err)
		}
		for _, page := range append(append(pages, korean...), "examples/worker-node-01.yaml", "LICENSES") {
			page = strings.TrimPrefix(page, bed.Path(t, "docs")+"/")
			if !strings.Contains(listing, "/usr/share/doc/multinicd/"+page) {
				t.Errorf("%s does not have the page %s", name, page)
			}
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %.1f MB, hardly compressed", name, float64(info.Size())/1e6)
	}
}

func TestTheInstallPageListsEveryFile(t *testing.T) {
	page, err := os.ReadFile(bed.Path(t, "docs/install.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range both {
		_, path, _ := strings.Cut(file, " ")
		if !regexp.MustCompile("(?m)^\\| .*/" + regexp.QuoteMeta(filepath.Base(path)) + "`.* \\|").Match(page) {
			t.Errorf("docs/install.md does not list %s", path)
		}
	}
}

// The other architecture is built, not run: there is no machine for it here.
func TestTheBinariesAreStaticAndOfTheirArchitecture(t *testing.T) {
	build(t)
	for i, want := range []string{"amd64", "arm64", "x86_64", "aarch64"} {
		path, got := filepath.Join(built.dir, files()[i]), ""
		if strings.HasSuffix(path, ".deb") {
			got = output(t, "dpkg-deb", "--field", path, "Architecture")
		} else {
			got = output(t, "rpm", "-qp", "--queryformat", "%{ARCH}", path)
		}
		if strings.TrimSpace(got) != want {
			t.Errorf("%s says that it is for %s, want %s", files()[i], got, want)
		}
	}
	for name, want := range map[string]elf.Machine{files()[0]: elf.EM_X86_64, files()[1]: elf.EM_AARCH64} {
		tree := t.TempDir()
		output(t, "dpkg-deb", "--extract", filepath.Join(built.dir, name), tree)
		binary, err := os.Open(filepath.Join(tree, "usr/bin/multinicd"))
		if err != nil {
			t.Fatal(err)
		}
		defer binary.Close()
		f, err := elf.NewFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		if f.Machine != want {
			t.Errorf("%s has a binary for %v, want %v", name, f.Machine, want)
		}
		if f.Section(".interp") != nil || f.Section(".symtab") != nil {
			t.Errorf("the binary of %s is linked dynamically, or has symbols", name)
		}
	}
}

// The second build is made in another folder, by a user with other habits.
func TestTwoBuildsAreEqual(t *testing.T) {
	t.Parallel()
	build(t)
	again, dist := filepath.Join(t.TempDir(), "elsewhere"), t.TempDir()
	if err := copyTree(t, filepath.Join(built.dir, "tree"), again); err != nil {
		t.Fatal(err)
	}
	env := []string{"TZ=Pacific/Auckland", "LC_ALL=C", "HOSTNAME=elsewhere", "DEB_BUILD_OPTIONS=parallel=7"}
	if err := artifact.RunMake(t.Context(), again, dist, env, "deb", "rpm", "GOARCHES=amd64"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{files()[0], files()[2]} {
		first, err := os.ReadFile(filepath.Join(built.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		second, err := os.ReadFile(filepath.Join(dist, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Errorf("two builds of %s differ (%d and %d bytes)", name, len(first), len(second))
		}
	}
}

func TestLintianAndRpmlintFindNoErrors(t *testing.T) {
	t.Parallel()
	build(t)
	out, err := exec.CommandContext(t.Context(), "lintian", "--allow-root", "--fail-on", "error,warning", filepath.Join(built.dir, files()[0])).CombinedOutput()
	if err != nil {
		t.Errorf("lintian: %v\n%s", err, out)
	}
	rpm := filepath.Join(built.dir, "repo/rpm/x86_64", files()[2])
	out, err = exec.CommandContext(t.Context(), "rpmlint", "--config", bed.Path(t, "packaging/rpm/rpmlint.toml"), rpm).CombinedOutput()
	if err != nil || !regexp.MustCompile(`[ ,]0 errors`).Match(out) {
		t.Errorf("rpmlint: %v\n%s", err, out)
	}
}

func TestTheRPMCanBeReadByRHEL8(t *testing.T) {
	build(t)
	rpm := filepath.Join(built.dir, "repo/rpm/x86_64", files()[2])
	// rpm 4.14 knows xz and gzip, RSA and SHA256.
	got := output(t, "rpm", "-qp", "--queryformat", `%{PAYLOADCOMPRESSOR} %{FILEDIGESTALGO} %{RSAHEADER:pgpsig}`, rpm)
	if !regexp.MustCompile(`^xz 8 RSA/SHA256,`).MatchString(got) {
		t.Errorf("got %q, want xz, digests 8 (SHA256) and a signature RSA/SHA256", got)
	}
}
