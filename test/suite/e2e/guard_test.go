package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"multinicd/internal/daemon/status"
	"multinicd/test/bed"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/testhost"
)

// untouchables are NICs of one host that are wanted and must not be touched, each for another reason, beside one that may be.
var untouchables = []struct {
	id        int
	plug      string // the kernel's name of the NIC that is plugged in for it; empty: none
	mac       string // if not guardMAC(id)
	cidr      string
	more      string
	status    string
	mentioned string // in what is said to the user
}{
	{1, "eth1", "", "192.168.100.10/24", "mtu: 1400", "Configured Configured", ""},
	{2, "", "primary", "192.168.102.10/24", "mtu: 1400", "Failed ProtectedLink", "default route"},
	{3, "eth3", "", "192.0.2.100/25", "mtu: 1400", "Failed CutsAPIPath", "192.0.2.1"},
	{4, "eth4", "", "192.168.104.10/24", "mtu: 1400", "Failed AddressInUse", "192.168.104.10 is on link sw0"},
	{5, "eth5", "", "192.168.105.10/24", "mtu: 1400", "Failed NotPhysical", "eth5 is part of a bond, bridge or VRF"},
	{6, "", "", "192.168.106.10/24", "mtu: 65535", "Failed MTUTooLarge", "MTU 65535 is outside of what link eth6 can do"},
	{7, "", "", "192.168.107.10/24", "mtu: 1400", "Pending WaitingForNIC", ""}, // the bridge sw0 has its MAC
	{8, "", "", "192.168.108.10/24", "mtu: 1400", "Failed NotPhysical", "mv0, which is virtual (kind \"macvlan\")"},
	{9, "eth9", "", "192.168.109.10/24", "mtu: 1400", "Failed ForeignConfig", "eth9 already has address 10.9.9.9/24"},
	{10, "eth10", "", "192.168.110.10/24", "mtu: 1400", "Failed AmbiguousMAC", "eth10, copy"},
	{11, "cali0a1b2c3d4e5", "", "192.168.111.10/24", "mtu: 1400", "Failed NotPhysical", "cali*"},
	{12, "eth12", "", "192.168.112.10/24", "mtu: 1400", "Failed NameTaken", "multinic12"},
	{13, "eth13", "", "192.168.113.10/24", "mtu: 1400", "Failed ForeignConfig", "eth13 already has route default metric 4000"},
}

func guardMAC(id int) string { return fmt.Sprintf("02:00:00:00:02:%02x", id) }

// statusOfThem is the status in short. The NICs of these ids are configured by now.
func statusOfThem(configured ...int) string {
	var out []string
	for _, nic := range untouchables {
		status := nic.status
		if slices.Contains(configured, nic.id) {
			status = "Configured Configured"
		}
		out = append(out, fmt.Sprintf("multinic%d %s", nic.id, status))
	}
	return strings.Join(out, ", ")
}

// Everything on one host that must not be touched, each wanted as a NIC, beside one NIC that may be.
func TestWhatMustNotBeTouchedIsRefusedAndTheOthersAreConfigured(t *testing.T) {
	t.Parallel()
	n := hostOfUntouchables(t)
	n.refusesThemAndTouchesNone()

	// Once the reason is gone the NIC is configured, without a restart.
	if err := n.StartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.wantNICs(statusOfThem())
	n.must("sh", "-ec", "ip link del multinic12; ip link set eth5 nomaster")
	n.wantNICs(statusOfThem(5, 12))
	n.wantLink(guardMAC(5), "multinic5 up mtu 1400 192.168.105.10/24")
	n.wantLink(guardMAC(12), "multinic12 up mtu 1400 192.168.112.10/24")
}

// hostOfUntouchables boots a host on which all of them are so, and are wanted.
func hostOfUntouchables(t *testing.T) *node {
	t.Helper()
	o := testhost.Options{PrimaryMAC: "02:00:00:00:02:ff"}
	var wish []string
	for _, nic := range untouchables {
		if nic.plug != "" {
			o.NICs = append(o.NICs, testhost.NIC{MAC: guardMAC(nic.id), Name: nic.plug, Segment: fmt.Sprintf("data%d", nic.id)})
		}
		wanted := guardMAC(nic.id)
		if nic.mac == "primary" {
			wanted = o.PrimaryMAC
		}
		wish = append(wish, nicYAML(nic.id, wanted, nic.cidr, nic.more))
	}
	o.NICs = append(o.NICs, testhost.NIC{MAC: guardMAC(10), Name: "copy", Segment: "data99"})
	n := fileNode(t, bed.New(t), o, map[string]string{objectFile: nodeObject(wish...)})
	n.file("/etc/multinicd/multinicd.toml", strings.ReplaceAll(settings("worker-node-01", fromFile), `["veth"]`, `["veth", "tun"]`))
	n.must("sh", "-ec", `
		ip link add sw0 address `+guardMAC(7)+` type bridge
		ip link set sw0 up
		ip address add 192.168.104.10/24 dev sw0
		ip link set eth5 master sw0
		ip tuntap add dev eth6 mode tap
		udevadm settle # which gives it a MAC of its own
		ip link set eth6 address `+guardMAC(6)+`
		ip link add link sw0 name mv0 address `+guardMAC(8)+` type macvlan
		ip address add 10.9.9.9/24 dev eth9
		ip link add multinic12 type bridge
		ip link set eth13 up
		ip route add default dev eth13 metric 4000
		udevadm settle # which gives the last ones a MAC, too`)
	n.quiet()
	return n
}

