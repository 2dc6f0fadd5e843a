package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"multinicd/test/bed/sandbox"
)

// asDemo is set where the test's own program plays the demo: it has a sandbox and waits until it is ended.
const asDemo = "MULTINICD_TEST_AS_DEMO"

func TestMain(m *testing.M) {
	if os.Getenv(asDemo) == "" {
		os.Exit(m.Run())
	}
	var box *sandbox.Sandbox
	os.Exit(calmly(func(ctx context.Context) (err error) {
		if box, err = sandbox.New(ctx, func(string, ...any) {}); err != nil {
			return err
		}
		fmt.Println("it runs in", box.Dir)
		<-ctx.Done()
		return fmt.Errorf("what was under way: %w", ctx.Err())
	}, func() error { return box.Close() }))
}

// Ctrl-C on the terminal of `make demo` ends it with exit code 0, and make says nothing of an error.
func TestCtrlCEndsTheDemoWithoutAnError(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	makefile := filepath.Join(t.TempDir(), "Makefile")
	if err := os.WriteFile(makefile, []byte("demo:\n\t"+program+"\n\t@echo make goes on\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ours, theirs := terminal(t)
	cmd := exec.CommandContext(t.Context(), "make", "-f", makefile, "demo")
	cmd.Env = append(os.Environ(), asDemo+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	var said strings.Builder
	dir := ""
	for lines := bufio.NewScanner(ours); lines.Scan(); { // until the last one has closed the terminal
		said.WriteString(lines.Text() + "\n")
		if at, is := strings.CutPrefix(lines.Text(), "it runs in "); is {
			dir = at
			if _, err := ours.Write([]byte{3}); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = cmd.Wait()
	if err != nil || !strings.Contains(said.String(), "demo: ended by Ctrl-C") || !strings.Contains(said.String(), "make goes on") {
		t.Errorf("make ends with %v, and it says:\n%s", err, said.String())
	}
	if _, err := os.Stat(dir); dir == "" || !os.IsNotExist(err) {
		t.Errorf("the sandbox %q is still there: %v", dir, err)
	}
}

// terminal is a new one: our end of it, and that of a program.
func terminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}
