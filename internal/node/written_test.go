package node

import (
	"context"
	"io/fs"
	"log/slog"
	"net/netip"
	"path"
	"slices"
	"strings"
	"testing"

	"multinicd/host/survey"
	"multinicd/ifcfg"
	"multinicd/internal/apply"
	"multinicd/internal/hosttest"
	"multinicd/netplan"
	"multinicd/networkmanager"
	"multinicd/nic"
	"multinicd/plan"
)

// What somebody has written into a file of ours goes with the repair, on every kind of host; what
// he has put on the link beside that stays.
func TestAnAddressInAnEditedFileOfOursGoesWithTheRepair(t *testing.T) {
	const network = "/run/systemd/network/10-netplan-0-multinic1.network"
	c := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}, Addresses: prefixes("192.0.2.10/24")}
	for name, row := range map[string]struct {
		backend string
		file    string // with .10 -> .77
		active  string // NetworkManager's profile in force
		extra   map[string]string
	}{
		"netplan":                     {backend: survey.Netplan, file: netplan.File(c)},
		"what networkd was told":      {backend: survey.Netplan, file: network, extra: map[string]string{network: "[Match]\nMACAddress=02:00:00:00:01:01\n\n[Network]\nLinkLocalAddressing=no\nAddress=192.0.2.10/24\n"}},
		"netplan with NetworkManager": {backend: survey.NetplanNetworkManager, file: netplan.File(c), active: networkmanager.UUID(c.MAC)},
		"keyfiles":                    {backend: survey.NetworkManager, file: networkmanager.Keyfile{}.File(c.Name), active: networkmanager.UUID(c.MAC)},
		"ifcfg":                       {backend: survey.Ifcfg, file: ifcfg.Format{}.File(c.Name), active: networkmanager.UUID(c.MAC)},
	} {
		t.Run(name, func(t *testing.T) {
			m := hosttest.New()
			backends := map[string]apply.Backend{survey.Netplan: netplan.New(m, m), survey.NetplanNetworkManager: netplan.NewManager(m, m, false),
				survey.NetworkManager: &networkmanager.Backend{Files: m, Format: networkmanager.Keyfile{}}, survey.Ifcfg: &networkmanager.Backend{Files: m, Format: ifcfg.Format{}}}
			rec := plan.Record{NICs: []plan.Owned{{MAC: c.MAC, Config: c, Applied: true, Backend: row.backend}}}
			d := &Dispatch{stacks: &fakeStacks{stack: survey.Stack{Backend: row.backend}}, name: "auto", log: slog.New(slog.DiscardHandler),
				said: map[string]bool{}, record: func() plan.Record { return rec }, backends: backends}
			for _, s := range filesOf(t, backends[row.backend], c) {
				m.Put(t, s.Path, s.Data, s.Mode)
			}
			for file, text := range row.extra {
				m.Put(t, file, []byte(text), 0o644)
			}
			if row.active != "" {
				m.Put(t, "/run/NetworkManager/devices/11", []byte("connection-uuid="+row.active+"\n"), 0o644)
			}
			link := hosttest.Up(nic.Link{Index: 11, MAC: c.MAC, Device: true, MTU: 1500, MinMTU: 68, MaxMTU: 9000}, c)
			as := func() []plan.Step { // the steps by which the NIC is made what it is to be
				link.Written = written(m, c)
				a := plan.Make([]nic.Config{c}, nil, plan.View{Links: []nic.Link{link}}, rec).Actions[0]
				if a.Kind != plan.Configure {
					t.Fatal(a.Kind, a.Message)
				}
				steps, err := d.Steps(t.Context(), a)
				if err != nil {
					t.Fatal(err)
				}
				return steps
			}
			if steps := as(); len(steps) > 0 {
				t.Fatalf("nothing was edited, and there is something to do: %v", steps)
			}
			before := string(m.Disk[row.file])
			m.Put(t, row.file, []byte(strings.ReplaceAll(before, "192.0.2.10", "192.0.2.77")), m.Modes[row.file])
			link.Addresses = nil
			for _, p := range prefixes("192.0.2.77/24", "192.0.2.99/24") {
				link.Addresses = append(link.Addresses, nic.Address{Prefix: p, Permanent: true})
			}
			var add, del []netip.Prefix
			again := ""
			for _, s := range as() {
				if s.Do.Link != nil {
					add, del = append(add, s.Do.Link.Add...), append(del, s.Do.Link.Del...)
				}
				if f := s.Do.File; f != nil && f.Path == row.file {
					again = string(f.Data)
				}
			}
			edited, beside := prefixes("192.0.2.77/24")[0], prefixes("192.0.2.99/24")[0]
			if !slices.Contains(del, edited) || slices.Contains(add, edited) || slices.Contains(del, beside) || again != before {
				t.Errorf("removed are %v, put there are %v, and the file becomes:\n%s", del, add, again)
			}
		})
	}
}

