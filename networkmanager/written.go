package networkmanager

import (
	"net/netip"
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
