package host_test

import (
	"os"
	"testing"

	"multinicd/host"
	"multinicd/internal/hosttest"
)

// A port's owner is asked for again and again while a process is at work; a command is gone by then.
func TestTheOwnerOfAPortIsRememberedForAWhile(t *testing.T) {
	h, owners := &host.Host{Root: t.TempDir()}, host.SocketOwners{}
	hosttest.Files(t, h.Root, map[string]string{
		"/proc/264/comm": "ip\n", "/proc/264/status": "Uid:\t0\nNSpid:\t264\n", "/proc/thread-self/net/netlink": "sk Eth Pid\n0 0 264\n",
	})
	const want = "ip (process 264, user 0)"
	if got := owners.Of(h, 264); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	if err := os.RemoveAll(h.Path("/proc/264")); err != nil {
		t.Fatal(err)
	}
	if got := owners.Of(h, 264); got != want {
		t.Errorf("afterwards got %q, want %q", got, want)
	}
}
