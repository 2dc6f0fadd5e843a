package nic

import (
	"path"
	"slices"
)

// FormerFiles match, by the rules of path.Match, the files that the agent before this one left on hosts: it was run as a Job per change.
var FormerFiles = []string{
	"/etc/netplan/9*-" + NamePrefix + "*.yaml",
	"/etc/systemd/network/9*-" + NamePrefix + "*.link",
	"/etc/NetworkManager/system-connections/9*-" + NamePrefix + "*.nmconnection",
	"/etc/sysconfig/network-scripts/ifcfg-" + NamePrefix + "*",
}

// Mark stands in every file that we write, in a comment at the file's beginning. Some files of the former agent have names that ours have too.
const Mark = "Written by multinicd"

// FormerFile says whether the former agent may have left a file, by its name.
func FormerFile(file string) bool {
	return slices.ContainsFunc(FormerFiles, func(p string) bool { ok, err := path.Match(p, file); return err == nil && ok })
}

// FormerTable says whether the former agent may have made a routing table: it counted from 100. Those of the kernel and ours are not meant.
func FormerTable(t int) bool { return t >= 100 && t < TableBase && (t < 253 || t > 255) }
