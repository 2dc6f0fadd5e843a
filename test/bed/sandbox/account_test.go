package sandbox

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"multinicd/test/bed/prerequisite"
)

// What a program uses that is already gone, whether below this process or in a sandbox that is closed, was used all the same.
func TestAnAccountHoldsWhatHasEnded(t *testing.T) {
	prerequisite.Require(t)
	a, err := NewAccount()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	const work = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"
	if out, err := exec.Command("sh", "-c", work).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	below, err := a.Spent()
	if err != nil || below < 0.01 {
		t.Fatalf("after a program below this process: %v s, %v", below, err)
	}
	box, err := New(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", work)
	if err := box.Start("work", cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	inside, err := spent(box.cgroup)
	if err != nil || inside < 0.01 {
		t.Fatalf("in the sandbox: %v s, %v", inside, err)
	}
	if err := box.Close(); err != nil {
		t.Fatal(err)
	}
	if all, err := a.Spent(); err != nil || all < below+inside {
		t.Errorf("%v s after the sandbox is closed, want at least %v (%v)", all, below+inside, err)
	}
}

func TestOthersAreThoseOfOtherProcesses(t *testing.T) {
	box, err := New(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = box.Close() }()
	others, err := Others()
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(others); strings.Contains(text, box.ID) {
		t.Errorf("%s has this process's own sandbox %s", text, box.ID)
	}
}
