// Package networkmanager writes what is wanted of a NIC as a keyfile, and turns a planned action
// into the steps of a change on hosts where NetworkManager owns the links.
//
// In go a plan.Action and the files as they are. Out come []plan.Step: write the profile, ask
// NetworkManager over the bus to read this file, bring the profile in force on the one link,
// compare the kernel with what is wanted, and probe. A ProfileFormat gives the files. Keyfile is
// the format of this package; package ifcfg has the other one, and netplan makes the same changes
// by its own profiles.
//
// It never asks NetworkManager to read everything again, and restarts nothing. It touches no
// profile and no file of others: ours are named after their NICs.
//
// Start reading at ProfileFormat and RenderKeyfile in keyfile.go, then Backend.Steps in steps.go.
package networkmanager

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"multinicd/internal/filestep"
	"multinicd/nic"
	"multinicd/sysctl"
)

// ProfileFormat is the form of the profiles. NetworkManager reads keyfiles on every host, and ifcfg
// files only where its plugin ifcfg-rh is loaded.
type ProfileFormat interface {
	// File is the profile of a NIC, by which NetworkManager calls it. name may be a pattern.
	File(name string) string
	// Files gives all files of a NIC by path, with those of Beside.
	Files(c nic.Config) map[string][]byte
	// Read gives what a profile says, with the files that belong to it. read gives a file's content,
	// nil where the file is not there.
	Read(file string, read func(file string) []byte) (Profile, error)
}

// Profile is what a profile says of a NIC. Addresses, routes and rules come IPv4 first, as they
// were written.
type Profile struct {
	UUID   string
	Config nic.Config
}

// Where the files of both formats are: a NIC that changes its format leaves no file of the other
// one.
const (
	// KeyfileDir is where NetworkManager has the administrator's profiles as keyfiles.
	KeyfileDir = "/etc/NetworkManager/system-connections"
	// RuntimeDir has the profiles that last until the next boot, as keyfiles.
	RuntimeDir = "/run/NetworkManager/system-connections"
	ScriptsDir = "/etc/sysconfig/network-scripts"
	LinkDir    = "/etc/systemd/network"
)

// Beside gives, by path, the files of a NIC that NetworkManager does not read. They are the same in
// every format.
func Beside(c nic.Config) map[string][]byte {
	out := map[string][]byte{linkFile(c.Name): renderLink(c)}
	if data := sysctl.Render(c); data != nil {
		out[sysctl.File(c)] = data
	}
	return out
}

// Mode is that of a file of ours. NetworkManager passes over a keyfile that others may read.
func Mode(file string) fs.FileMode {
	if path.Dir(file) == KeyfileDir {
		return 0o600
	}
	return 0o644
}

// patterns match, by the rules of path.Match, all files that are ours by OurFile, and others.
var patterns = []string{
	KeyfileDir + "/" + nic.NamePrefix + "*", ScriptsDir + "/*-" + nic.NamePrefix + "*", LinkDir + "/10-" + nic.NamePrefix + "*", sysctl.Pattern,
}

// Folders lists the folders of the files of both formats.
func Folders() []filestep.Folder {
	return []filestep.Folder{
		{Dir: KeyfileDir, Names: nic.NamePrefix, Secret: true},
		{Dir: ScriptsDir, Names: "*-" + nic.NamePrefix},
		{Dir: LinkDir, Names: "10-" + nic.NamePrefix},
		{Dir: sysctl.Dir, Names: "90-"},
	}
}

// OurFile says whether a file is ours by its name. Files are owned by name.
func OurFile(file string) bool {
	dir, base := path.Split(file)
	var name string
	var ok bool
	switch dir {
	case KeyfileDir + "/":
		name, ok = strings.CutSuffix(base, ".nmconnection")
	case LinkDir + "/":
		if name, ok = strings.CutPrefix(base, "10-"); ok {
			name, ok = strings.CutSuffix(name, ".link")
		}
	case ScriptsDir + "/":
		prefix, rest, cut := strings.Cut(base, "-")
		name, ok = rest, cut && (prefix == "ifcfg" || prefix == "route" || prefix == "route6")
	default:
		return sysctl.OurFile(file)
	}
	digits, ours := strings.CutPrefix(name, nic.NamePrefix)
	return ok && ours && digits != "" && len(digits) <= 4 && strings.Trim(digits, "0123456789") == ""
}

func linkFile(name string) string { return path.Join(LinkDir, "10-"+name+".link") }

// renderLink gives the file by which udev names the link at boot: systemd.link(5). NetworkManager
// cannot name a link.
//
// The file says MACAddress, because systemd 239 of RHEL 8 does not know PermanentMACAddress, and
// would take a file without any other condition as one for all links. Links that borrow a NIC's MAC
// are left out by their type.
func renderLink(c nic.Config) []byte {
	return fmt.Appendf(nil, filestep.Mark+" changes made here are overwritten. NIC %s.\n[Match]\nMACAddress=%s\nType=!vlan bridge bond team macvlan macvtap ipvlan\n\n[Link]\nName=%s\n",
		c.Name, c.MAC, c.Name)
}
