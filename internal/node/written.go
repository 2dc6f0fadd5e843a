package node

import (
	"bytes"
	"io/fs"
	"net/netip"
	"slices"

	"multinicd/ifcfg"
	"multinicd/internal/filestep"
	"multinicd/netplan"
	"multinicd/networkmanager"
	"multinicd/nic"
)

// written gives the addresses that our files of a NIC have now, whatever backend has written them:
// sorted, each once.
func written(h filestep.Files, c nic.Config) []netip.Prefix {
	f := naming{h, c.MAC}
	out := netplan.Written(f, c)
	if data, _, err := f.Read(networkmanager.Keyfile{}.File(c.Name)); err == nil {
		out = append(out, networkmanager.InKeyfile(data)...)
	}
	if data, _, err := f.Read(ifcfg.Format{}.File(c.Name)); err == nil {
		out = append(out, ifcfg.Written(data)...)
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out)
}

// naming shows those files that name a NIC. While two NICs swap their ids, the file of one has the
// name that the other's had.
type naming struct {
	filestep.Files
	mac nic.MAC
}

func (n naming) Read(name string) ([]byte, fs.FileMode, error) {
	data, mode, err := n.Files.Read(name)
	low := bytes.ToLower(data)
	if err == nil && !bytes.Contains(low, []byte(n.mac.String())) && !bytes.Contains(low, []byte(networkmanager.UUID(n.mac))) {
		return nil, 0, fs.ErrNotExist
	}
	return data, mode, err
}
