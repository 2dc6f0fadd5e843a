package networkmanager

import (
	"net/netip"
	"slices"
	"strings"
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

// found says that NetworkManager wrote a profile of what it found on a link.
func found(profile []byte) bool {
	return slices.Contains(strings.Fields(string(profile)), "external=true")
}
