package vm

import (
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
	"multinicd/test/bed/vm"
)

// The machine as OpenStack makes it, with all of its ports, DHCP and a router on each: cloud-init names them, and takes the names back at every boot. The kernel, 6.1, does
// not rename a link that is up.
func TestAMachineWithItsPortsAtTheFirstBoot(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	m := newMachine(t, vm.Options{Name: "cloud-networkd", Kind: vm.Kinds[0], NICs: ports})
	one, two := installed.Entry(1, mac1, "192.168.100.10/24"), installed.Entry(2, mac2, "192.168.200.10/24")
	m.want(m.UUID, one, two)
	m.boots(func() error { return m.Boot(ctx) })
	m.state("Configured 2/2 RenameAtReboot RenameAtReboot")
	m.links("at first", mac1, "ens4 up mtu 1500 192.168.100.10/24", mac2, "ens5 up mtu 1500 192.168.200.10/24")
	m.oneDefault("at first")
	m.identity(one, two)

	configured := []string{mac1, "multinic1 up mtu 1500 192.168.100.10/24", mac2, "multinic2 up mtu 1500 192.168.200.10/24"}
	m.boots(func() error { return m.Reboot(ctx) })
	m.isNamed("after a boot")
	m.state("Configured 2/2 Configured Configured")
	m.links("after a boot", configured...)
	m.oneDefault("after a boot")

	// A port that comes later, of which cloud-init is not told, and goes again.
	m.want(m.UUID, one, two, installed.Entry(3, mac3, "192.168.110.10/24"))
	m.state("Pending 2/3 Configured Configured WaitingForNIC")
	if err := m.Plug(ctx, testhost.NIC{MAC: mac3, Segment: "data3"}); err != nil {
		t.Fatal(err)
	}
	m.ready("Configured 3/3")
	m.oneDefault("with a NIC plugged in")
	if err := m.Unplug(ctx, mac3); err != nil {
		t.Fatal(err)
	}
	m.state("Pending 2/3 Configured Configured WaitingForNIC")
	m.links("after an unplug", append(configured, mac3, "absent")...)

	// The power is cut in the middle of a change.
	m.cutIn("192.168.100.11", func() { m.want(m.UUID, installed.Entry(1, mac1, "192.168.100.11/24"), two) })
	configured[1] = "multinic1 up mtu 1500 192.168.100.11/24"
	m.boots(func() error { return m.Boot(ctx) })
	if got := m.recovered(); got == "" || strings.Contains(got, "nothing was cut off") {
		t.Errorf("the power was cut in no change, by the word of multinicd-recover.service:\n%s", got)
	}
	as := func(when string) {
		m.isNamed(when)
		m.state("Configured 2/2 Configured Configured")
		m.links(when, configured...)
		m.oneDefault(when)
	}
	as("after a power cut")
	m.boots(func() error { return m.Reboot(ctx) })
	as("after a third boot")
}

// The machine as the RHEL family has it, with NetworkManager, and a kernel that renames a link that is up: its ports come once it has booted, and cloud-init is not told.
func TestAMachineThatGetsItsPortsLater(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	m := newMachine(t, vm.Options{Name: "cloud-networkmanager", Kind: vm.Kinds[1]})
	m.want(m.UUID, installed.Entry(1, mac1, "192.168.100.10/24"), installed.Entry(2, mac2, "192.168.200.10/24"))
	m.boots(func() error { return m.Boot(ctx) })
	m.state("Pending 0/2 WaitingForNIC WaitingForNIC")
	for _, nic := range ports {
		if err := m.Plug(ctx, nic); err != nil {
			t.Fatal(err)
		}
	}
	as := func(when string) {
		m.state("Configured 2/2 Configured Configured")
		m.links(when, mac1, "multinic1 up mtu 1500 192.168.100.10/24", mac2, "multinic2 up mtu 1500 192.168.200.10/24")
		m.oneDefault(when)
	}
	as("with its ports")
	for _, when := range prerequisite.Long("after a boot") {
		m.boots(func() error { return m.Reboot(ctx) })
		as(when)
	}
}

// identity: the object counts on the instance that it names, which the firmware tells, and on no other.
func (m *machine) identity(entries ...string) {
	m.t.Helper()
	m.want("0c497169-a104-4448-afde-f27b79fca904", entries...)
	m.state("Failed 0/2 IdentityMismatch IdentityMismatch")
	m.want(m.UUID, entries...)
	m.state("Configured 2/2 RenameAtReboot RenameAtReboot")
	if got := m.Sh("cat /sys/class/dmi/id/product_uuid /var/lib/cloud/data/instance-id"); strings.ToLower(got) != m.UUID+"\n"+m.UUID {
		m.t.Errorf("the instance is %s, want %s", got, m.UUID)
	}
}

// isNamed: cloud-init has given the NICs their own names back in this boot, and they have lost them again.
func (m *machine) isNamed(when string) {
	m.t.Helper()
	for _, line := range []string{"multinic1 (" + mac1 + "): named again, was ens4", "multinic2 (" + mac2 + "): named again, was ens5"} {
		if got := m.recovered(); !strings.Contains(got, line) {
			m.t.Errorf("%s: multinicd-recover.service says\n%s\nthe kernel says\n%s", when, got, m.Sh("dmesg | grep renamed"))
		}
	}
}

// recovered is what multinicd-recover.service has said in this boot.
func (m *machine) recovered() string {
	m.t.Helper()
	return m.Sh("journalctl --no-pager --quiet --boot --output=cat --unit=multinicd-recover")
}

// ready waits for the object's state alone.
func (m *machine) ready(want string) {
	m.t.Helper()
	bed.Eventually(m.t, m.Name, want, func() string { return m.c.State(m.Name) })
}

// cutIn cuts the power in the middle of the change that f begins: the machine's processor is reset as soon as the kernel has the new address. The journal is on the
// disk by then, and the files that persist the change come behind all that is asked about it.
func (m *machine) cutIn(address string, f func()) {
	m.t.Helper()
	m.Sh(`systemd-run --quiet --property=CPUWeight=1000 sh -c 'until grep -q " $0$" /proc/net/fib_trie; do :; done; echo b >/proc/sysrq-trigger' ` + strings.ReplaceAll(address, ".", "[.]"))
	f()
	if err := m.WentOff(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
}
