package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"multinicd/internal/hosttest"
	"multinicd/internal/terminal/hostile"
)

func newHost(t *testing.T) *Host {
	t.Helper()
	h, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// listing gives the names in a folder of the host.
func listing(t *testing.T, h *Host, folder string) string {
	t.Helper()
	entries, err := os.ReadDir(h.Path(folder))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestWriteReadRemove(t *testing.T) {
	h := newHost(t)
	hosttest.Files(t, h.Root, map[string]string{"/etc/netplan/50-cloud-init.yaml": "theirs"})
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	for _, data := range []string{"first", "the second, longer", ""} {
		if err := h.Write("/etc/netplan/90-multinic1.yaml", []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		got, mode, err := h.Read("/etc/netplan/90-multinic1.yaml")
		if err != nil || string(got) != data || mode != 0o644 {
			t.Errorf("got %q, mode %o, error %v", got, mode, err)
		}
	}
	got, err := h.Glob("/etc/netplan/*.yaml")
	if diff := cmp.Diff([]string{"/etc/netplan/50-cloud-init.yaml", "/etc/netplan/90-multinic1.yaml"}, got); diff != "" || err != nil {
		t.Errorf("error %v, files (-want +got):\n%s", err, diff)
	}
	for range 2 {
		if err := h.Remove("/etc/netplan/90-multinic1.yaml"); err != nil {
			t.Error(err)
		}
	}
	if got := listing(t, h, "/etc/netplan"); got != "50-cloud-init.yaml" {
		t.Errorf("left are: %s", got)
	}
	if _, _, err := h.Read("/etc/netplan/90-multinic1.yaml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	if err := h.Write("/no/such/folder/file", nil, 0o600); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "writing /no/such/folder/file: ") {
		t.Errorf("got %v", err)
	}
}

func TestWriteDoesNotFollowLinks(t *testing.T) {
	h := newHost(t)
	hosttest.Files(t, h.Root, map[string]string{"/etc/shadow": "secret", "/etc/netplan/x": ""})
	if err := os.Symlink(h.Path("/etc/shadow"), h.Path("/etc/netplan/90-multinic1.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := h.Write("/etc/netplan/90-multinic1.yaml", []byte("ours"), 0o600); err == nil {
		t.Error("the write went through a symbolic link")
	}
	if data, _, _ := h.Read("/etc/shadow"); string(data) != "secret" {
		t.Errorf("the link's target is now %q", data)
	}
}

func TestReadRefusesWhatIsNoFile(t *testing.T) {
	h := newHost(t)
	hosttest.Files(t, h.Root, map[string]string{"/etc/x": ""})
	if err := unix.Mkfifo(h.Path("/etc/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"/etc/fifo", "/etc"} {
		if _, _, err := h.Read(p); err == nil {
			t.Errorf("%s was read", p)
		}
	}
}

func TestSweepRemovesWhatAKilledWriteLeft(t *testing.T) {
	h := newHost(t)
	hosttest.Files(t, h.Root, map[string]string{"/etc/netplan/.90-multinic1.yaml.tmp-123": "", "/etc/netplan/.other.tmp-1": "", "/etc/netplan/90-multinic1.yaml": ""})
	if err := h.Sweep("/etc/netplan", "90-multinic"); err != nil {
		t.Fatal(err)
	}
	if got := listing(t, h, "/etc/netplan"); got != ".other.tmp-1 90-multinic1.yaml" {
		t.Errorf("left are: %s", got)
	}
}

// Faults of the file system: the errno comes through, what was there stays, and no temporary file is left.
func TestWriteFaults(t *testing.T) {
	hosttest.NeedRoot(t, "to mount")
	for name, test := range map[string]struct {
		fault func(folder string) error
		want  syscall.Errno
	}{
		"full":      {fillUp, unix.ENOSPC},
		"read-only": {func(f string) error { return unix.Mount("", f, "", unix.MS_REMOUNT|unix.MS_RDONLY, "") }, unix.EROFS},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			hosttest.Files(t, h.Root, map[string]string{"/etc/netplan/x": ""})
			inMountNamespace(t, func() error {
				folder := h.Path("/etc/netplan")
				if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "size=64k"); err != nil {
					return err
				}
				if err := h.Write("/etc/netplan/90-multinic1.yaml", []byte("before"), 0o600); err != nil {
					return err
				}
				before := listing(t, h, "/etc/netplan")
				if err := test.fault(folder); err != nil {
					return err
				}
				before += strings.TrimPrefix(listing(t, h, "/etc/netplan"), before)
				if err := h.Write("/etc/netplan/90-multinic1.yaml", make([]byte, 100<<10), 0o600); !errors.Is(err, test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
				if got, _, err := h.Read("/etc/netplan/90-multinic1.yaml"); string(got) != "before" {
					t.Errorf("the file is now %q, error %v", got, err)
				}
				if got := listing(t, h, "/etc/netplan"); got != before {
					t.Errorf("left are %s, want %s", got, before)
				}
				return nil
			})
		})
	}
}

func fillUp(folder string) error {
	err := os.WriteFile(filepath.Join(folder, "ballast"), make([]byte, 60<<10), 0o600)
	if errors.Is(err, unix.ENOSPC) {
		return nil
	}
	return err
}

// inMountNamespace runs f on a thread with a mount namespace of its own, which ends with it.
func inMountNamespace(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
			done <- err
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestLockSaysWhoHasIt(t *testing.T) {
	h := newHost(t)
	hosttest.Files(t, h.Root, map[string]string{"/var/lib/multinicd/x": ""})
	release, err := h.Lock(t.Context(), "/var/lib/multinicd/lock", 0)
	if err != nil {
		t.Fatal(err)
	}
	hosttest.Files(t, h.Root, map[string]string{"/proc/" + pid() + "/cmdline": "multinicd\x00run\x00"})
	if _, err := h.Lock(t.Context(), "/var/lib/multinicd/lock", 0); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "process "+pid()+" (multinicd run)") {
		t.Errorf("got %v", err)
	}
	hosttest.Files(t, h.Root, map[string]string{"/proc/" + pid() + "/cmdline": strings.Repeat(hostile.Text+"\x00", 1000)})
	_, err = h.Lock(t.Context(), "/var/lib/multinicd/lock", 0)
	hostile.Check(t, err.Error())
	if len(err.Error()) > 2*maxCommand {
		t.Errorf("the error has %d bytes", len(err.Error()))
	}
	time.AfterFunc(100*time.Millisecond, release)
	release, err = h.Lock(t.Context(), "/var/lib/multinicd/lock", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	release()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if release, err = h.Lock(ctx, "/var/lib/multinicd/lock", 0); err != nil {
		t.Fatalf("a free lock is not taken: %v", err)
	}
	release()
}

func TestBootID(t *testing.T) {
	h := newHost(t)
	hosttest.Files(t, h.Root, map[string]string{"/proc/sys/kernel/random/boot_id": "0f5b9cbe-0000-4a6b-8d4b-000000000000\n"})
	if got, err := h.BootID(); got != "0f5b9cbe-0000-4a6b-8d4b-000000000000" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	hosttest.Files(t, h.Root, map[string]string{"/proc/1/stat": "1 (a) name) S 0 1 1 0 -1 4194560 7561 145276 64 1013 16 68 341 254 20 0 1 0 4711 22663168 3023 18446744073709551615\n"})
	if got, err := h.BootID(); got != "0f5b9cbe-0000-4a6b-8d4b-000000000000/4711" || err != nil {
		t.Errorf("in a container of its own: got %q, %v", got, err)
	}
}

func pid() string { return strconv.Itoa(os.Getpid()) }

func TestAFolderIsNobodyElses(t *testing.T) {
	for name, row := range map[string]struct {
		make func(path string) error
		mode os.FileMode // afterwards; 0: refused
	}{
		"its own":                          {func(p string) error { return os.Mkdir(p, 0o700) }, 0o700},
		"others may read":                  {func(p string) error { return os.Mkdir(p, 0o755) }, 0o700},
		"others may write":                 {func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chmod(p, 0o777)) }, 0},
		"a group may write":                {func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chmod(p, 0o770)) }, 0},
		"a link to somewhere else":         {func(p string) error { return os.Symlink(t.TempDir(), p) }, 0},
		"a file":                           {func(p string) error { return os.WriteFile(p, nil, 0o600) }, 0},
		"nothing":                          {func(string) error { return nil }, 0},
		"somebody else's (for root alone)": {func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chown(p, 12345, 12345)) }, 0},
	} {
		h := newHost(t)
		if err := row.make(h.Path("/state")); errors.Is(err, fs.ErrPermission) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		err := h.Private("/state")
		if (err == nil) != (row.mode != 0) {
			t.Errorf("%s: %v", name, err)
		}
		if mode, _, _ := h.Permissions("/state"); row.mode != 0 && mode.Perm() != row.mode {
			t.Errorf("%s: it has mode %04o, want %04o", name, mode.Perm(), row.mode)
		}
	}
}
