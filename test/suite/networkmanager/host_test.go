package networkmanager

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"multinicd/test/bed"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
)

func TestMain(m *testing.M) { os.Exit(bed.Main(m)) }

const (
	mac1   = installed.MAC1
	object = "/root/node.yaml"
	file1  = "/etc/NetworkManager/system-connections/multinic1.nmconnection"
)

// node is a host of NetworkManager with multinicd, built with failpoints, which is run by hand.
type node struct {
	*installed.Node
	t *testing.T
}

func newNode(t *testing.T, b *bed.Bed, o testhost.Options, backend string) *node {
	t.Helper()
	config := fmt.Sprintf("node = \"node1\"\n[backend]\nname = %q\n[links]\nvirtual_kinds = [\"veth\"]\n", backend)
	n := &node{installed.New(t, b, o, config, "failpoint"), t}
	n.Sh("systemctl disable multinicd")
	return n
}

func (n *node) wish(entries ...string) {
	n.t.Helper()
	if err := n.WriteFile(object, []byte(installed.Object("node1", entries...)), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// apply gives multinicd's exit code and output.
func (n *node) apply(failpoint string) (int, string) {
	n.t.Helper()
	out, err := n.Run(n.t.Context(), "env", "MULTINICD_FAILPOINT="+failpoint, "multinicd", "apply", "-f", object)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), out + "\n" + err.Error()
	} else if err != nil {
		n.t.Fatal(err)
	}
	return 0, out
}

func (n *node) done() {
	n.t.Helper()
	if code, out := n.apply(""); code != 0 {
		n.t.Fatalf("exit %d:\n%s", code, out)
	}
}

// text is what the kernel shows of our NICs, and the rules. Link-local addresses and what the kernel makes for itself are left out.
func (n *node) text() string {
	n.t.Helper()
	return n.Sh(`for i in $(ls /sys/class/net | grep -v -e lo -e eth0); do
	echo "$i $(cat /sys/class/net/$i/address) mtu $(cat /sys/class/net/$i/mtu)"
	ip -o address show dev $i scope global | sed 's/^[0-9]*: //; s/ *valid_lft.*//; s/ noprefixroute//; s/\\//' | sort
	{ ip -4 route show table all dev $i; ip -6 route show table all dev $i; } | grep -v -e 'table local' -e '^fe80' | sed 's/ proto [a-z0-9]*//; s/ pref medium//; s/ *$//' | sort
	done
	{ ip rule; ip -6 rule; } | grep -e lookup.1 -e suppress | sed 's/ proto.*//'`)
}

func (n *node) eventually(what, want string, have func() string) {
	n.t.Helper()
	bed.Eventually(n.t, what, want, have)
}

func entry(id int, cidr string, more ...string) string {
	return installed.Entry(id, fmt.Sprintf("02:00:00:00:01:%02d", id), cidr, more...)
}

// nics are on segments of their own, so that two hosts can have the same addresses.
func nics(host string) []testhost.NIC {
	out := bed.NICs(mac1, "02:00:00:00:01:02", "02:00:00:00:01:03")
	for i := range out {
		out[i].Segment = fmt.Sprintf("%s%d", host, i+1)
	}
	return out
}

