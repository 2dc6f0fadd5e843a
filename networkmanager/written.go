package networkmanager

import (
	"bytes"
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

// profiles are the addresses in those of all links, of both formats, but not what NetworkManager itself
// wrote of what it found. They count as theirs whichever profile NetworkManager's own file names: the
// address of a profile that is just coming in force is on the link before the name is in that file
// (1.42, December 2026). A profile that cannot be read owns nothing.
func (b *Backend) profiles() (out [][]byte) {
	for _, pattern := range []string{KeyfileDir + "/*", RuntimeDir + "/*", ScriptsDir + "/ifcfg-*"} {
		names, err := b.Files.Glob(pattern)
		if err != nil {
			continue
		}
		for _, name := range names {
			data, _, err := b.Files.Read(name)
			if err != nil || found(data) {
				continue
			}
			for line := range bytes.Lines(data) { // and no name server
				if word := bytes.ToLower(line); bytes.HasPrefix(word, []byte("address")) || bytes.HasPrefix(word, []byte("ipaddr")) || bytes.HasPrefix(word, []byte("ipv6addr")) {
					out = append(out, line)
				}
			}
		}
	}
	return out
}

// found says that NetworkManager wrote a profile of what it found on a link.
func found(profile []byte) bool {
	return slices.Contains(strings.Fields(string(profile)), "external=true")
}
