package packages

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/artifact"
	"multinicd/test/bed/kubelet"
	"multinicd/test/bed/page"
)

// placeholder stands in SECURITY.md and in docs/verify.md for the fingerprint of the key that signs.
const placeholder = "0000 0000 0000 0000 0000  0000 0000 0000 0000 0000"

// released is a release of this version, for this machine's architecture and hardly compressed, with repositories of it.
var released struct {
	once        sync.Once
	source      string   // a repository of git, in which the release is a commit
	files       string   // the folder that docs/verify.md is about, with repo/
	fingerprint string   // in groups of four, as gpg prints it
	env         []string // leads to the secret key
	err         error
}

// release makes it as docs/verify.md tells whoever publishes.
func release(t *testing.T) {
	t.Helper()
	source(t)
	released.once.Do(func() { released.err = makeRelease(t) })
	if released.err != nil {
		t.Fatal(released.err)
	}
}

func makeRelease(t *testing.T) error {
	dist, keys := filepath.Join(built.dir, "release"), filepath.Join(built.dir, "keys")
	released.source, released.env = filepath.Join(built.dir, "source"), []string{"GNUPGHOME=" + keys, "BUILDER=https://builder.example.org/1"}
	if err := copyTree(t, filepath.Join(built.dir, "tree"), released.source); err != nil {
		return err
	}
	for _, dir := range []string{keys, dist} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	if _, err := script(t, released.source, released.env, `gpg --batch --quiet --passphrase '' --quick-generate-key 'who publishes <who@example.org>' rsa3072 sign`); err != nil {
		return err
	}
	out, err := script(t, released.source, released.env, `gpg --batch --quiet --fingerprint who@example.org 2>/dev/null | sed -n 's/^ *\([0-9A-F ]\{50\}\)$/\1/p'`)
	if err != nil {
		return err
	}
	released.fingerprint = strings.TrimSpace(out)
	// No settings of the user, and the time that packages of tests have.
	commit := `sed -i "s/` + placeholder + `/$FINGERPRINT/" SECURITY.md docs/verify.md
git init --quiet; git add --all; git -c user.name=who -c user.email=who@example.org commit --quiet --message='docs: name the key'`
	date := "@" + artifact.PackageEpoch + " +0000"
	env := append(released.env, "FINGERPRINT="+released.fingerprint, "HOME="+keys, "GIT_COMMITTER_DATE="+date, "GIT_AUTHOR_DATE="+date)
	if _, err := script(t, released.source, env, commit); err != nil {
		return err
	}
	for _, target := range []string{"release", "repo"} {
		if err := artifact.RunMake(t.Context(), released.source, dist, released.env, target, "GPG_KEY=who@example.org", "GOARCHES=amd64"); err != nil {
			return err
		}
	}
	released.files = filepath.Join(dist, "release", built.this)
	_, err = script(t, dist, released.env, "mv repo "+released.files+"; gpgconf --kill all")
	return err
}

// script runs lines of bash in a folder, to their first failure, and gives all that they print.
func script(t *testing.T, dir string, env []string, lines string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", "exec 2>&1\n"+lines)
	cmd.Dir, cmd.Env = dir, append(append(os.Environ(), "LC_ALL=C.UTF-8"), env...)
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("running\n%s: %w\n%s", lines, err, out)
	}
	return string(out), err
}

// verifier is somebody who follows docs/verify.md in a copy of the release.
type verifier struct {
	*testing.T
	dir string
	env []string
}

