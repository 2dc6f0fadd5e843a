package vm

import (
	"strings"
	"testing"

	"multinicd/test/bed/installed"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/vm"
)

// IPv6 is off on the kernel's command line: a NIC with IPv4 is configured, one with IPv6 is refused by a sentence that says why, and neither spins.
func TestAKernelWithoutIPv6(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, kind := range prerequisite.Long(vm.Kinds[0]) {
		a := newAlone(t, vm.Options{Name: "ipv4", Kind: kind, NICs: ports, KernelWords: []string{"ipv6.disable=1"}}, cloudConfig{})
		if got := a.Sh("! [ -e /proc/sys/net/ipv6 ] || echo there"); got != "" {
			t.Fatal("the kernel has IPv6")
		}
		one, two := installed.Entry(1, mac1, "192.168.100.10/24", "gateway: 192.168.100.1"), installed.Entry(2, mac2, "2001:db8:7::5/64")
		a.refused("an address of IPv6", []string{"NotSupported", "address 2001:db8:7::5/64: this host has no IPv6 (ipv6.disable=1 on the kernel's command line)"}, two)
		a.serves("multinic1 Configured RenameAtReboot, multinic2 Failed NotSupported", one, two)
		a.has("ens4", "192.168.100.10/24")
		if got := a.Sh("ip -4 route show table 10001 default"); !strings.HasPrefix(got, "default via 192.168.100.1 dev ens4") {
			t.Errorf("the NIC's own table has %q, want its gateway", got)
		}
		a.isStill("with a NIC refused")

		a.serves("multinic1 Configured RenameAtReboot, multinic2 Configured RenameAtReboot", one, installed.Entry(2, mac2, "192.168.200.10/24"))
		a.boots(func() error { return a.Reboot(ctx) })
		a.says("multinic1 Configured Configured, multinic2 Configured Configured")
		a.links("after a boot", mac1, "multinic1 up mtu 1500 192.168.100.10/24", mac2, "multinic2 up mtu 1500 192.168.200.10/24")
		a.isStill("after a boot")
	}
}