// The real plugin reads our ifcfg files, the kernel is the same as with keyfiles, at once and after a boot; files of others stay as they are.
func TestIfcfgGivesWhatTheKeyfileGives(t *testing.T) {
	t.Parallel()
	b := bed.New(t)
	wish := []string{
		entry(1, "192.168.192.11/24", "addresses: [\"2001:db8::11/64\"]", "mtu: 1400", "routes: [{to: 10.20.0.0/16, via: 192.168.192.9, metric: 7}]"),
		entry(2, "192.168.192.12/24", "gateway: 192.168.192.1"),
		entry(3, "10.7.7.3/24", "addresses: [\"10.7.8.3/24\", \"2001:db8:7::3/64\", \"2001:db8:8::3/64\"]", "routes: [{to: \"2001:db8:99::/48\", via: \"2001:db8:7::1\"}, {to: 10.99.0.0/16, via: 10.7.7.1, table: 10003}]"),
	}
	const foreign = "/etc/sysconfig/network-scripts/ifcfg-office"
	texts := map[string]string{}
	for _, c := range []struct {
		backend string
		flavour testhost.Flavour
	}{{"ifcfg", testhost.Ifcfg}, {"networkmanager", testhost.NetworkManager}} {
		n := newNode(t, b, testhost.Options{Flavour: c.flavour, NICs: nics(c.backend)}, c.backend)
		if err := n.WriteFile(foreign, []byte("# somebody's\nNAME=office\nHWADDR=02:00:00:00:09:09\nBOOTPROTO=dhcp\nONBOOT=no\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		const inode = "stat -c '%i %Y %a' " + foreign + "; cat " + foreign
		before := n.Sh(inode)
		n.wish(wish...)
		n.done()
		texts[c.backend] = n.text()
		if err := n.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.eventually(c.backend+" after a boot without multinicd", texts[c.backend], n.text)
		n.eventually("addresses that the kernel still checks", "", func() string { return n.Sh("ip -o -6 address show tentative") })
		events := n.events(func() { n.done() })
		if len(events) > 0 {
			t.Errorf("%s: the same again causes %v", c.backend, events)
		}
		if got := n.Sh(inode); got != before {
			t.Errorf("%s: somebody's file is %s, was %s", c.backend, got, before)
		}
		n.wish()
		n.done()
		if left := n.Sh("ls /etc/sysconfig/network-scripts /etc/NetworkManager/system-connections /etc/systemd/network /etc/sysctl.d | grep multinic || true; ip rule | grep 'lookup 1' || true; ip -br link | grep multinic || true"); left != "" {
			t.Errorf("%s: when all NICs are given back this is left:\n%s", c.backend, left)
		}
	}
	if texts["ifcfg"] != texts["networkmanager"] || !strings.Contains(texts["ifcfg"], "2001:db8:99::/48") {
		t.Errorf("with ifcfg files the kernel has\n%s\nwith keyfiles\n%s", texts["ifcfg"], texts["networkmanager"])
	}
}

// events lists what the kernel tells while f runs.
func (n *node) events(f func()) []string {
	n.t.Helper()
	m, err := n.MonitorKernel()
	if err != nil {
		n.t.Fatal(err)
	}
	f()
	time.Sleep(300 * time.Millisecond) // in which nothing more is to happen
	defer m.Stop()
	all, err := m.Events()
	if err != nil {
		n.t.Fatal(err)
	}
	var out []string
	for _, e := range all {
		out = append(out, fmt.Sprint(e))
	}
	return out
}

func suites() []string { return append([]string{"bookworm"}, prerequisite.Long("trixie")...) }

// A power cut in mid-change boots the configuration before it: multinicd-recover.service has put the profile back before NetworkManager reads it.
func TestPowerCutBootsTheOldConfiguration(t *testing.T) {
	for _, suite := range suites() {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, bed.New(t), testhost.Options{Suite: suite, Flavour: testhost.NetworkManager, NICs: nics("d")}, "networkmanager")
			n.wish(entry(1, "192.168.100.10/24", "mtu: 1400"))
			n.done()
			before := n.text()
			for i, point := range []string{"load", "verify", "record"} {
				n.wish(entry(1, fmt.Sprintf("192.168.101.1%d/24", i), "mtu: 1300"), entry(2, "192.168.102.12/24"))
				if code, out := n.apply("kill " + point); code == 0 {
					t.Fatalf("it was not killed before %s:\n%s", point, out)
				}
				if err := n.Kill(); err != nil {
					t.Fatal(err)
				}
				if err := n.Boot(t.Context()); err != nil {
					t.Fatal(err)
				}
				n.eventually("the boot after a power cut before "+point, before, n.text)
				if left := n.Sh("ls /var/lib/multinicd; grep -L 192.168.100.10 " + file1); strings.Contains(left, "journal") || strings.Contains(left, file1) {
					t.Errorf("after a power cut before %s: %s\n%s", point, left, n.UnitJournal(t.Context(), "multinicd-recover.service"))
				}
			}
			n.done()
			if got := n.text(); !strings.Contains(got, "192.168.101.12/24") || !strings.Contains(got, "192.168.102.12/24") {
				t.Errorf("it does not come to what is wanted: %s", got)
			}
		})
	}
}

