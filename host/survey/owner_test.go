package survey

import (
	"log/slog"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"multinicd/host"
	"multinicd/internal/hosttest"
	"multinicd/nic"
)

// newSurvey gives one of a machine without files. Neither the kernel nor NetworkManager is asked.
func newSurvey(t testing.TB) *Survey {
	t.Helper()
	return New(&host.Host{Root: t.TempDir()}, nil, nil, slog.New(slog.NewTextHandler(t.Output(), nil)))
}

// ourFile is how the backends tell their own files: by name.
func ourFile(f string) bool {
	b := path.Base(f)
	return strings.HasPrefix(b, "90-multinic") || strings.HasPrefix(b, "10-netplan-multinic") || strings.HasPrefix(b, "multinic")
}

// testLink is the NIC of the machines below: hardware, virtio, as udev named it.
var testLink = nic.Link{Index: 3, Name: "ens4", AltNames: []string{"enp0s4"}, MAC: nic.MAC{2, 0, 0, 0, 1, 1}, Device: true}

const yamlHead = "network:\n  version: 2\n  ethernets:\n"

func TestClaims(t *testing.T) {
	bonded := testLink
	bonded.MAC, bonded.Permanent = nic.MAC{2, 0, 0, 0, 9, 9}, testLink.MAC
	for name, test := range map[string]struct {
		files map[string]string
		link  nic.Link // testLink if zero
		want  string   // owner, file and id; "" for no claim
		says  string   // in the evidence
	}{
		"a bare machine": {},
		"cloud-init names the MAC": {
			files: map[string]string{"/etc/netplan/50-cloud-init.yaml": yamlHead + "    ens4: {match: {macaddress: \"02:00:00:00:01:01\"}, dhcp4: true, set-name: ens4}\n"},
			want:  "netplan /etc/netplan/50-cloud-init.yaml ens4", says: "MAC 02:00:00:00:01:01"},
		"the MAC in upper case, without quotes": {
			files: map[string]string{"/etc/netplan/50.yaml": yamlHead + "    lan:\n      match:\n        macaddress: 02:00:00:00:01:01\n"},
			want:  "netplan /etc/netplan/50.yaml lan"},
		"the permanent MAC of a link that has another one now": {
			files: map[string]string{"/etc/netplan/50.yaml": yamlHead + "    lan: {match: {macaddress: \"02:00:00:00:01:01\"}}\n"}, link: bonded,
			want: "netplan /etc/netplan/50.yaml lan"},
		"netplan names another MAC": {
			files: map[string]string{"/etc/netplan/50.yaml": yamlHead + "    ens4: {match: {macaddress: \"02:00:00:00:01:02\"}, set-name: ens4}\n"}},
		"netplan names the link by its id": {
			files: map[string]string{"/etc/netplan/01.yaml": yamlHead + "    ens4: {dhcp4: true}\n"},
			want:  "netplan /etc/netplan/01.yaml ens4", says: "name ens4"},
		"netplan names the link by its id, with nothing in it": {
			files: map[string]string{"/etc/netplan/01.yaml": yamlHead + "    ens4:\n"},
			want:  "netplan /etc/netplan/01.yaml ens4"},
		"netplan names it by an alternative name": {
			files: map[string]string{"/etc/netplan/01.yaml": yamlHead + "    enp0s4: {}\n"},
			want:  "netplan /etc/netplan/01.yaml enp0s4"},
		"netplan has all Ethernet names": {
			files: map[string]string{"/etc/netplan/01.yaml": yamlHead + "    all: {match: {name: \"en*\"}, dhcp4: true}\n"},
			want:  "netplan /etc/netplan/01.yaml all", says: "name en*"},
		"netplan has a list of names": {
			files: map[string]string{"/etc/netplan/01.yaml": yamlHead + "    all: {match: {name: [\"eth*\", \"ens*\"]}}\n"},
			want:  "netplan /etc/netplan/01.yaml all"},
		"netplan has names that it does not have": {
			files: map[string]string{"/etc/netplan/01.yaml": yamlHead + "    ens4: {match: {name: \"eth*\"}}\n"}},
		"netplan has the name, but of another driver": {
			files: map[string]string{"/etc/netplan/01.yaml": yamlHead + "    all: {match: {name: \"en*\", driver: ixgbe}}\n", "/sys/bus/virtio/drivers/virtio_net/x": ""}},
		"netplan has the driver": {
			files: map[string]string{"/etc/netplan/01.yaml": yamlHead + "    all: {match: {driver: \"virtio*\"}}\n", "/sys/bus/virtio/drivers/virtio_net/x": ""},
			want:  "netplan /etc/netplan/01.yaml all", says: "driver virtio*"},
		"netplan has anything": {
			files: map[string]string{"/etc/netplan/01.yaml": yamlHead + "    all: {match: {}, dhcp4: true}\n"},
			want:  "netplan /etc/netplan/01.yaml all", says: "any link"},
		"only we name it": {
			files: map[string]string{"/etc/netplan/90-multinic1.yaml": yamlHead + "    multinic1: {match: {macaddress: \"02:00:00:00:01:01\"}}\n"}},
		"we and another name it": {
			files: map[string]string{
				"/etc/netplan/90-multinic1.yaml": yamlHead + "    multinic1: {match: {macaddress: \"02:00:00:00:01:01\"}}\n",
				"/etc/netplan/95-late.yaml":      yamlHead + "    lan: {match: {macaddress: \"02:00:00:00:01:01\"}}\n"},
			want: "netplan /etc/netplan/95-late.yaml lan"},
		"a file in /run is hidden by one of /etc": {
			files: map[string]string{
				"/etc/netplan/50.yaml": yamlHead + "    ens9: {}\n",
				"/run/netplan/50.yaml": yamlHead + "    ens4: {}\n"}},
		"a file in /run that nothing hides": {
			files: map[string]string{"/run/netplan/50.yaml": yamlHead + "    ens4: {}\n"},
			want:  "netplan /run/netplan/50.yaml ens4"},
		"a YAML that cannot be read and names the MAC": {
			files: map[string]string{"/etc/netplan/50.yaml": "network: {ethernets: [\n  02:00:00:00:01:01"},
			want:  "unknown /etc/netplan/50.yaml ", says: "cannot be read"},
		"a YAML that cannot be read and does not": {
			files: map[string]string{"/etc/netplan/50.yaml": "network: {ethernets: ["}},
		"a bridge of netplan with the link's name in it": {
			files: map[string]string{"/etc/netplan/50.yaml": "network: {ethernets: {ens4: {}}, bridges: {br0: {interfaces: [ens4]}}}"},
			want:  "netplan /etc/netplan/50.yaml ens4"},
		"networkd configured it by a unit": {
			files: map[string]string{"/run/systemd/netif/links/3": "# This is private data.\nADMIN_STATE=configured\nNETWORK_FILE=/run/systemd/network/10-netplan-ens4.network\n"},
			want:  "networkd /run/systemd/network/10-netplan-ens4.network 10-netplan-ens4", says: "state configured"},
		"networkd configured it by our unit": {
			files: map[string]string{"/run/systemd/netif/links/3": "ADMIN_STATE=configured\nNETWORK_FILE=/run/systemd/network/10-netplan-multinic1.network\n"}},
		"networkd leaves it alone": {
			files: map[string]string{"/run/systemd/netif/links/3": "ADMIN_STATE=unmanaged\n"}},
		"networkd configured another link": {
			files: map[string]string{"/run/systemd/netif/links/4": "ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/lan.network\n"}},
		"a unit of networkd names the MAC": {
			files: map[string]string{"/run/systemd/netif/x": "", "/etc/systemd/network/20-lan.network": "[Match]\nMACAddress=02:00:00:00:01:01 02:00:00:00:01:02\n[Network]\nDHCP=yes\n"},
			want:  "networkd /etc/systemd/network/20-lan.network 20-lan"},
		"a unit of networkd names the MAC, but networkd does not run": {
			files: map[string]string{"/etc/systemd/network/20-lan.network": "[Match]\nMACAddress=02:00:00:00:01:01\n"}},
		"a unit of networkd has the name": {
			files: map[string]string{"/run/systemd/netif/x": "", "/run/systemd/network/20-lan.network": "[Match]\nName=eth* en*\n"},
			want:  "networkd /run/systemd/network/20-lan.network 20-lan"},
		"a unit of networkd has all names but this one": {
			files: map[string]string{"/run/systemd/netif/x": "", "/etc/systemd/network/20-lan.network": "[Match]\nName=!ens4 lo\n"}},
		"a unit of networkd has the name and another MAC": {
			files: map[string]string{"/run/systemd/netif/x": "", "/etc/systemd/network/20-lan.network": "[Match]\nName=ens4\nMACAddress=02:00:00:00:01:02\n"}},
		"a unit of networkd has all bridges": {
			files: map[string]string{"/run/systemd/netif/x": "", "/etc/systemd/network/20-lan.network": "[Match]\nKind=bridge\n"}},
		"a unit of networkd tells it to leave the link alone, before one that would not": {
			files: map[string]string{"/run/systemd/netif/x": "", "/etc/systemd/network/10-cni.network": "[Match]\nName=ens4\n[Link]\nUnmanaged=yes\n", "/etc/systemd/network/20-all.network": "[Match]\nName=*\n[Network]\nDHCP=yes\n"}},
		"what netplan generated does not speak for itself": {
			files: map[string]string{"/run/systemd/netif/x": "", "/run/systemd/network/10-netplan-ens4.network": "[Match]\nName=ens4\n"}},
		"a keyfile that names no link is in force on it": {
			files: map[string]string{"/etc/NetworkManager/system-connections/any.nmconnection": "[connection]\nid=any\nuuid=u-1\ntype=ethernet\n", "/run/NetworkManager/devices/3": "[device]\nmanaged=true\nconnection-uuid=u-1\n"},
			want:  "NetworkManager /etc/NetworkManager/system-connections/any.nmconnection any", says: "in force"},
		"a keyfile that names no link is in force on another": {
			files: map[string]string{"/etc/NetworkManager/system-connections/any.nmconnection": "[connection]\nid=any\nuuid=u-1\ntype=ethernet\n", "/run/NetworkManager/devices/4": "[device]\nconnection-uuid=u-1\n"}},
		"an ifcfg file that names no link is in force on it": {
			files: map[string]string{"/etc/sysconfig/network-scripts/ifcfg-any": "TYPE=Ethernet\nUUID=u-1\n", "/run/NetworkManager/devices/3": "[device]\nconnection-uuid=u-1\n"},
			want:  "NetworkManager /etc/sysconfig/network-scripts/ifcfg-any any"},
		"our keyfile is in force on it": {
			files: map[string]string{"/etc/NetworkManager/system-connections/multinic1.nmconnection": "[connection]\nuuid=u-1\ntype=ethernet\n[ethernet]\nmac-address=02:00:00:00:01:01\n", "/run/NetworkManager/devices/3": "[device]\nconnection-uuid=u-1\n"}},
		"NetworkManager made a profile of its own, for want of another": {
			files: map[string]string{"/run/NetworkManager/system-connections/Wired connection 1.nmconnection": "[connection]\nid=Wired connection 1\nuuid=u-1\ntype=ethernet\ninterface-name=ens4\n\n[.nmmeta]\nnm-generated=true\n", "/run/NetworkManager/devices/3": "[device]\nconnection-uuid=u-1\n"}},
		"a keyfile names the link": {
			files: map[string]string{"/etc/NetworkManager/system-connections/lan.nmconnection": "[connection]\nid=Office LAN\ntype=ethernet\ninterface-name=ens4\n"},
			want:  "NetworkManager /etc/NetworkManager/system-connections/lan.nmconnection Office LAN"},
		"a keyfile names the MAC": {
			files: map[string]string{"/run/NetworkManager/system-connections/lan.nmconnection": "[connection]\nid=lan\ntype=802-3-ethernet\n\n[802-3-ethernet]\nmac-address=2;0;0;0;1;1;\n"},
			want:  "NetworkManager /run/NetworkManager/system-connections/lan.nmconnection lan"},
		"a keyfile for any NIC": {
			files: map[string]string{"/etc/NetworkManager/system-connections/any.nmconnection": "[connection]\nid=any\ntype=ethernet\n"}},
		"a keyfile of a bridge with that name": {
			files: map[string]string{"/etc/NetworkManager/system-connections/br.nmconnection": "[connection]\nid=br\ntype=bridge\ninterface-name=ens4\n"}},
		"our own keyfile": {
			files: map[string]string{"/etc/NetworkManager/system-connections/multinic1.nmconnection": "[connection]\nid=multinic1\ntype=ethernet\n[ethernet]\nmac-address=02:00:00:00:01:01\n"}},
		"an ifcfg file names the device": {
			files: map[string]string{"/etc/sysconfig/network-scripts/ifcfg-ens4": "# made by hand\nDEVICE=\"ens4\"\nNAME='lan'\nONBOOT=yes\n"},
			want:  "NetworkManager /etc/sysconfig/network-scripts/ifcfg-ens4 lan"},
		"an ifcfg file names the MAC": {
			files: map[string]string{"/etc/sysconfig/network-scripts/ifcfg-lan": "HWADDR=02:00:00:00:01:01\n"},
			want:  "NetworkManager /etc/sysconfig/network-scripts/ifcfg-lan lan"},
		"a saved ifcfg file": {
			files: map[string]string{"/etc/sysconfig/network-scripts/ifcfg-ens4.rpmsave": "DEVICE=ens4\n", "/etc/sysconfig/network-scripts/ifcfg-lo": "DEVICE=lo\n"}},
		"a stanza of ifupdown": {
			files: map[string]string{"/sbin/ifup": "", "/etc/network/interfaces.d/lan": "auto ens4\niface ens4 inet dhcp\n"},
			want:  "ifupdown /etc/network/interfaces.d/lan ens4"},
		"a stanza of ifupdown where there is no ifupdown": {
			files: map[string]string{"/etc/network/interfaces": "iface ens4 inet dhcp\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSurvey(t)
			hosttest.Files(t, s.host.Root, test.files)
			if err := os.MkdirAll(s.host.Path("/sys/class/net/ens4/device"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("../../../../bus/virtio/drivers/virtio_net", s.host.Path("/sys/class/net/ens4/device/driver")); err != nil {
				t.Fatal(err)
			}
			link := test.link
			if link.Index == 0 {
				link = testLink
			}
			lo := nic.Link{Index: 1, Name: "lo"}
			for range 2 { // the second time from the cache
				claims, err := s.Claims(t.Context(), []nic.Link{lo, link}, ourFile)
				if err != nil {
					t.Fatal(err)
				}
				got, evidence := "", ""
				if c := claims[link.Index]; c != nil {
					got, evidence = c.Owner+" "+c.File+" "+c.ID, c.Evidence
				}
				if got != test.want || !strings.Contains(evidence, test.says) {
					t.Errorf("got %q (%s), want %q with %q", got, evidence, test.want, test.says)
				}
				if claims[1] != nil {
					t.Errorf("lo is claimed: %+v", claims[1])
				}
			}
		})
	}
}

func TestClaimsSeeAFileThatChanged(t *testing.T) {
	s := newSurvey(t)
	claimed := func() bool {
		t.Helper()
		c, err := s.Claims(t.Context(), []nic.Link{testLink}, ourFile)
		if err != nil {
			t.Fatal(err)
		}
		return c[3] != nil
	}
	hosttest.Files(t, s.host.Root, map[string]string{"/etc/netplan/50.yaml": yamlHead + "    ens5: {}\n"})
	if claimed() {
		t.Error("ens4 is claimed by a file about ens5")
	}
	then := time.Now().Add(-time.Hour)
	hosttest.Files(t, s.host.Root, map[string]string{"/etc/netplan/50.yaml": yamlHead + "    ens4: {}\n"}) // of the same size
	if err := os.Chtimes(s.host.Path("/etc/netplan/50.yaml"), then, then); err != nil {
		t.Fatal(err)
	}
	if !claimed() {
		t.Error("the change was not seen")
	}
	if err := s.host.Remove("/etc/netplan/50.yaml"); err != nil {
		t.Fatal(err)
	}
	if claimed() {
		t.Error("the file has gone, but still claims")
	}
}

func FuzzClaimReaders(f *testing.F) {
	f.Add([]byte(yamlHead + "    ens4: {match: {macaddress: \"02:00:00:00:01:01\", name: [a, \"b*\"]}}\n"))
	f.Add([]byte("[Match]\nName=!a b\nMACAddress=02:00:00:00:01:01\n[Link]\nUnmanaged=yes"))
	f.Add([]byte("[connection]\ntype=ethernet\ninterface-name=ens4\n[ethernet]\nmac-address=2;0;0;0;1;1;"))
	f.Add([]byte("DEVICE='ens4'\nHWADDR=02:00:00:00:01:01"))
	f.Add([]byte("iface ens4 inet dhcp"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, s := range sources {
			definitions, err := s.parse("/f", data)
			if err != nil && definitions != nil {
				t.Error("both an error and definitions")
			}
			for _, d := range definitions {
				d.matches(testLink, "virtio_net")
			}
		}
	})
}

func BenchmarkClaims(b *testing.B) {
	s := newSurvey(b)
	for i := range 10 {
		p := s.host.Path("/etc/netplan")
		if err := os.MkdirAll(p, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(p+"/5"+string(rune('0'+i))+".yaml", []byte(yamlHead+"    ens5: {}\n"), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	links := make([]nic.Link, 10)
	for i := range links {
		links[i] = testLink
		links[i].Index = i + 2
	}
	for b.Loop() {
		if _, err := s.Claims(b.Context(), links, ourFile); err != nil {
			b.Fatal(err)
		}
	}
}
