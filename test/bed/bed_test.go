package bed

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"multinicd/test/bed/testhost"
)

// get asks the API server from a host, by bash's own TCP: there is no client for HTTP on it. It returns "open"
// if the port takes connections.
func reach(t *testing.T, h *testhost.Host) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	// A plain request to a TLS port is answered: 400, in clear.
	out, err := h.Run(ctx, "timeout", "2", "bash", "-c", `exec 3<>/dev/tcp/192.0.2.1/6443 && printf 'GET /healthz HTTP/1.0\r\n\r\n' >&3 && head -1 <&3`)
	if err != nil {
		return "no answer"
	}
	return strings.TrimSpace(out)
}

func TestHostsReachTheAPIServer(t *testing.T) {
	b := New(t)
	b.Cluster()
	one, two := b.Host(testhost.Networkd), b.Host(testhost.Networkd)
	const answer = "HTTP/1.0 400 Bad Request"
	want := func(what string, h *testhost.Host, want string) {
		t.Helper()
		got := reach(t, h)
		// networkd takes its time to configure a link again whose cable is back.
		for deadline := time.Now().Add(60 * time.Second); got != want && time.Now().Before(deadline); {
			got = reach(t, h)
		}
		if got != want {
			t.Errorf("%s: got %q from %s, want %q", what, got, h.Name, want)
		}
	}
	want("whole", one, answer)
	want("whole", two, answer)

	b.API().Cut(one)
	want("cut for one host", one, "no answer")
	want("cut for another host", two, answer)

	b.API().Hang(one)
	want("hanging for one host", one, "no answer")
	want("hanging for another host", two, answer)

	b.API().Heal(one)
	want("healed", one, answer)

	if err := one.SetCarrier(one.PrimaryMAC, false); err != nil {
		t.Fatal(err)
	}
	want("cable pulled", one, "no answer")
	if err := one.SetCarrier(one.PrimaryMAC, true); err != nil {
		t.Fatal(err)
	}
	want("cable back", one, answer)
}

func TestHostsReachEachOtherOnASegment(t *testing.T) {
	b := New(t)
	one, two := b.Host(testhost.Networkd, "02:00:00:00:01:01"), b.Host(testhost.Networkd, "02:00:00:00:02:01")
	for i, h := range []*testhost.Host{one, two} {
		if _, err := h.Shell(t.Context(), "ip link set eth1 up; ip address add 198.51.100."+[]string{"1", "2"}[i]+"/24 dev eth1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := one.Shell(t.Context(), "ping -qc1 -W5 198.51.100.2"); err != nil {
		t.Error(err)
	}
}

func TestADaemonIsInstalledAndEnabled(t *testing.T) {
	b := New(t)
	dir := t.TempDir()
	// Anything that runs will do.
	if err := os.WriteFile(dir+"/binary", []byte("#!/bin/sh\necho started with $(cat /etc/multinicd/multinicd.toml)\nsystemd-notify --ready\nexec sleep inf\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/unit", []byte("[Service]\nType=notify\nNotifyAccess=all\nExecStart=/usr/bin/multinicd\n[Install]\nWantedBy=multi-user.target\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	h := b.Host(testhost.Networkd)
	ctx := t.Context()
	if err := h.InstallDaemon(ctx, dir+"/binary", dir+"/unit", "key = 1\n"); err != nil {
		t.Fatal(err)
	}
	if err := h.StartDaemon(ctx); err != nil {
		t.Fatal(err)
	}
	if pid, err := h.DaemonPID(ctx); err != nil || pid == 0 {
		t.Errorf("got process id %d, %v, want one", pid, err)
	}
	if err := h.KillDaemon(ctx); err != nil {
		t.Fatal(err)
	}
	if err := h.Reboot(ctx); err != nil {
		t.Fatal(err)
	}
	if pid, err := h.DaemonPID(ctx); err != nil || pid == 0 {
		t.Errorf("got process id %d, %v after a reboot, want one", pid, err)
	}
	if err := h.StartDaemon(ctx); err != nil { // which waits for the one that the boot began
		t.Fatal(err)
	}
	if got := h.Journal(ctx); strings.Count(got, "started with key = 1") != 2 || !strings.Contains(got, "signal") {
		t.Errorf("got journal\n%s\nwant two starts and a kill", got)
	}
}

func TestTheProductsCommandsAreBuilt(t *testing.T) {
	path := Build(t, "./test/cmd/setup")
	b, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(b, []byte("\x7fELF")) {
		t.Errorf("got %d bytes, %v, want a program", len(b), err)
	}
}