// stopped runs apply up to before a step, has f done while it waits there, and gives its exit code.
func (n *node) stopped(point string, f func()) (code int, out string) {
	n.t.Helper()
	cmd := n.Command(n.t.Context(), "env", "MULTINICD_FAILPOINT=stop "+point, "multinicd", "apply", "-f", object)
	var all strings.Builder
	cmd.Stdout, cmd.Stderr = &all, &all
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.eventually("multinicd waits before "+point, "T", func() string {
		return n.Sh("p=$(pidof multinicd) && cut -d' ' -f3 /proc/$p/stat || true")
	})
	// nsenter stops with what it runs, a moment later, and goes on with it: a signal that came before would be lost.
	n.eventually("nsenter has stopped", "T", func() string {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		if err != nil {
			return err.Error()
		}
		_, state, _ := strings.Cut(string(stat), ") ")
		return state[:1]
	})
	f()
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		n.t.Fatal(err)
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		n.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), all.String()
}

func (n *node) checkpoints() string {
	n.t.Helper()
	return n.Sh("busctl get-property org.freedesktop.NetworkManager /org/freedesktop/NetworkManager org.freedesktop.NetworkManager Checkpoints")
}

func TestNetworkManagerInMidChange(t *testing.T) {
	for _, suite := range suites() {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, bed.New(t), testhost.Options{Suite: suite, Flavour: testhost.NetworkManager, NICs: nics("d")}, "networkmanager")
			n.wish(entry(1, "192.168.100.10/24"))
			n.done()
			n.killedAndRestarted()
			n.hangs()
			n.checkpointsOfOthers()
			n.onItsWay()
			n.unplugged()
		})
	}
}

// killedAndRestarted: what NetworkManager had in memory is gone, and the outcome is one of the two all the same.
func (n *node) killedAndRestarted() {
	n.t.Helper()
	for i, point := range []string{"load", "activate", "verify"} {
		before := n.text()
		address := fmt.Sprintf("192.168.100.%d/24", 20+i)
		n.wish(entry(1, address))
		code, out := n.stopped(point, func() {
			n.Sh("systemctl kill --signal=KILL NetworkManager; sleep 0.2; systemctl reset-failed NetworkManager; systemctl restart NetworkManager")
		})
		switch got := n.text(); {
		case code == 0 && strings.Contains(got, address):
		case code == 3 || code == 1:
			n.eventually("killed before "+point+", undone", before, n.text)
		default:
			n.t.Errorf("NetworkManager killed before %s: exit %d, and the kernel has\n%s\nbefore\n%s\n%s", point, code, got, before, out)
		}
		n.done()
		n.eventually("after one start more", "", func() string {
			return strings.TrimPrefix(n.Sh("ip -br -4 address show multinic1 | tr -s ' '"), "multinic1@if"+n.peer()+" UP "+address)
		})
	}
}

func (n *node) peer() string { return n.Sh("cat /sys/class/net/multinic1/iflink") }

// hangs: each call has a deadline, so the change is undone within 30 s, and done once NetworkManager answers again.
func (n *node) hangs() {
	n.t.Helper()
	before := n.text()
	n.wish(entry(1, "192.168.100.30/24"))
	var begin time.Time
	code, out := n.stopped("load", func() { n.Sh("systemctl kill --signal=STOP NetworkManager"); begin = time.Now() })
	if took := time.Since(begin); took > 35*time.Second || code == 0 {
		n.t.Errorf("NetworkManager hung, and the change took %v and ended with %d:\n%s", took, code, out)
	}
	if got := n.text(); got != before || !strings.Contains(n.Sh("cat "+file1), "192.168.100.22/24") {
		n.t.Errorf("NetworkManager hangs, and the kernel has\n%s\nbefore\n%s\nthe profile is\n%s", got, before, n.Sh("cat "+file1))
	}
	n.Sh("systemctl kill --signal=CONT NetworkManager; for i in 1 2 3 4 5 6 7 8 9 10; do nmcli -t general status >/dev/null && break; done")
	n.eventually("when it goes on", before, n.text)
	n.done()
	if got := n.text(); !strings.Contains(got, "192.168.100.30/24") {
		n.t.Errorf("the change is not made afterwards: %s", got)
	}
}

