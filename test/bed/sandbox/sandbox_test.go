package sandbox

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"multinicd/test/bed/prerequisite"
)

// elsewhere, in the environment, has this test binary leave its first thread in a mount namespace of its own.
const elsewhere = "MULTINICD_SANDBOX_ELSEWHERE"

func init() {
	if os.Getenv(elsewhere) == "" {
		return
	}
	runtime.LockOSThread() // an init runs on the first thread, and the main goroutine stays there
	if err := errors.Join(unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")); err != nil {
		panic(err)
	}
}

// A thread that entered a mount namespace cannot be got rid of where it is the first one, and /proc/self goes on to show that thread's mounts.
func TestAMountIsTakenAwayThatTheFirstThreadDoesNotSee(t *testing.T) {
	prerequisite.Require(t)
	if os.Getenv(elsewhere) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), elsewhere+"=yes")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	first, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	if ours, err := os.Readlink("/proc/thread-self/ns/mnt"); err != nil || ours == first {
		t.Fatalf("this thread is in %s, the first one in %s (%v): that shows nothing", ours, first, err)
	}
	s, err := New(context.Background(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(s.Dir, "disk")
	if err := errors.Join(os.Mkdir(disk, 0o755), unix.Mount("tmpfs", disk, "tmpfs", 0, "")); err != nil {
		t.Fatal(errors.Join(err, s.Close()))
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) }) // it is mounted still where the test fails
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left, err := Left(s.ID); err != nil || len(left) > 0 {
		t.Errorf("left behind %q, %v, want nothing", left, err)
	}
}

func TestASandboxEndsWithItsContext(t *testing.T) {
	prerequisite.Require(t)
	ctx, cancel := context.WithCancel(t.Context())
	s, err := New(ctx, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	// A process that has left its parent's session and would survive a signal to the process group.
	cmd := exec.Command("sh", "-c", "setsid sleep 1000 & setsid sleep 1000")
	if err := s.Start("deep", cmd); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Netns("one"); err != nil {
		t.Fatal(err)
	}
	var order []int
	s.OnClose(func() { order = append(order, 1) })
	s.OnClose(func() { order = append(order, 2) })
	cancel()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if len(order) != 2 || order[0] != 2 {
		t.Errorf("closed in order %v, want the latest first", order)
	}
	_ = cmd.Wait() // it was killed
	if left, err := Left(s.ID); err != nil || len(left) > 0 {
		t.Errorf("left behind %q, %v, want nothing", left, err)
	}
}

func TestAFolderThatNobodyRegisteredIsRemovedLater(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	fresh := filepath.Join(registry(), "new-123")
	if err := os.MkdirAll(fresh, 0o700); err != nil {
		t.Fatal(err)
	}
	// Its owner may be about to register it.
	if _, err := Reap(t.Logf); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("got %v, want the folder left alone", err)
	}
}

func TestAProcessIsNotTakenForAnotherOneWithItsID(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := filepath.Join(registry(), "abc123")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	start, err := startTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, owner string
		want        bool
	}{
		{"ourselves", `{"pid": ` + strconv.Itoa(os.Getpid()) + `, "start": "` + start + `"}`, true},
		{"one that had our id before", `{"pid": ` + strconv.Itoa(os.Getpid()) + `, "start": "1"}`, false},
		{"nobody", `{}`, false},
		{"a file that was cut off", `{"pid": `, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(dir, ownerFile), []byte(test.owner), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := owned(dir); got != test.want {
				t.Errorf("got owned %v, want %v", got, test.want)
			}
		})
	}
	if _, err := Reap(t.Logf); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want the folder reaped", err)
	}
}