// refusesThemAndTouchesNone applies the object, twice: all are refused or waited for except the first, and the kernel tells of no other link.
func (n *node) refusesThemAndTouchesNone() {
	n.t.Helper()
	kernel, err := n.MonitorKernel()
	if err != nil {
		n.t.Fatal(err)
	}
	defer kernel.Stop()
	for range 2 {
		if got, want := n.applyUntouchables(), statusOfThem(); got != want {
			n.t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	n.wantLink(guardMAC(1), "multinic1 up mtu 1400 192.168.100.10/24")
	if got, want := n.must("ls", "/etc/netplan"), "01-primary.yaml\n90-multinic1.yaml\n"; got != want {
		n.t.Errorf("files: got %q, want %q", got, want)
	}
	events, err := kernel.Events()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, e := range events {
		if e.Link != "eth1" && e.Link != "multinic1" {
			n.t.Errorf("something else was touched: %s", e)
		}
	}
}

// applyUntouchables gives the status in short that apply prints, and holds its messages to what has to be mentioned.
func (n *node) applyUntouchables() string {
	n.t.Helper()
	out, err := n.Command(n.t.Context(), "multinicd", "apply", "-f", objectFile, "-o", "json").Output()
	var code *exec.ExitError
	if !errors.As(err, &code) || code.ExitCode() != exitRefused {
		n.t.Fatalf("apply: %v, want exit %d\n%s", err, exitRefused, out)
	}
	var s status.Node
	if err := json.Unmarshal(out, &s); err != nil {
		n.t.Fatalf("%v\n%s", err, out)
	}
	for i, nic := range s.NICs {
		if i < len(untouchables) && !strings.Contains(nic.Message, untouchables[i].mentioned) {
			n.t.Errorf("%s: the message is %q, want %q in it", nic.Name, nic.Message, untouchables[i].mentioned)
		}
	}
	return installed.NICs(s)
}

func TestExitCodesSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	n := fileNode(t, bed.New(t), testhost.Options{}, nil)
	good := nodeObject(nicYAML(1, mac1, "192.168.100.10/24"))
	config := settings("worker-node-01", fromFile)
	runs := []struct {
		name   string
		config string // if not as usual
		object string
		argv   string // if not apply
		exit   int
		says   []string
	}{
		{"an unknown key of the configuration", strings.Replace(config, "virtual_kinds", "virtual_kind", 1), good, "", exitUsage, []string{"multinicd.toml", "7", "virtual_kind", "virtual_kinds"}},
		{"a value of the configuration that cannot be", strings.Replace(config, `"5s"`, `"1s"`, 1), good, "", exitUsage, []string{"source.interval", "1s", "5s"}},
		{"an unknown command", config, good, "configure", exitUsage, []string{"configure"}},
		{"an unknown option", config, good, "apply --now", exitUsage, []string{"now"}},
		{"an argument too many", config, good, "apply node.yaml", exitUsage, []string{"node.yaml", "-f"}},
		{"a file that is not there", config, good, "apply -f /etc/multinicd/absent.yaml", exitFailed, []string{"absent.yaml"}},
		{"an address outside of its subnet", config, nodeObject(nicYAML(1, mac1, "192.168.100.0/24", "address: 10.1.1.1")), "", exitFailed, []string{"spec.interfaces[0]"}},
		{"a MAC that is none", config, nodeObject(nicYAML(1, mac1, "192.168.100.10/24"), nicYAML(2, "02:00:00:00:01", "10.1.1.1/24")), "", exitFailed, []string{"spec.interfaces[1].macAddress"}},
		{"an MTU too small for IPv6", config, nodeObject(nicYAML(1, mac1, "2001:db8::1/64", "mtu: 1000")), "", exitFailed, []string{"spec.interfaces[0].mtu", "1280"}},
		{"a file that is no YAML", config, "a: [", "", exitFailed, []string{"node.yaml"}},
		{"the object of another node", config, strings.ReplaceAll(good, "worker-node-01", "worker-node-02"), "", exitRefused, []string{"worker-node-02", "worker-node-01"}},
		{"a NIC that is not there", config, nodeObject(nicYAML(1, mac3, "192.168.100.10/24")), "", exitWaiting, []string{"WaitingForNIC"}},
		{"one that is not there and one that is refused", config, nodeObject(nicYAML(1, mac3, "192.168.100.10/24"), nicYAML(2, n.PrimaryMAC, "10.1.1.1/24")), "", exitRefused, []string{"WaitingForNIC", "ProtectedLink"}},
	}
	before := n.footprint()
	for _, run := range runs {
		n.file("/etc/multinicd/multinicd.toml", run.config)
		n.file(objectFile, run.object)
		argv := []string{"multinicd", "apply", "-f", objectFile}
		if run.argv != "" {
			argv = append([]string{"multinicd"}, strings.Fields(run.argv)...)
		}
		code, out := n.exit(argv...)
		if code != run.exit {
			t.Errorf("%s: exit %d, want %d\n%s", run.name, code, run.exit, out)
		}
		for _, s := range run.says {
			if !strings.Contains(out, s) {
				t.Errorf("%s: %q is not said:\n%s", run.name, s, out)
			}
		}
		if got := n.footprint(); got != before {
			t.Errorf("%s: the host has changed:\n%s\nwas\n%s", run.name, got, before)
		}
	}
	n.apply(exitDone, good)
	n.apply(exitDone, good)
}
