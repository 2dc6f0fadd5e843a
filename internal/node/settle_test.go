package node

import (
	"net/netip"
	"path"
	"slices"
	"testing"

	"multinicd/host"
	"multinicd/ifcfg"
	"multinicd/internal/filestep"
	"multinicd/internal/hosttest"
	"multinicd/netplan"
	"multinicd/networkmanager"
	"multinicd/nic"
)

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// hostWith is a host with these files and no others.
func hostWith(t *testing.T, files map[string]string) *host.Host {
	t.Helper()
	root := t.TempDir()
	hosttest.Files(t, root, files)
	h, err := host.New(root)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestWhoIsAboutToConfigureALinkByItself(t *testing.T) {
	c := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}, Addresses: prefixes("192.0.2.7/24")}
	up, down, dead := nic.Link{Index: 4, Up: true, Carrier: true}, nic.Link{Index: 4}, nic.Link{Index: 4, Up: true}
	const (
		network = "/run/systemd/network/10-netplan-multinic1.network"
		adopted = "/run/systemd/network/10-netplan-0-multinic1.network"
		word    = "/run/systemd/netif/links/4"
		profile = "/run/NetworkManager/system-connections/netplan-multinic1.nmconnection"
		active  = "/run/NetworkManager/devices/4"
	)
	inForce := "[device]\nconnection-uuid=" + networkmanager.UUID(c.MAC) + "\n"
	for name, row := range map[string]struct {
		files map[string]string
		link  nic.Link
		want  bool
	}{
		"nobody was told of the NIC":                        {nil, up, false},
		"networkd has written nothing about the link yet":   {map[string]string{network: ""}, up, true},
		"and the link has no carrier":                       {map[string]string{network: ""}, dead, true},
		"networkd has not looked yet":                       {map[string]string{network: "", word: "ADMIN_STATE=pending\n"}, up, true},
		"networkd has found the link":                       {map[string]string{network: "", word: "ADMIN_STATE=initialized\n"}, up, true},
		"networkd is at work":                               {map[string]string{network: "", word: "OPER_STATE=carrier\nADMIN_STATE=configuring\n"}, up, true},
		"networkd is at work on an adopted NIC":             {map[string]string{adopted: "", word: "ADMIN_STATE=configuring\n"}, up, true},
		"networkd is at work on a link that is down":        {map[string]string{network: "", word: "ADMIN_STATE=configuring\n"}, down, true},
		"networkd waits for a carrier, maybe for ever":      {map[string]string{network: "", word: "ADMIN_STATE=configuring\n"}, dead, false},
		"networkd is done":                                  {map[string]string{network: "", word: "ADMIN_STATE=configured\n"}, up, false},
		"another key ends in the same word":                 {map[string]string{network: "", word: "X_ADMIN_STATE=configuring\nADMIN_STATE=configured\n"}, up, false},
		"networkd failed":                                   {map[string]string{network: "", word: "ADMIN_STATE=failed\n"}, up, false},
		"networkd is at work, and was not told by us":       {map[string]string{word: "ADMIN_STATE=configuring\n"}, up, false},
		"NetworkManager has a keyfile, and not begun":       {map[string]string{networkmanager.Keyfile{}.File(c.Name): ""}, up, true},
		"NetworkManager has an ifcfg file, and not begun":   {map[string]string{ifcfg.Format{}.File(c.Name): ""}, up, true},
		"NetworkManager has netplan's, and not begun":       {map[string]string{profile: ""}, up, true},
		"NetworkManager has begun with ours":                {map[string]string{profile: "", active: inForce}, up, true},
		"NetworkManager has another profile in force":       {map[string]string{profile: "", active: "[device]\nconnection-uuid=another\n"}, up, false},
		"NetworkManager does not begin without a carrier":   {map[string]string{networkmanager.Keyfile{}.File(c.Name): ""}, dead, false},
		"NetworkManager is done, the addresses are all set": {map[string]string{profile: "", active: inForce}, with(up, c), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := busy(hostWith(t, row.files), c, row.link); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}

// with is a link that has what is wanted.
func with(l nic.Link, c nic.Config) nic.Link {
	for _, p := range c.Addresses {
		l.Addresses = append(l.Addresses, nic.Address{Prefix: p, Permanent: true})
	}
	return l
}

// A file that is ours and in no folder of any backend would be left half written when its writer is killed.
func TestEveryFileOfOursIsInAFolder(t *testing.T) {
	c := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}, Apart: true, Addresses: prefixes("192.0.2.7/32", "2001:db8::7/64"),
		Routes: []nic.Route{{To: prefixes("198.51.100.0/24")[0], Table: 10001}, {To: prefixes("2001:db8:1::/48")[0], Table: 10001}}}
	files := []string{netplan.File(c), "/run/systemd/network/10-netplan-multinic1.network", "/run/systemd/network/10-netplan-zz-multinic1.link",
		"/run/NetworkManager/system-connections/netplan-multinic1.nmconnection"}
	for _, d := range []networkmanager.ProfileFormat{networkmanager.Keyfile{}, ifcfg.Format{}} {
		for file := range d.Files(c) {
			files = append(files, file)
		}
	}
	if len(files) < 10 {
		t.Fatalf("there are more files than %v", files)
	}
	for _, file := range files {
		found := 0
		for _, f := range Folders() {
			ours, err := path.Match(f.Names+"*", path.Base(file))
			if err != nil {
				t.Fatal(err)
			}
			if f.Dir == path.Dir(file) && ours {
				found++
			}
		}
		if found != 1 || !OurFile(file) {
			t.Errorf("%s is in %d folders, and by OurFile ours: %v", file, found, OurFile(file))
		}
	}
	for i, f := range Folders() {
		if slices.IndexFunc(Folders(), func(o filestep.Folder) bool { return o == f }) != i {
			t.Errorf("%s stands twice", f.Dir)
		}
	}
}
