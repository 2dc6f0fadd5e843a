// Package hostbus tests what host/bus asks of a real host's services, and what host/survey and host/kernel see there.
package hostbus

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"multinicd/host"
	"multinicd/host/bus"
	"multinicd/host/kernel"
	"multinicd/host/survey"
	"multinicd/test/bed/rootfs"
	"multinicd/test/bed/sandbox"
	"multinicd/test/bed/testhost"
)

// boot gives a running host and our view of it.
func boot(t *testing.T) (*testhost.Host, view) {
	t.Helper()
	return bootSuite(t, rootfs.DefaultSuite)
}

// bootSuite does it with that release of Debian.
func bootSuite(t *testing.T, suite string) (*testhost.Host, view) {
	t.Helper()
	box, err := sandbox.New(context.Background(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	w, err := testhost.NewWorld(box, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	th, err := w.NewHost(t.Context(), testhost.Options{Suite: suite, NICs: []testhost.NIC{{MAC: "02:00:00:00:01:01"}, {MAC: "02:00:00:00:01:02"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := th.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	h, err := viewOf(t, th)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return th, h
}

// view is what we see of a running host: its files, the kernel, its bus, and who configures what.
type view struct {
	*host.Host
	*kernel.Kernel
	*bus.Bus
	*survey.Survey
}

// viewOf gives a view whose kernel is that of the calling thread's network namespace.
func viewOf(t *testing.T, th *testhost.Host) (v view, err error) {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	if v.Host, err = host.New(filepath.Join("/proc", strconv.Itoa(th.Leader()), "root")); err != nil {
		return v, err
	}
	if v.Kernel, err = kernel.New(v.Host, log); err != nil {
		return v, err
	}
	v.Bus = bus.New(v.Host, v.Kernel, log)
	v.Survey = survey.New(v.Host, v.Kernel, v.Bus, log)
	return v, nil
}

func shell(t *testing.T, h *testhost.Host, script string) string {
	t.Helper()
	out, err := h.Shell(t.Context(), script)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

const (
	ours     = "network: {version: 2, ethernets: {multinic1: {match: {macaddress: \"02:00:00:00:01:01\"}, set-name: multinic1, addresses: [192.168.1.5/24]}}}\n"
	bridgeOn = "network: {version: 2, bridges: {br9: {interfaces: [multinic1]}}}\n"
)

// The verdict is the one that counts: that of the generator, which decides at boot whether the host has any network.
func TestNetplanRefusesWhatTheNextBootWould(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie"} { // netplan 0.106 and 1.1.2
		t.Run(suite, func(t *testing.T) {
			th, h := bootSuite(t, suite)
			refuses(t, th, h, suite == "bookworm")
		})
	}
}

// everywhere names the cases that are asked of every release.
var everywhere = []string{"a good file", "a file less", "an unknown key", "a file less that is referred to", "a broken file of somebody else"}

// refuses asks, and expects the reason where that netplan gives it.
func refuses(t *testing.T, th *testhost.Host, h view, reason bool) {
	for name, test := range map[string]struct {
		present map[string]string // in /etc/netplan before
		files   map[string][]byte
		want    error
		text    string
	}{
		"a good file":                     {files: map[string][]byte{"90-multinic1.yaml": []byte(ours)}},
		"nothing at all":                  {},
		"a file less":                     {present: map[string]string{"90-multinic1.yaml": ours}, files: map[string][]byte{"90-multinic1.yaml": nil}},
		"a file less that was not there":  {files: map[string][]byte{"90-multinic1.yaml": nil}},
		"a syntax error":                  {files: map[string][]byte{"90-multinic1.yaml": []byte("network: {ethernets: [}")}, want: bus.ErrRefused, text: "/etc/netplan/90-multinic1.yaml:1:"},
		"an unknown key":                  {files: map[string][]byte{"90-multinic1.yaml": []byte("network: {version: 2, ethernets: {multinic1: {colour: red}}}")}, want: bus.ErrRefused, text: "'colour'"},
		"an address without length":       {files: map[string][]byte{"90-multinic1.yaml": []byte("network: {version: 2, ethernets: {multinic1: {addresses: [1.2.3.4]}}}")}, want: bus.ErrRefused, text: "1.2.3.4"},
		"an address that is none":         {files: map[string][]byte{"90-multinic1.yaml": []byte("network: {version: 2, ethernets: {multinic1: {addresses: [1.2.3.400/24]}}}")}, want: bus.ErrRefused, text: "1.2.3.400"},
		"a route of two families":         {files: map[string][]byte{"90-multinic1.yaml": []byte("network: {version: 2, ethernets: {multinic1: {routes: [{to: 10.0.0.0/8, via: \"fe80::1\"}]}}}")}, want: bus.ErrRefused, text: "route"},
		"an id that is a bridge before":   {present: map[string]string{"60-br.yaml": "network: {version: 2, bridges: {multinic1: {}}}\n"}, files: map[string][]byte{"90-multinic1.yaml": []byte(ours)}, want: bus.ErrRefused, text: "multinic1"},
		"an id that is a bridge later":    {present: map[string]string{"95-br.yaml": "network: {version: 2, bridges: {multinic1: {}}}\n"}, files: map[string][]byte{"90-multinic1.yaml": []byte(ours)}, want: bus.ErrRefused, text: "95-br.yaml"},
		"a file less that is referred to": {present: map[string]string{"90-multinic1.yaml": ours, "95-br.yaml": bridgeOn}, files: map[string][]byte{"90-multinic1.yaml": nil}, want: bus.ErrRefused, text: "multinic1"},
		"a broken file of somebody else":  {present: map[string]string{"60-bad.yaml": "network: {colour: red}\n"}, files: map[string][]byte{"90-multinic1.yaml": []byte(ours)}, want: bus.ErrRefusedAlready, text: "60-bad.yaml"},
		"a repair of a broken file":       {present: map[string]string{"90-multinic1.yaml": "network: {colour: red}\n"}, files: map[string][]byte{"90-multinic1.yaml": []byte(ours)}},
		"ten files":                       {files: ten()},
	} {
		if !reason && !slices.Contains(everywhere, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			for f, data := range test.present {
				if err := h.Write("/etc/netplan/"+f, []byte(data), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			defer shell(t, th, "cd /etc/netplan; rm -f "+strings.Join(append(keys(test.present), "x"), " "))
			before := shell(t, th, "cd /etc/netplan; sha256sum *")
			begin := time.Now()
			err := h.NetplanValidate(t.Context(), test.files)
			t.Logf("%d ms: %v", time.Since(begin).Milliseconds(), err)
			if !errors.Is(err, test.want) || err != nil && reason && !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v, want %v with %q", err, test.want, test.text)
			}
			if got := shell(t, th, "cd /etc/netplan; sha256sum *"); got != before {
				t.Errorf("/etc/netplan is now %s, was %s", got, before)
			}
			if got := shell(t, th, "ls /run/netplan"); got != "" {
				t.Errorf("left behind: %s", got)
			}
			if boots := generates(t, th, test.files); boots != (err == nil) {
				t.Errorf("accepted is %v, but the generator's answer is %v", err == nil, boots)
			}
		})
	}
}

// generates says whether netplan's generator takes the tree.
func generates(t *testing.T, th *testhost.Host, files map[string][]byte) bool {
	t.Helper()
	shell(t, th, "rm -rf /tmp/tree; mkdir -p /tmp/tree/etc; cp -a /etc/netplan /tmp/tree/etc/")
	for f, data := range files {
		if data == nil {
			shell(t, th, "rm -f /tmp/tree/etc/netplan/"+f)
		} else if err := th.WriteFile("/tmp/tree/etc/netplan/"+f, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The generator itself, which is what counts at boot: netplan's command starts Python for it.
	_, err := th.Run(t.Context(), "/usr/libexec/netplan/generate.real", "--root-dir", "/tmp/tree")
	return err == nil
}

func ten() map[string][]byte {
	out := map[string][]byte{}
	for i := range 10 {
		id := strconv.Itoa(i)
		out["90-multinic"+id+".yaml"] = []byte("network: {version: 2, ethernets: {multinic" + id + ": {match: {macaddress: \"02:00:00:00:02:0" + id + "\"}, set-name: multinic" + id + ", addresses: [192.168." + id + ".5/24], mtu: 1400}}}\n")
	}
	return out
}

func keys(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

func TestNetplanThatCannotBeAskedIsNoRefusal(t *testing.T) {
	th, h := boot(t)
	good := map[string][]byte{"90-multinic1.yaml": []byte(ours)}
	askFor := func(ctx context.Context, want error) {
		t.Helper()
		if err := h.NetplanValidate(ctx, good); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	ask := func(want error) { // and it has a deadline of its own
		t.Helper()
		askFor(t.Context(), want)
	}
	ask(nil)
	pid := func(name string) int {
		t.Helper()
		inside := shell(t, th, "pgrep -o -x "+name)
		// As we see it: the process whose innermost id is that.
		for _, p := range glob(t, "/proc/[0-9]*/status") {
			data, err := os.ReadFile(p)
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(data)) {
				ids := strings.Fields(line)
				if ids[0] == "NSpid:" && len(ids) > 2 && ids[len(ids)-1] == inside && sameRoot(p, th.Leader()) {
					n, _ := strconv.Atoi(ids[1])
					return n
				}
			}
		}
		t.Fatalf("no process %s", name)
		return 0
	}
	for _, name := range []string{"dbus-daemon", "netplan-dbus"} {
		p := pid(name)
		if err := syscall.Kill(p, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		askFor(ctx, bus.ErrNoBus) // it never answers
		cancel()
		if d := time.Since(begin); d > 20*time.Second { // the deadline of its own is 30 s
			t.Errorf("%s hung, and so did we for %s", name, d)
		}
		if err := syscall.Kill(p, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		ask(nil)
	}
	shell(t, th, "systemctl stop dbus.socket dbus.service 2>/dev/null; rm -f /run/dbus/system_bus_socket")
	ask(bus.ErrNoBus)
	shell(t, th, "systemctl start dbus.socket dbus.service")
	ask(nil)
	shell(t, th, "mv /usr/libexec/netplan/netplan-dbus /tmp/; pkill -x netplan-dbus; while pgrep -x netplan-dbus >/dev/null; do sleep 0.05; done")
	ask(bus.ErrNoBus)
	shell(t, th, "mv /tmp/netplan-dbus /usr/libexec/netplan/")
	ask(nil)
	shell(t, th, "mv /usr/sbin/netplan /tmp/")
	ask(bus.ErrRefusedAlready)
	shell(t, th, "mv /tmp/netplan /usr/sbin/")
	ask(nil)
}

func TestNetplanWithOtherClients(t *testing.T) {
	th, h := boot(t)
	good := map[string][]byte{"90-multinic1.yaml": []byte(ours)}
	const config = `P=$(busctl call io.netplan.Netplan /io/netplan/Netplan io.netplan.Netplan Config | cut -d'"' -f2); C="busctl call io.netplan.Netplan $P io.netplan.Netplan.Config"; echo $P; `
	path := shell(t, th, config+"$C Set ss ethernets.eth9.dhcp4=false 90-other >/dev/null")
	if err := h.NetplanValidate(t.Context(), good); err != nil {
		t.Errorf("another client has a Set pending: %v", err)
	}
	if got := shell(t, th, "busctl call io.netplan.Netplan "+path+" io.netplan.Netplan.Config Get; busctl call io.netplan.Netplan "+path+" io.netplan.Netplan.Config Set ss ethernets.eth9.dhcp6=false 90-other"); !strings.Contains(got, "eth9") {
		t.Errorf("the other client's pending Set is lost: %s", got)
	}
	shell(t, th, "busctl call io.netplan.Netplan "+path+" io.netplan.Netplan.Config Try u 60")
	if err := h.NetplanValidate(t.Context(), good); !errors.Is(err, bus.ErrPending) {
		t.Errorf("another client's Try is pending: got %v", err)
	}
	shell(t, th, "busctl call io.netplan.Netplan "+path+" io.netplan.Netplan.Config Cancel")
	// netplan answers Cancel before its try has ended, which first puts the old configuration back in force.
	wait(t, "the end of the other client's Try", func() bool {
		err := h.NetplanValidate(t.Context(), good)
		if err != nil && !errors.Is(err, bus.ErrPending) {
			t.Fatalf("after the other client's Cancel: %v", err)
		}
		return err == nil
	})
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// sameRoot says whether the process of a status file is in the host of that leader.
func sameRoot(status string, leader int) bool {
	a, errA := os.Readlink(filepath.Join(filepath.Dir(status), "ns/pid"))
	b, errB := os.Readlink(filepath.Join("/proc", strconv.Itoa(leader), "ns/pid"))
	return errA == nil && errB == nil && a == b
}
