package nic

import (
	"path"
	"slices"
)

// FormerFiles are patterns of path.Match. They match the files that the former agent left on hosts.
// That agent ran before multinicd, as a Job for each change.
var FormerFiles = []string{
	"/etc/netplan/9*-" + NamePrefix + "*.yaml",
	"/etc/systemd/network/9*-" + NamePrefix + "*.link",
	"/etc/NetworkManager/system-connections/9*-" + NamePrefix + "*.nmconnection",
	"/etc/sysconfig/network-scripts/ifcfg-" + NamePrefix + "*",
}

// Mark stands in a comment at the beginning of every file that we write. Names alone do not tell:
// some files of the former agent have names that our files have too.
const Mark = "Written by multinicd"

// FormerFile says whether the former agent may have left the file. It goes by the name.
func FormerFile(file string) bool {
	return slices.ContainsFunc(FormerFiles, func(p string) bool { ok, err := path.Match(p, file); return err == nil && ok })
}

// FormerTable says whether the former agent may have made the routing table. That agent counted
// from 100. The kernel's own tables and our tables are not meant.
func FormerTable(t int) bool { return t >= 100 && t < TableBase && (t < 253 || t > 255) }
