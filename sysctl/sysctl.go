// Package sysctl writes the file in /etc/sysctl.d of a NIC that shares a subnet with another link
// of its host. The file sets the link's own values of net.ipv4.conf at the next boot.
//
// In go a nic.Config; out come a path and bytes. Every dialect uses this package, because no
// dialect has keys for these values (systemd-networkd has one of them, from version 256 on).
//
// The package sets nothing on the running host: that is done over netlink. At boot systemd-sysctl
// runs before the links are there. For each link that is added, udev's 99-systemd.rules then runs
// it again, under the name that the link has got by then.
//
// Start reading at Render.
package sysctl

import (
	"fmt"
	"path"
	"strings"

	"multinicd/nic"
)

// Dir is the folder of the administrator's files, see sysctl.d(5).
const Dir = "/etc/sysctl.d"

// File is the path of the file of a NIC.
func File(c nic.Config) string { return path.Join(Dir, "90-"+c.Name+".conf") }

// Pattern is a pattern of path.Match. It matches every name that File may give, and others.
const Pattern = Dir + "/90-" + nic.NamePrefix + "*.conf"

// OurFile says whether a file is ours. It goes by the name.
func OurFile(file string) bool {
	digits, ok := strings.CutPrefix(file, Dir+"/90-"+nic.NamePrefix)
	digits, conf := strings.CutSuffix(digits, ".conf")
	return ok && conf && digits != "" && len(digits) <= 4 && strings.Trim(digits, "0123456789") == ""
}

// Render gives the file of a NIC; nil if the NIC needs none.
func Render(c nic.Config) []byte {
	if !c.Apart {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: changes made here are overwritten. NIC %s, MAC \"%s\".\n", nic.Mark, c.Name, c.MAC)
	for _, v := range []struct {
		key   string
		value int
	}{{"arp_announce", nic.Apart.ARPAnnounce}, {"arp_ignore", nic.Apart.ARPIgnore}, {"rp_filter", nic.Apart.RPFilter}} {
		fmt.Fprintf(&b, "net.ipv4.conf.%s.%s = %d\n", c.Name, v.key, v.value)
	}
	return []byte(b.String())
}
