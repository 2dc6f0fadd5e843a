package networkmanager

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"

	"multinicd/internal/filestep"
	"multinicd/nic"
)

// settledAddresses says whether a link has all addresses of a NIC.
func settledAddresses(c nic.Config, l nic.Link) bool {
	return !slices.ContainsFunc(c.Addresses, func(a netip.Prefix) bool {
		return !slices.ContainsFunc(l.Addresses, func(h nic.Address) bool { return h.Prefix == a })
	})
}

// Settling says whether NetworkManager is about to bring a NIC's profile in force by itself, as it
// does at boot. profile is the path of its file.
func Settling(f filestep.Files, profile string, c nic.Config, l nic.Link) bool {
	if _, _, err := f.Read(profile); err != nil || !l.Carrier || settledAddresses(c, l) {
		return false
	}
	data, _, err := f.Read(fmt.Sprintf("%s/%d", stateDir, l.Index))
	return err != nil || bytes.Contains(data, []byte("connection-uuid="+UUID(c.MAC)))
}
