package survey

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"multinicd/host"
	"multinicd/nic"
)

// managerState asks what NetworkManager wrote of a link, since 1.10: the UUID of the profile that is in force on it.
func (s *Survey) managerState(l nic.Link, lists [][]definition, ours func(string) bool) (*nic.Claim, error) {
	data, _, err := s.host.Read(fmt.Sprintf("%s/%d", managerDevices, l.Index))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	uuid := ""
	_ = host.Ini(data, func(_, key, value string) error {
		if key == "connection-uuid" {
			uuid = value
		}
		return nil
	})
	for _, list := range lists {
		for _, d := range list {
			if uuid != "" && d.uuid == uuid && !ours(d.file) {
				c := behind(d, lists).claimBy(l, fmt.Sprintf("NetworkManager has brought %s in force on it", d.file))
				c.Owner, c.File, c.ID = d.owner, d.file, d.id
				return c, nil
			}
		}
	}
	return nil, nil
}

// networkdState asks what networkd itself wrote about a link (sd_network_link_get_network_file(3) reads the same file).
func (s *Survey) networkdState(l nic.Link, lists [][]definition, ours func(string) bool) (*nic.Claim, error) {
	state, file, err := s.host.NetworkdLink(l.Index)
	if err != nil || file == "" || state == host.LinkUnmanaged || ours(file) {
		return nil, err
	}
	how := fmt.Sprintf("systemd-networkd has configured it by %s (state %s)", file, state)
	c := &nic.Claim{Evidence: how} // of a unit of /etc that is gone, or does not say for whom it is, nobody can say more
	d, known := behind(definition{file: file}, lists), !strings.HasPrefix(file, "/etc/")
	for _, list := range lists {
		if i := slices.IndexFunc(list, func(o definition) bool { return o.file == file }); i >= 0 {
			d, known = list[i], true
		}
	}
	if known {
		c = d.claimBy(l, how)
	}
	c.Owner, c.File, c.ID = "networkd", file, strings.TrimSuffix(path.Base(file), ".network")
	return c, nil
}

// behind gives the definition of netplan's that its generator made a file of, and for other files d.
func behind(d definition, lists [][]definition) definition {
	if !strings.HasPrefix(d.file, networkdRuntime) && !strings.HasPrefix(d.file, netplanRuntime) {
		return d
	}
	for _, list := range lists {
		for _, o := range list {
			if o.owner == "netplan" && (networkdFile(o.id) == d.file || managerFile(o.id) == d.file) {
				return o
			}
		}
	}
	d.author = "netplan, from a file that is gone"
	return d
}

// networkdFile is what netplan's generator makes for networkd of a definition, and managerFile what it makes for NetworkManager.
func networkdFile(id string) string { return networkdRuntime + id + ".network" }
func managerFile(id string) string  { return netplanRuntime + id + ".nmconnection" }