// checkpointsOfOthers: one that a crash of ours has left is no obstacle and goes, one of somebody else stays.
func (n *node) checkpointsOfOthers() {
	n.t.Helper()
	if got := n.checkpoints(); got != "ao 0" {
		n.t.Fatalf("changes have left checkpoints: %s", got)
	}
	n.wish(entry(1, "192.168.100.40/24"))
	if code, _ := n.apply("kill verify"); code == 0 {
		n.t.Fatal("it was not killed")
	}
	if got := n.checkpoints(); got == "ao 0" {
		n.t.Fatal("the link is not held during a change")
	}
	others := n.Sh("busctl call org.freedesktop.NetworkManager /org/freedesktop/NetworkManager org.freedesktop.NetworkManager CheckpointCreate aouu 0 600 8 | cut -d' ' -f2 | tr -d '\"'")
	n.done()
	if got := n.checkpoints(); got != fmt.Sprintf("ao 1 %q", others) {
		n.t.Errorf("the checkpoints are %s, want that of somebody else: %s", got, others)
	}
}

// onItsWay: what somebody has made of our profile is coming in force when ours is written again, and the administrator's script holds it up.
func (n *node) onItsWay() {
	n.t.Helper()
	before := n.text()
	n.Sh(`cd /etc/NetworkManager/dispatcher.d/pre-up.d
		printf '#!/bin/sh\ntouch /run/came\nwhile [ -e /run/held ]; do sleep 0.1; done\n' >50-slow
		chmod 755 50-slow
		touch /run/held
		nmcli connection modify multinic1 ipv4.addresses 192.168.100.66/24
		systemd-run --quiet nmcli connection up multinic1`)
	n.eventually("theirs is coming", "/run/came", func() string { return n.Sh("ls /run/came || true") })
	code, out := n.stopped("activate", func() { n.Sh("systemd-run --quiet sh -c 'sleep 1; rm /run/held'") })
	if code != 0 {
		n.t.Errorf("exit %d:\n%s", code, out)
	}
	n.eventually("when both are done", before, n.text)
	n.Sh("rm /etc/NetworkManager/dispatcher.d/pre-up.d/50-slow")
}

// unplugged: of a NIC that goes in mid-change NetworkManager remembers nothing that it could bring back later.
func (n *node) unplugged() {
	n.t.Helper()
	n.Sh("for c in $(busctl tree --list org.freedesktop.NetworkManager | grep Checkpoint/); do busctl call org.freedesktop.NetworkManager /org/freedesktop/NetworkManager org.freedesktop.NetworkManager CheckpointDestroy o $c; done")
	before, file := n.text(), n.Sh("cat "+file1)
	n.wish(entry(1, "192.168.100.50/24"))
	if code, out := n.stopped("settle", func() {
		if err := n.Unplug(mac1); err != nil {
			n.t.Fatal(err)
		}
	}); code == 0 {
		n.t.Errorf("the NIC was unplugged, and the change is said to be done:\n%s", out)
	}
	if got := n.checkpoints(); got != "ao 0" {
		n.t.Errorf("the checkpoints are %s", got)
	}
	if got := n.Sh("cat " + file1); got != file {
		n.t.Errorf("the profile is\n%s\nwas\n%s", got, file)
	}
	if err := n.Plug(testhost.NIC{MAC: mac1, Segment: "d1"}); err != nil {
		n.t.Fatal(err)
	}
	n.done()
	n.eventually("when it is back", strings.ReplaceAll(before, "192.168.100.40", "192.168.100.50"), n.text)
	if got := n.Sh("nmcli -g GENERAL.STATE,GENERAL.CONNECTION device show multinic1 | xargs"); got != "100 (connected) multinic1" {
		n.t.Errorf("our profile is not in force, the device is %s", got)
	}
}
