package sysctl_test

import (
	"testing"

	"multinicd/nic"
	"multinicd/sysctl"
)

func TestRender(t *testing.T) {
	c := nic.Config{ID: 7, Name: "multinic7", MAC: nic.MAC{2, 0, 0, 0, 1, 7}}
	if got := sysctl.Render(c); got != nil {
		t.Errorf("a NIC alone in its subnet has %q", got)
	}
	c.Apart = true
	const want = `# Written by multinicd: changes made here are overwritten. NIC multinic7, MAC "02:00:00:00:01:07".
net.ipv4.conf.multinic7.arp_announce = 2
net.ipv4.conf.multinic7.arp_ignore = 1
net.ipv4.conf.multinic7.rp_filter = 2
`
	if got := string(sysctl.Render(c)); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got := sysctl.File(c); got != "/etc/sysctl.d/90-multinic7.conf" {
		t.Errorf("got %s", got)
	}
}

func TestOwned(t *testing.T) {
	for file, want := range map[string]bool{
		"/etc/sysctl.d/90-multinic7.conf":      true,
		"/etc/sysctl.d/90-multinic9999.conf":   true,
		"/etc/sysctl.d/90-multinic.conf":       false,
		"/etc/sysctl.d/90-multinic12345.conf":  false,
		"/etc/sysctl.d/90-multinics.conf":      false,
		"/etc/sysctl.d/90-multinic7.conf.bak":  false,
		"/etc/sysctl.d/99-multinic7.conf":      false,
		"/run/sysctl.d/90-multinic7.conf":      false,
		"/etc/sysctl.d/90-multinic7":           false,
		"/etc/netplan/90-multinic7.yaml":       false,
		"/etc/sysctl.d/../90-multinic7.conf":   false,
		"/etc/sysctl.d/90-multinic7/../x.conf": false,
	} {
		if got := sysctl.OurFile(file); got != want {
			t.Errorf("%s: got %v", file, got)
		}
	}
}