// filesOf are the files of a NIC that a backend has configured.
func filesOf(t *testing.T, b apply.Backend, c nic.Config) (out []plan.File) {
	t.Helper()
	steps, err := b.Steps(context.Background(), plan.Action{Kind: plan.Configure, NIC: c, Link: &nic.Link{Index: 11, Name: c.Name, MAC: c.MAC}, After: &plan.Owned{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if s.Do.File != nil && !s.Do.File.Absent {
			out = append(out, *s.Do.File)
		}
	}
	return out
}

// A file is read as whoever edited it has left it.
func TestTheAddressesThatOurFilesHave(t *testing.T) {
	c := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}}
	yaml, keyfile, script := netplan.File(c), networkmanager.Keyfile{}.File(c.Name), ifcfg.Format{}.File(c.Name)
	for name, row := range map[string]struct {
		file, text string
		want       string
	}{
		"netplan, with a label": {yaml, "network:\n  ethernets:\n    0-multinic1:\n      match: {macaddress: \"02:00:00:00:01:01\"}\n      nameservers: {addresses: [192.0.2.53]}\n      routes: [{to: 10.0.0.0/8, via: 192.0.2.1}]\n      addresses: [192.0.2.77/24, {2001:db8::7/64: {lifetime: 0}}]\n", "192.0.2.77/24 2001:db8::7/64"},
		"netplan, spoilt":       {yaml, "network: [02:00:00:00:01:01\n", ""},
		"the file of another":   {yaml, "network:\n  ethernets:\n    0-multinic1:\n      match: {macaddress: \"02:00:00:00:01:02\"}\n      addresses: [192.0.2.77/24]\n", ""},
		"a keyfile":             {keyfile, "[connection]\nuuid=" + networkmanager.UUID(c.MAC) + "\n[ipv4]\naddress1=192.0.2.77/24,192.0.2.1\naddress2 = 192.0.2.78/32\ndns=192.0.2.53;\nroute1=10.0.0.0/8,192.0.2.1\n[ipv6]\naddress1=2001:db8::7/64\naddr-gen-mode=0\n", "192.0.2.77/24 192.0.2.78/32 2001:db8::7/64"},
		"a script":              {script, "HWADDR=02:00:00:00:01:01\nIPADDR=192.0.2.77\nPREFIX=24\nIPADDR1=\"192.0.2.78\"\nNETMASK1=255.255.255.0\nDNS1=192.0.2.53\nGATEWAY=192.0.2.1\nIPV6ADDR=2001:db8::7/64\nIPV6ADDR_SECONDARIES=\"2001:db8::8/64 2001:db8::9/64\"\nsome nonsense\n", "192.0.2.77/24 192.0.2.78/24 2001:db8::7/64 2001:db8::8/64 2001:db8::9/64"},
	} {
		m := hosttest.New()
		m.Put(t, row.file, []byte(row.text), fs.FileMode(0o600))
		var got []string
		for _, p := range written(m, c) {
			got = append(got, p.String())
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("%s (%s): got %v, want %s", name, path.Base(row.file), got, row.want)
		}
	}
}
