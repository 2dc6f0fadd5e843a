// Package sysctl writes what a link needs of its own under net.ipv4.conf, for the next boot: the file in /etc/sysctl.d of a NIC that shares a
// subnet with another link of its host.
//
// In go a nic.Config; out come a path and bytes. It serves every dialect, since none of them has keys for these values (systemd-networkd has
// one of them, from version 256 on).
//
// It sets nothing on the running host: that is done over netlink. At boot systemd-sysctl runs before the links are there, and udev's
// 99-systemd.rules runs it again for each link that is added, under the name that it has got by then.
//
// Start reading at Render.
package sysctl

import (
	"fmt"
	"path"
	"strings"

	"multinicd/nic"
)

// Dir is where sysctl.d(5) has the administrator's files.
const Dir = "/etc/sysctl.d"

// File is the path of the file of a NIC.
func File(c nic.Config) string { return path.Join(Dir, "90-"+c.Name+".conf") }

// Pattern matches, by the rules of path.Match, every name that File may give, and others.
const Pattern = Dir + "/90-" + nic.NamePrefix + "*.conf"

// Owned says whether a file is ours by its name.
func Owned(file string) bool {
	digits, ok := strings.CutPrefix(file, Dir+"/90-"+nic.NamePrefix)
	digits, conf := strings.CutSuffix(digits, ".conf")
	return ok && conf && digits != "" && len(digits) <= 4 && strings.Trim(digits, "0123456789") == ""
}

// Render gives the file of a NIC, nil where it needs none.
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
