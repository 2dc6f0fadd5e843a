package bed

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/sandbox"
	"multinicd/test/bed/testhost"
	"multinicd/test/bed/vm"
)

// victim, in the environment, makes this test binary build a bed, say so and wait to be killed.
const victim = "MULTINICD_BED_VICTIM"

func TestMain(m *testing.M) {
	if os.Getenv(victim) != "" {
		if err := beVictim(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(Main(m))
}

func beVictim(ctx context.Context) error {
	logf := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	box, err := sandbox.New(ctx, logf)
	if err != nil {
		return err
	}
	w, err := testhost.NewWorld(box, logf)
	if err != nil {
		return err
	}
	h, err := w.NewHost(ctx, testhost.Options{NICs: NICs("02:00:00:00:01:01")})
	if err != nil {
		return err
	}
	if err := h.Boot(ctx); err != nil {
		return err
	}
	v, err := vm.New(ctx, w, box, vm.Options{})
	if err != nil {
		return err
	}
	if err := v.PowerOn(ctx); err != nil {
		return err
	}
	// A plain process stands for the control plane, which is started in the same way.
	if err := box.Start("plain", exec.Command("sleep", "1000", box.Dir)); err != nil {
		return err
	}
	fmt.Println(box.ID)
	select {}
}

// startVictim returns the process and the id of its sandbox, once all is up.
func startVictim(t *testing.T) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), victim+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd, strings.TrimSpace(id)
}

func left(t *testing.T, id string) []string {
	t.Helper()
	left, err := sandbox.Left(id)
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func TestTheNextRunRemovesWhatAKilledRunLeft(t *testing.T) {
	prerequisite.Require(t)
	prerequisite.RequireMachines(t)
	t.Setenv("TMPDIR", t.TempDir()) // where a run of another package does not clear up first
	cmd, id := startVictim(t)
	if _, err := sandbox.Reap(t.Logf); err != nil {
		t.Fatal(err)
	}
	if len(left(t, id)) == 0 {
		t.Fatal("the sandbox of a living run was removed")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	// A namespace or a mount that is not looked for would not be missed: so all kinds are there before.
	before := strings.Join(left(t, id), "\n")
	for _, kind := range []string{"/run/mnbed-netns/", "/cgroup/", "mount ", "process ", "qemu-system-"} {
		if !strings.Contains(before, kind) {
			t.Errorf("the killed run left\n%s\nwant %q among it", before, kind)
		}
	}
	ids, err := sandbox.Reap(t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(ids, id) {
		t.Errorf("reaped %q, want %s among them", ids, id)
	}
	if got := left(t, id); len(got) > 0 {
		t.Errorf("left behind %q, want nothing", got)
	}
}

func TestATerminatedRunLeavesNothing(t *testing.T) {
	prerequisite.Require(t)
	prerequisite.RequireMachines(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd, id := startVictim(t)
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // by the signal, which is looked at next
			if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != sig {
				t.Errorf("got %v, want the end by %v", cmd.ProcessState, sig)
			}
			if got := left(t, id); len(got) > 0 {
				t.Errorf("left behind %q, want nothing", got)
			}
		})
	}
}
