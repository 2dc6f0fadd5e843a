package testhost

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/rootfs"
	"multinicd/test/bed/sandbox"
)

func world(t *testing.T) *World {
	t.Helper()
	prerequisite.Require(t)
	box, err := sandbox.New(context.Background(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		begin := time.Now()
		if err := box.Close(); err != nil {
			t.Error(err)
		}
		t.Logf("cleaned up in %.2f s", time.Since(begin).Seconds())
		left, err := sandbox.Left(box.ID)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind %q, %v, want nothing", left, err)
		}
	})
	w, err := NewWorld(box, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func bootHost(t *testing.T, w *World, o Options) *Host {
	t.Helper()
	h, err := w.NewHost(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

func run(t *testing.T, h *Host, script string) string {
	t.Helper()
	out, err := h.Shell(t.Context(), script)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func TestAHostIsLikeTheField(t *testing.T) {
	w := world(t)
	h := bootHost(t, w, Options{Name: "worker-node-01", NICs: []NIC{{MAC: "02:00:00:00:01:01"}, {MAC: "02:00:00:00:01:02", Segment: "data2"}}})

	if failed := h.FailedUnits(t.Context()); len(failed) > 0 {
		t.Errorf("got failed units %q, want none", failed)
	}
	for _, test := range []struct{ name, script, want string }{
		{"it has its name", "hostname; cat /etc/hostname", "worker-node-01\nworker-node-01"},
		{"networkd runs", "systemctl is-active systemd-networkd dbus systemd-udevd", "active\nactive\nactive"},
		{"NetworkManager does not", "systemctl is-active NetworkManager || true", "inactive"},
		{"networkd owns the primary NIC", "networkctl status eth0 | grep -o 'Network File:.*'", "Network File: /run/systemd/network/10-netplan-eth0.network"},
		{"its default route leads to the gateway", "ip -4 route show default", "default via 192.0.2.1 dev eth0 proto static"},
		{"it has no firmware's identity", "cat /sys/class/dmi/id/product_uuid 2>/dev/null || true", ""},
		{"it reaches the gateway", "ping -qc1 -W5 192.0.2.1 | grep -o '1 received'", "1 received"},
		{"its other NICs are there, down, under the kernel's names", "ip -br link show eth1 | awk '{print $1, $2, $3}'; cat /sys/class/net/eth2/address", "eth1@if8 DOWN 02:00:00:00:01:01\n02:00:00:00:01:02"},
		{"netplan answers on the bus", "busctl call io.netplan.Netplan /io/netplan/Netplan io.netplan.Netplan Info | grep -o Features", "Features"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := run(t, h, test.script)
			if test.name == "its other NICs are there, down, under the kernel's names" {
				got = strings.Replace(got, "eth1@"+strings.TrimPrefix(strings.Fields(got)[0], "eth1@"), "eth1@if8", 1)
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestARebootKeepsTheDiskAndNothingElse(t *testing.T) {
	w := world(t)
	h := bootHost(t, w, Options{NICs: []NIC{{MAC: "02:00:00:00:01:01"}}})
	const state = "ip link show eth1 2>/dev/null || ip link show renamed"
	run(t, h, "ip link set eth1 name renamed; ip address add 10.1.1.1/24 dev renamed; echo kept >/var/lib/kept; echo lost >/run/lost")
	before := run(t, h, state)

	if err := h.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := h.ReadFile("/var/lib/kept"); err != nil || string(got) != "kept\n" {
		t.Errorf("got %q, %v, want the file kept", got, err)
	}
	if _, err := h.ReadFile("/run/lost"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v for a file in /run, want it gone", err)
	}
	if got := run(t, h, "ip -o -4 address show dev eth1 | wc -l"); got != "0" {
		t.Errorf("eth1 has an address after the reboot: %q", got)
	}
	if after := run(t, h, state); after == before || !strings.Contains(after, "02:00:00:00:01:01") {
		t.Errorf("got the link\n%s\nwant a new one with the old MAC, before it was\n%s", after, before)
	}
	if failed := h.FailedUnits(t.Context()); len(failed) > 0 {
		t.Errorf("got failed units %q, want none", failed)
	}
}

func TestAPowerCutLosesWhatRan(t *testing.T) {
	h := bootHost(t, world(t), Options{})
	run(t, h, "echo written >/root/written; systemd-run --quiet --unit=witness --property=ExecStop='/bin/touch /root/stopped' sleep 1000")
	if err := h.Kill(); err != nil {
		t.Fatal(err)
	}
	if h.Running() {
		t.Error("the host runs on")
	}
	if err := h.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := run(t, h, "ls /root"); got != "written" {
		t.Errorf("got %q in /root, want what was written before and no orderly stop", got)
	}
}

func TestNICsArePluggedAndCablesPulled(t *testing.T) {
	const mac = "02:00:00:00:01:07"
	h := bootHost(t, world(t), Options{})
	if err := h.Plug(NIC{MAC: mac, Name: "ens9"}); err != nil {
		t.Fatal(err)
	}
	if got := run(t, h, "cat /sys/class/net/ens9/address"); got != mac {
		t.Errorf("got MAC %s, want %s", got, mac)
	}
	run(t, h, "ip link set ens9 up")
	for _, up := range []bool{false, true} {
		if err := h.SetCarrier(mac, up); err != nil {
			t.Fatal(err)
		}
		want := map[bool]string{true: "1", false: "0"}[up]
		if got := run(t, h, "cat /sys/class/net/ens9/carrier"); got != want {
			t.Errorf("got carrier %s, want %s", got, want)
		}
	}
	if err := h.Unplug(mac); err != nil {
		t.Fatal(err)
	}
	if got := run(t, h, "ls /sys/class/net | sort | xargs"); got != "eth0 lo" {
		t.Errorf("got links %q after the NIC was unplugged, want eth0 lo", got)
	}
}

func TestFilesAreTheHosts(t *testing.T) {
	h := bootHost(t, world(t), Options{})
	// An absolute link leads to the host's file, not to this machine's.
	run(t, h, "ln -s /etc/hostname /root/link")
	if got, err := h.ReadFile("/root/link"); err != nil || string(got) != h.Name+"\n" {
		t.Errorf("got %q, %v, want the host's name", got, err)
	}
	if err := h.WriteFile("/run/a/b/c", []byte("x"), 0o640); err != nil {
		t.Fatal(err)
	}
	if got := run(t, h, "stat -c '%a %u' /run/a/b /run/a/b/c | xargs; cat /run/a/b/c"); got != "755 0 640 0\nx" {
		t.Errorf("got %q, want a file of mode 640 in a folder of mode 755", got)
	}
	if err := h.Remove("/run/a/b/c"); err != nil {
		t.Fatal(err)
	}
	if entries, err := h.ReadDir("/run/a/b"); err != nil || len(entries) > 0 {
		t.Errorf("got %v, %v, want an empty folder", entries, err)
	}
	if err := h.PowerOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := h.ReadFile("/root/link"); err != nil || string(got) != h.Name+"\n" {
		t.Errorf("got %q, %v of a host that is off, want its name", got, err)
	}
}

// One host of each kind that NetworkManager owns: what a test of the product takes for granted there.
func TestHostsOfNetworkManager(t *testing.T) {
	type row struct {
		options Options
		version string
		primary string
	}
	w := world(t)
	const profile = "nmcli -g GENERAL.STATE,GENERAL.CONNECTION device show eth0 | xargs; nmcli -g FILENAME,NAME connection | grep -v ':lo$'"
	rows := map[string]row{
		"keyfiles, Debian 12": {Options{Flavour: NetworkManager, Suite: "bookworm"}, "1.42.4", "100 (connected) primary\n/etc/NetworkManager/system-connections/primary.nmconnection:primary"},
		"keyfiles, Debian 13": {Options{Flavour: NetworkManager, Suite: "trixie"}, "1.52.1", "100 (connected) primary\n/etc/NetworkManager/system-connections/primary.nmconnection:primary"},
		"ifcfg files":         {Options{Flavour: Ifcfg, Suite: "bookworm"}, "1.42.4", "100 (connected) primary\n/etc/sysconfig/network-scripts/ifcfg-primary:primary"},
		"netplan, Debian 12":  {Options{Flavour: NetplanNetworkManager, Suite: "bookworm"}, "1.42.4", "100 (connected) netplan-eth0\n/run/NetworkManager/system-connections/netplan-eth0.nmconnection:netplan-eth0"},
		"netplan, Debian 13":  {Options{Flavour: NetplanNetworkManager, Suite: "trixie"}, "1.52.1", "100 (connected) netplan-eth0\n/run/NetworkManager/system-connections/netplan-eth0.nmconnection:netplan-eth0"},
	}
	for _, r := range prerequisite.Long(row{Options{Flavour: NetworkManager, Suite: rootfs.Testing}, "1.58", rows["keyfiles, Debian 13"].primary}) {
		rows["keyfiles, Debian testing"] = r
	}
	for name, test := range rows {
		t.Run(name, func(t *testing.T) {
			test.options.NICs = []NIC{{MAC: "02:00:00:00:01:01"}}
			h := bootHost(t, w, test.options)
			check := func(when string) {
				t.Helper()
				if failed := h.FailedUnits(t.Context()); len(failed) > 0 {
					t.Errorf("%s: failed units %q, want none", when, failed)
				}
				run(t, h, "nm-online -qs -t 90") // connected, as it sees it, some time after the kernel does
				if got := run(t, h, profile); got != test.primary {
					t.Errorf("%s: got %q, want %q", when, got, test.primary)
				}
				if got := run(t, h, "nmcli -t -f DEVICE,STATE device | grep ^eth1"); got != "eth1:disconnected" {
					t.Errorf("%s: got %q, want a NIC that NetworkManager would take", when, got)
				}
				if got := run(t, h, "systemctl is-active NetworkManager systemd-networkd || true"); got != "active\ninactive" {
					t.Errorf("%s: got %q, want NetworkManager alone", when, got)
				}
				run(t, h, "ping -qc1 -W5 192.0.2.1")
			}
			check("at first")
			if got := run(t, h, "NetworkManager --version"); !strings.HasPrefix(got, test.version) {
				t.Errorf("got NetworkManager %s, want %s", got, test.version)
			}
			if err := h.Reboot(t.Context()); err != nil {
				t.Fatal(err)
			}
			check("after a boot")
		})
	}
}

func TestAHostThatPoweredItselfOffIsOff(t *testing.T) {
	h := bootHost(t, world(t), Options{})
	b := h.current()
	run(t, h, "systemctl poweroff")
	select {
	case <-b.exited:
	case <-time.After(powerOffTimeout):
		t.Fatal("the host did not go off")
	}
	if err := h.PowerOff(t.Context()); err != nil {
		t.Error(err)
	}
	if err := h.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestHostsBootAtTheSameTime(t *testing.T) {
	w := world(t)
	errs := make(chan error)
	for range 4 {
		go func() {
			h, err := w.NewHost(t.Context(), Options{NICs: []NIC{{MAC: "02:00:00:00:01:01"}}})
			if err == nil {
				err = h.Boot(t.Context())
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestADiskIsKeptInMemoryWhereItCannotLieOnAnOverlay(t *testing.T) {
	prerequisite.Require(t)
	// What a container's /tmp is.
	dir := t.TempDir()
	for _, name := range []string{"lower", "upper", "work", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	options := "lowerdir=" + dir + "/lower,upperdir=" + dir + "/upper,workdir=" + dir + "/work"
	switch err := unix.Mount("overlay", dir+"/tmp", "overlay", 0, options); {
	case errors.Is(err, unix.EINVAL): // the temporary folder is on an overlay already
	case err != nil:
		t.Fatal(err)
	default:
		t.Cleanup(func() {
			if err := unix.Unmount(dir+"/tmp", 0); err != nil {
				t.Errorf("something still uses it: %v", err)
			}
		})
	}
	t.Setenv("TMPDIR", dir+"/tmp")
	h := bootHost(t, world(t), Options{})
	run(t, h, "echo kept >/root/kept")
	if err := h.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := run(t, h, "cat /root/kept"); got != "kept" {
		t.Errorf("got %q, want the file kept", got)
	}
}

func TestAHostOfAnotherDebianBoots(t *testing.T) {
	for _, suite := range prerequisite.Long("trixie", rootfs.Testing) {
		h := bootHost(t, world(t), Options{Suite: suite})
		if failed := h.FailedUnits(t.Context()); len(failed) > 0 {
			t.Errorf("got failed units %q, want none", failed)
		}
		if got := run(t, h, ". /etc/os-release; echo $VERSION_CODENAME"); got != suite {
			t.Errorf("got Debian %s, want %s", got, suite)
		}
		run(t, h, "ping -qc1 -W5 192.0.2.1")
	}
}
