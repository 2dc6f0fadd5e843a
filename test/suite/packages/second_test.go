package packages

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"multinicd/test/bed/artifact"
	"multinicd/test/bed/page"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/rootfs"
)

// builders are the Debian packages of a machine that builds, beside Go.
var builders = []string{"bash", "git", "make", "debhelper", "dpkg-dev", "fakeroot", "xz-utils", "rpm", "jq", "procps", "ca-certificates"}

// inBuilder makes a root file system of its own over a builder's, which is only read, with this machine's Go and the modules that it has, and runs a
// script in it. All of it ends with the script.
const inBuilder = `mount -t tmpfs tmpfs "$WORK/over"
mkdir "$WORK/over/upper" "$WORK/over/work"
mount -t overlay -o "lowerdir=$ROOT,upperdir=$WORK/over/upper,workdir=$WORK/over/work" overlay "$WORK/root"
for dir in "$(go env GOROOT)" "$GOMODCACHE" "$GOCACHE" "$FILES" "$SOURCE"; do
  mkdir -p "$WORK/root$dir"
  mount --bind "$dir" "$WORK/root$dir"
done
mount -t proc proc "$WORK/root/proc"
mount --rbind /dev "$WORK/root/dev"
cp -r "$FILES" "$WORK/root/files"
exec env -i LC_ALL=C.UTF-8 HOME=/root GOPROXY=off GOMODCACHE="$GOMODCACHE" GOCACHE="$GOCACHE" PATH="$(go env GOROOT)/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
  chroot "$WORK/root" bash -euo pipefail -c "cd /files; exec 2>&1
$SCRIPT"
`

// The release is made on this machine. The other release of Debian has another debhelper, another dpkg, another rpm and another xz. What Go compiles is
// taken from this machine's cache, since Go asks nobody which Debian it is on; then it is compiled there, too.
func TestASecondBuildOnTheOtherDebianGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	rounds := prerequisite.Long(false, true) // the root file system of the other Debian is made first, in minutes
	if len(rounds) == 0 {
		return
	}
	release(t)
	own, err := os.ReadFile("/etc/os-release")
	if err != nil {
		t.Fatal(err)
	}
	other := "trixie"
	if strings.Contains(string(own), "VERSION_CODENAME="+other+"\n") {
		other = "bookworm"
	}
	root, err := artifact.Make(t.Context(), t.Logf, "builder-"+other+"-"+artifact.Key(builders...), func(ctx context.Context, dir string) error {
		return rootfs.Debian(ctx, t.Logf, other, filepath.Join(dir, "root"), builders)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, fresh := range rounds {
		name := "with what is compiled"
		if fresh {
			name = "from nothing"
		}
		t.Run(other+" "+name, func(t *testing.T) {
			work, cache := t.TempDir(), output(t, "go", "env", "GOCACHE")
			if fresh {
				cache = t.TempDir()
			}
			for _, dir := range []string{"over", "root"} {
				if err := os.Mkdir(filepath.Join(work, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			step := page.Steps(t, "docs/verify.md", "A second build")[0]
			cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "--net", "--pid", "--fork", "--kill-child", "bash", "-euo", "pipefail", "-c", inBuilder)
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			cmd.Env = append(os.Environ(), "WORK="+work, "ROOT="+filepath.Join(root, "root"), "FILES="+released.files, "SOURCE="+released.source,
				"GOCACHE="+strings.TrimSpace(cache), "GOMODCACHE="+strings.TrimSpace(output(t, "go", "env", "GOMODCACHE")),
				"SCRIPT="+strings.ReplaceAll(step.Script, "https://git.example.org/multinicd.git", released.source))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if lacking := step.Lacking(string(out)); lacking != nil {
				t.Errorf("it does not print %q", lacking)
			}
			t.Logf("on %s:\n%s", other, out)
		})
	}
}