func newVerifier(t *testing.T) *verifier {
	t.Helper()
	release(t)
	helm, err := kubelet.Helm(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir() // is short enough for the sockets of gpg
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	v := &verifier{T: t, dir: filepath.Join(t.TempDir(), "files"), env: []string{"HOME=" + home, "GNUPGHOME=" + home, "PATH=" + filepath.Dir(helm) + ":" + os.Getenv("PATH")}}
	// Keys that rpm is told to trust are to be this test's alone.
	if err := os.WriteFile(filepath.Join(home, ".rpmmacros"), []byte("%_dbpath "+home+"/rpmdb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := script(t, "/", nil, "cp -r --reflink=auto "+released.files+" "+v.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() }) //nolint:errcheck // it ends with its folder too
	return v
}

// steps are those of a section, with the fingerprint that the release has put into the page.
func (v *verifier) steps(section string) []page.Step {
	v.Helper()
	steps := page.Steps(v.T, "docs/verify.md", section)
	for i := range steps {
		steps[i].Want = strings.ReplaceAll(steps[i].Want, placeholder, released.fingerprint)
	}
	return steps
}

// follow does what a section says, and gives what it prints up to its end or its first failure.
func (v *verifier) follow(section string) (string, error) {
	v.Helper()
	var all strings.Builder
	for _, step := range v.steps(section) {
		out, err := script(v.T, v.dir, v.env, step.Script)
		all.WriteString(out)
		if err != nil {
			return all.String(), err
		}
		if lacking := step.Lacking(out); lacking != nil {
			v.Errorf("the page says that\n%s prints the lines %q; it prints\n%s", step.Script, lacking, out)
		}
	}
	return all.String(), nil
}

// sections are those with commands that find a change in a file, in their order.
var sections = []string{"The key", "The files", "On Debian", "On RHEL and its relatives", "The images", "The chart", "Where it was built from"}

func TestAReleaseIsWhatTheVerifyPageSays(t *testing.T) {
	t.Parallel()
	v := newVerifier(t)
	for _, section := range sections {
		out, err := v.follow(section)
		if err != nil {
			t.Errorf("%s: %v", section, err)
		}
		t.Logf("%s:\n%s", section, out)
	}
	// The page is to name what there is, and there is to be nothing that nobody can check.
	listed, err := os.ReadFile(filepath.Join(v.dir, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	if got := bytes.Count(listed, []byte("\n")); got != 9 {
		t.Errorf("the release has %d files, want a deb, an rpm, two images with their bills, the chart, and the plugin with its manifest:\n%s", got, listed)
	}
}

// Whoever changes one byte of a file is found by the section of that file. What gives it away is in the words of the tool.
func TestAChangedByteIsFound(t *testing.T) {
	t.Parallel()
	v := newVerifier(t)
	if _, err := v.follow("The key"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, section, want string }{
		{"multinicd_*_amd64.deb", "The files", `multinicd_.*\.deb: FAILED`},
		{"multinicd-*.x86_64.rpm", "The files", `multinicd-.*\.rpm: FAILED`},
		{"multinicd_*.oci.tar", "The files", `multinicd_.*\.oci\.tar: FAILED`},
		{"multinicd_*_amd64.spdx.json", "The files", `multinicd_.*\.spdx\.json: FAILED`},
		{"SHA256SUMS", "The files", `BAD signature`},
		{"SHA256SUMS.asc", "The files", `BAD signature|invalid|no signature|CRC error`},
		{"repo/apt/dists/stable/InRelease", "On Debian", `BAD signature|invalid|CRC error`},
		{"repo/apt/pool/main/multinicd_*_amd64.deb", "On Debian", `multinicd_.*\.deb: FAILED`},
		{"repo/rpm/x86_64/multinicd-*.x86_64.rpm", "On RHEL and its relatives", `rpm: .*NOT OK`},
		{"repo/rpm/x86_64/repodata/repomd.xml", "On RHEL and its relatives", `BAD signature`},
		{"signatures/multinic-bridge@*/signature-1", "The images", `Error verifying signature`},
		{"multinic-*.tgz", "The chart", `sha256 sum does not match`},
		{"multinic-*.tgz.prov", "The chart", `signature|base64`},
		{"provenance.json", "Where it was built from", `BAD signature`},
		{"multinicd_*_amd64.deb", "Where it was built from", `multinicd_.*\.deb: FAILED`},
	} {
		t.Run(c.file+", "+c.section, func(t *testing.T) {
			paths, err := filepath.Glob(filepath.Join(v.dir, c.file))
			if err != nil || len(paths) == 0 {
				t.Fatalf("there is no %s (%v)", c.file, err)
			}
			for _, path := range paths {
				whole, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				changed := bytes.Clone(whole)
				changed[len(changed)/2] ^= 1
				if err := os.WriteFile(path, changed, 0o600); err != nil {
					t.Fatal(err)
				}
				defer os.WriteFile(path, whole, 0o600) //nolint:errcheck // the next row says so
			}
			if out, err := v.follow(c.section); err == nil || !regexp.MustCompile(c.want).MatchString(err.Error()) {
				t.Errorf("a changed %s gives %v, want a failure with %q; before that\n%s", c.file, err, c.want, out)
			}
			if err := os.RemoveAll(filepath.Join(v.dir, "image")); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A file of another image, moved under the name of ours together with the checksums, has no signature of its manifest.
func TestAnotherImageIsFound(t *testing.T) {
	v := newVerifier(t)
	if _, err := v.follow("The key"); err != nil {
		t.Fatal(err)
	}
	if _, err := script(t, v.dir, nil, "mv multinicd_"+built.this+".oci.tar multinic-bridge_"+built.this+".oci.tar\n"+
		"ours=(signatures/multinic-bridge@*/signature-1); for d in signatures/multinicd@*; do cp -r ${ours[0]%/*} ${d/multinicd@/multinic-bridge@}; done"); err != nil {
		t.Fatal(err)
	}
	if out, err := v.follow("The images"); err == nil || !strings.Contains(err.Error(), "does not match") {
		t.Errorf("got %v, want a failure that says that the digest does not match; before that\n%s", err, out)
	}
}

// What nobody built is not signed, nor what was changed after it was built; and no release has a key that SECURITY.md does not name.
func TestWhatIsNotToBeSignedIsRefused(t *testing.T) {
	t.Parallel()
	release(t)
	deb := "multinicd_" + built.this + "_amd64.deb"
	for _, c := range []struct{ name, before, target, want string }{
		{"a stray package", "cp " + deb + " evil_1.0_amd64.deb", "repo", "evil_1.0_amd64.deb"},
		{"a package that was changed", "echo >>" + deb, "repo", deb},
		{"packages without a list", "rm SHA256SUMS", "repo", "nothing was signed"},
		{"a key that is not in SECURITY.md", "", "release BUILDER=https://builder.example.org/1", "SECURITY.md does not have the fingerprint"},
		{"a release without a key", "", "release GPG_KEY= BUILDER=https://builder.example.org/1", "a release needs a key that lasts"},
		{"a release by nobody", "", "release", "names who builds"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dist := t.TempDir()
			if _, err := script(t, dist, nil, "cp "+filepath.Join(built.dir, "release")+"/{SHA256SUMS,*.deb} .\n"+c.before); err != nil {
				t.Fatal(err)
			}
			tree := filepath.Join(built.dir, "tree")
			var err error
			if args := strings.Fields(c.target); args[0] == "release" {
				// The script alone: the packages have been built.
				_, err = script(t, tree, append(released.env, "GPG_KEY=who@example.org", "VERSION="+built.this, "BUILDER="), strings.Join(append(args[1:], "packaging/release.sh", dist), " "))
			} else {
				err = artifact.RunMake(t.Context(), tree, dist, released.env, append(args, "GPG_KEY=who@example.org")...)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a failure that says %q", err, c.want)
			}
			if _, err := os.Stat(filepath.Join(dist, "repo")); err == nil {
				t.Error("there is a repository")
			}
		})
	}
}

// What `make repo` prints is what somebody can compare before it goes out.
func TestTheRepositorySaysWhatItSigns(t *testing.T) {
	t.Parallel()
	release(t)
	dist := t.TempDir()
	if _, err := script(t, dist, nil, "cp "+filepath.Join(built.dir, "release")+"/{SHA256SUMS,*.deb} ."); err != nil {
		t.Fatal(err)
	}
	out, err := script(t, dist, append(released.env, "GPG_KEY=who@example.org"), bed.Path(t, "packaging/repo/build.sh")+" .")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	name := "multinicd_" + built.this + "_amd64.deb"
	sum := regexp.MustCompile(`(?m)^(\w+)  ` + regexp.QuoteMeta(name) + "$").FindSubmatch(sums)
	if sum == nil || !regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(name)+` +`+regexp.QuoteMeta(built.this)+` +`+string(sum[1])+"$").MatchString(out) {
		t.Errorf("%s is not in the list that was printed:\n%s", name, out)
	}
	if !strings.Contains(out, "signing with "+strings.ReplaceAll(released.fingerprint, " ", "")) {
		t.Errorf("the key is not named:\n%s", out)
	}
}
