// Package packages proves what the user meets first: the packages, as `make deb rpm repo` builds them, on real hosts.
//
// In goes the source tree; packages of this version and of the next are built from it once, into a scratch folder, and
// installed by apt on Debian hosts and by dnf on a host that stands for RHEL, from repositories whose signatures count.
//
// It must not take a file from the tree past the packages: what is not packaged is not there.
//
// Start reading at build, then TestTheDebOnDebian and TestTheRPM.
package packages

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"multinicd/internal/config"
	"multinicd/test/bed"
	"multinicd/test/bed/artifact"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/prerequisite"
)

func TestMain(m *testing.M) {
	bed.InEachPart("TestTheDebOnDebian", "TestTheRPM")
	code := bed.Main(m, installed.Close)
	if built.dir != "" {
		if err := os.RemoveAll(built.dir); err != nil {
			fmt.Fprintln(os.Stderr, "cleaning up:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// built is what all tests of the package share.
var built struct {
	copied, made sync.Once
	dir          string // with the packages of both versions, repo/ and tree/
	this         string // version of the tree
	next         string
	err          error
}

// source copies the tree, because one that somebody works in changes between two builds.
func source(t *testing.T) {
	t.Helper()
	prerequisite.Require(t)
	tools(t)
	built.copied.Do(func() { built.err = copySource(t) })
	if built.err != nil {
		t.Fatal(built.err)
	}
}

// build makes the packages of this version for both architectures, those of the next version for this one, which also
// has another multinicd.toml, and the repositories. It takes 40 s.
func build(t *testing.T) {
	t.Helper()
	source(t)
	built.made.Do(func() { built.err = buildAll(t) })
	if built.err != nil {
		t.Fatal(built.err)
	}
}

// tools installs what packages are built and looked at with.
func tools(t *testing.T) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), bed.Path(t, "packaging/prerequisites.sh"), "deb", "rpm", "repo", "release", "test").CombinedOutput()
	if err != nil {
		t.Fatalf("installing what packages are built with: %v\n%s", err, out)
	}
}

func copySource(t *testing.T) (err error) {
	if built.dir, err = os.MkdirTemp("", "multinicd-packages-"); err != nil {
		return err
	}
	// apt on a host reads it as a user of its own.
	if err := os.Chmod(built.dir, 0o755); err != nil {
		return err
	}
	root := filepath.Join(built.dir, "tree")
	if err := copyTree(t, bed.Path(t, "."), root); err != nil {
		return err
	}
	version, err := os.ReadFile(filepath.Join(root, "VERSION"))
	if err != nil {
		return err
	}
	built.this = strings.TrimSpace(string(version))
	dot := strings.LastIndex(built.this, ".")
	patch, err := strconv.Atoi(built.this[dot+1:])
	if err != nil {
		return err
	}
	built.next = built.this[:dot+1] + strconv.Itoa(patch+1)
	return nil
}

func buildAll(t *testing.T) error {
	conffile := filepath.Join(built.dir, "next.toml")
	if err := os.WriteFile(conffile, append(config.Reference(), "\n# A line of the next version.\n"...), 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"deb", "rpm"},
		{"deb", "rpm", "VERSION=" + built.next, "GOARCHES=amd64", "CONFFILE=" + conffile},
		{"repo", "REPO_URL=" + folder},
	} {
		if err := artifact.RunMake(t.Context(), filepath.Join(built.dir, "tree"), built.dir, nil, args...); err != nil {
			return err
		}
	}
	return nil
}

// copyTree copies the sources, without what is built from them, with times of their own and the modes of a strict umask.
func copyTree(t *testing.T, from, to string) error {
	t.Helper()
	const script = `umask 077; mkdir "$2"; tar -C "$1" --exclude=./.git --exclude=./bin --exclude=./dist -c . | tar -C "$2" --no-same-permissions --touch -x`
	if out, err := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script, "bash", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copying the tree: %w\n%s", err, out)
	}
	return nil
}

// files are the names of the packages of this version.
func files() []string {
	return []string{
		"multinicd_" + built.this + "_amd64.deb", "multinicd_" + built.this + "_arm64.deb",
		"multinicd-" + built.this + "-1.x86_64.rpm", "multinicd-" + built.this + "-1.aarch64.rpm",
	}
}
