package networkmanager

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"multinicd/nic"
	"multinicd/plan"
)

// InKeyfile gives the addresses that a keyfile has, whoever wrote them there. It reads what
// ReadKeyfile refuses, too: a line that it does not understand has none.
func InKeyfile(data []byte) (out []netip.Prefix) {
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(strings.TrimSpace(key), "address") {
			continue
		}
		// A gateway may stand behind the address: nm-settings-keyfile(5).
		value, _, _ = strings.Cut(value, ",")
		if p, err := netip.ParsePrefix(strings.TrimSpace(value)); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// profiled gives the addresses in the profiles of all links, of both formats, but not in those that
// NetworkManager itself wrote of what it found. They count as theirs whichever profile NetworkManager's
// own file names: the address of a profile that is just coming in force is on the link before the name
// is in that file (1.42, December 2026). A profile that cannot be read has none.
func (b *Backend) profiled() (out []netip.Addr) {
	for _, pattern := range []string{KeyfileDir + "/*", RuntimeDir + "/*", ScriptsDir + "/ifcfg-*"} {
		names, err := b.Files.Glob(pattern)
		if err != nil {
			continue
		}
		for _, name := range names {
			if data, _, err := b.Files.Read(name); err == nil && !found(data) {
				out = append(out, hasAddresses(data)...)
			}
		}
	}
	return out
}

// hasAddresses reads address1=A/24,GATEWAY of keyfiles, and IPADDR="A" and IPV6ADDR_SECONDARIES="A/64 B/64"
// of ifcfg files.
func hasAddresses(profile []byte) (out []netip.Addr) {
	for line := range strings.Lines(string(profile)) {
		key, value, _ := strings.Cut(line, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		if !slices.ContainsFunc([]string{"address", "ipaddr", "ipv6addr"}, func(begin string) bool { return strings.HasPrefix(key, begin) }) {
			continue
		}
		value, _, _ = strings.Cut(value, ",")
		for _, word := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune("\"' \n", r) }) {
			word, _, _ = strings.Cut(word, "/")
			if a, err := netip.ParseAddr(word); err == nil {
				out = append(out, a)
			}
		}
	}
	return out
}

// unapplied says whether somebody has edited or deleted the NIC's profile and has not brought that
// in force: our profile is in force, and the link is as wanted, but not as its file says. The undo
// of the repair only puts the file back as it was. If NetworkManager then read the file, the link
// would get what nobody has asked for (systemctl stop in the middle of such a repair, December 2026).
func (b *Backend) unapplied(a plan.Action, profiles []string, active string) bool {
	if a.Kind != plan.Configure || active != UUID(a.NIC.MAC) || !a.Change.Empty() {
		return false
	}
	gone := len(profiles) > 0
	for _, file := range profiles {
		data, _, err := b.Files.Read(file)
		if gone = gone && errors.Is(err, fs.ErrNotExist); err != nil {
			continue
		}
		if slices.ContainsFunc(hasAddresses(data), func(in netip.Addr) bool {
			return !slices.ContainsFunc(a.Link.Addresses, func(h nic.Address) bool { return h.Prefix.Addr() == in })
		}) {
			return true
		}
		p, err := b.Format.Read(file, func(f string) []byte {
			data, _, _ := b.Files.Read(f) // one that is not there says nothing
			return data
		})
		if err == nil && len(plan.Verify(p.Config, *a.Link, *a.After)) > 0 {
			return true
		}
	}
	return gone
}

// found says that NetworkManager wrote a profile of what it found on a link.
func found(profile []byte) bool {
	return slices.Contains(strings.Fields(string(profile)), "external=true")
}
