package survey

import (
	"log/slog"
	"maps"
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

// readers are by whom all files of the machines below are read.
var readers = map[string]string{hasNetplan: "", hasNetworkd: "", "/run/NetworkManager/devices/1": "",
	"/usr/lib64/NetworkManager/1.54.3-2.el9_8/libnm-settings-plugin-ifcfg-rh.so": "", "/sbin/ifup": ""}

const yamlHead = "network:\n  version: 2\n  ethernets:\n"

const (
	wired     = "/run/NetworkManager/system-connections/Wired connection 1.nmconnection"
	wiredText = "[connection]\nid=Wired connection 1\nuuid=u-1\ntype=ethernet\ninterface-name=ens4\n\n[.nmmeta]\nnm-generated=true\n"
	ifcfgLeft = "/etc/sysconfig/network-scripts/ifcfg-ens4"
	ifcfgText = "TYPE=Ethernet\nBOOTPROTO=dhcp\nDEVICE=ens4\nONBOOT=yes\n"
)

func TestClaims(t *testing.T) {
	bonded := testLink
	bonded.MAC, bonded.Permanent = nic.MAC{2, 0, 0, 0, 9, 9}, testLink.MAC
	for name, test := range map[string]struct {
		files map[string]string
		lacks string   // what nobody runs here: part of a name in readers
		link  nic.Link // testLink if zero
		want  string   // owner, file and id, and whether a machine wrote it; "" for no claim
		says  string   // in the evidence
	}{
		"a bare machine": {},
		"cloud-init names the MAC": {
			files: map[string]string{"/etc/netplan/50-cloud-init.yaml": yamlHead + "    ens4: {match: {macaddress: \"02:00:00:00:01:01\"}, dhcp4: true, set-name: ens4}\n"},
			want:  "netplan /etc/netplan/50-cloud-init.yaml ens4 by a machine", says: "(by MAC 02:00:00:00:01:01): written by cloud-init"},
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
			want:  "netplan /etc/netplan/01.yaml all by a machine", says: "name en*"},
		"netplan has a list of names": {
			files: map[string]string{"/etc/netplan/01.yaml": yamlHead + "    all: {match: {name: [\"eth*\", \"ens*\"]}}\n"},
			want:  "netplan /etc/netplan/01.yaml all by a machine", says: " every eth* ens*: an image's catch-all"},
		"netplan has names that it does not have": {
			files: map[string]string{"/etc/netplan/01.yaml": yamlHead + "    ens4: {match: {name: \"eth*\"}}\n"}},
		"netplan has the name, but of another driver": {
			files: map[string]string{"/etc/netplan/01.yaml": yamlHead + "    all: {match: {name: \"en*\", driver: ixgbe}}\n", "/sys/bus/virtio/drivers/virtio_net/x": ""}},
		"netplan has the driver": {
			files: map[string]string{"/etc/netplan/01.yaml": yamlHead + "    all: {match: {driver: \"virtio*\"}}\n", "/sys/bus/virtio/drivers/virtio_net/x": ""},
			want:  "netplan /etc/netplan/01.yaml all by a machine", says: "driver virtio*"},
		"netplan has anything": {
			files: map[string]string{"/etc/netplan/01.yaml": yamlHead + "    all: {match: {}, dhcp4: true}\n"},
			want:  "netplan /etc/netplan/01.yaml all by a machine", says: "any link"},
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
			want:  "netplan /run/netplan/50.yaml ens4 by a machine", says: "a program or the distribution"},
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
			want:  "networkd /run/systemd/network/10-netplan-ens4.network 10-netplan-ens4 by a machine", says: "state configured"},
		"networkd configured it by our unit": {
			files: map[string]string{"/run/systemd/netif/links/3": "ADMIN_STATE=configured\nNETWORK_FILE=/run/systemd/network/10-netplan-multinic1.network\n"}},
		"networkd leaves it alone": {
			files: map[string]string{"/run/systemd/netif/links/3": "ADMIN_STATE=unmanaged\n"}},
		"networkd configured another link": {
			files: map[string]string{"/run/systemd/netif/links/4": "ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/lan.network\n"}},
		"a unit of networkd names the MAC": {
			files: map[string]string{"/etc/systemd/network/20-lan.network": "[Match]\nMACAddress=02:00:00:00:01:01 02:00:00:00:01:02\n[Network]\nDHCP=yes\n"},
			want:  "networkd /etc/systemd/network/20-lan.network 20-lan"},
		"a unit of networkd names the MAC, but networkd does not run": {
			lacks: "netif", files: map[string]string{"/etc/systemd/network/20-lan.network": "[Match]\nMACAddress=02:00:00:00:01:01\n"}},
		"a unit of networkd has the name": {
			files: map[string]string{"/run/systemd/network/20-lan.network": "[Match]\nName=eth* en*\n"},
			want:  "networkd /run/systemd/network/20-lan.network 20-lan by a machine"},
		"a unit of networkd has all names but this one": {
			files: map[string]string{"/etc/systemd/network/20-lan.network": "[Match]\nName=!ens4 lo\n"}},
		"a unit of networkd has the name and another MAC": {
			files: map[string]string{"/etc/systemd/network/20-lan.network": "[Match]\nName=ens4\nMACAddress=02:00:00:00:01:02\n"}},
		"a unit of networkd has all bridges": {
			files: map[string]string{"/etc/systemd/network/20-lan.network": "[Match]\nKind=bridge\n"}},
		"a unit of networkd tells it to leave the link alone, before one that would not": {
			files: map[string]string{"/etc/systemd/network/10-cni.network": "[Match]\nName=ens4\n[Link]\nUnmanaged=yes\n", "/etc/systemd/network/20-all.network": "[Match]\nName=*\n[Network]\nDHCP=yes\n"}},
		"what netplan generated does not speak for itself": {
			files: map[string]string{"/run/systemd/network/10-netplan-ens4.network": "[Match]\nName=ens4\n"}},
		"a keyfile that names no link is in force on it": {
			files: map[string]string{"/etc/NetworkManager/system-connections/any.nmconnection": "[connection]\nid=any\nuuid=u-1\ntype=ethernet\n", "/run/NetworkManager/devices/3": "[device]\nmanaged=true\nconnection-uuid=u-1\n"},
			want:  "NetworkManager /etc/NetworkManager/system-connections/any.nmconnection any by a machine", says: "in force"},
		"a keyfile that names no link is in force on another": {
			files: map[string]string{"/etc/NetworkManager/system-connections/any.nmconnection": "[connection]\nid=any\nuuid=u-1\ntype=ethernet\n", "/run/NetworkManager/devices/4": "[device]\nconnection-uuid=u-1\n"}},
		"an ifcfg file that names no link is in force on it": {
			files: map[string]string{"/etc/sysconfig/network-scripts/ifcfg-any": "TYPE=Ethernet\nUUID=u-1\n", "/run/NetworkManager/devices/3": "[device]\nconnection-uuid=u-1\n"},
			want:  "NetworkManager /etc/sysconfig/network-scripts/ifcfg-any any by a machine"},
		"our keyfile is in force on it": {
			files: map[string]string{"/etc/NetworkManager/system-connections/multinic1.nmconnection": "[connection]\nuuid=u-1\ntype=ethernet\n[ethernet]\nmac-address=02:00:00:00:01:01\n", "/run/NetworkManager/devices/3": "[device]\nconnection-uuid=u-1\n"}},
		"NetworkManager made a profile of its own, for want of another": {
			files: map[string]string{wired: wiredText, "/run/NetworkManager/devices/3": "[device]\nconnection-uuid=u-1\n"},
			want:  "NetworkManager " + wired + " Wired connection 1 by a machine", says: "NetworkManager by itself"},
		"that profile is in force on no link": {
			files: map[string]string{wired: wiredText}},
		"NetworkManager wrote down what somebody has set on the link": {
			files: map[string]string{wired: strings.Replace(wiredText, "nm-generated=true", "nm-generated=true\nvolatile=true\nexternal=true", 1), "/run/NetworkManager/devices/3": "[device]\nconnection-uuid=u-1\n"}},
		"an older NetworkManager wrote down an address that somebody has set": {
			files: map[string]string{wired: wiredText + "[ipv4]\nmethod=manual\naddress1=10.9.9.9/24\n", "/run/NetworkManager/devices/3": "[device]\nconnection-uuid=u-1\n"}},
		"such a profile that was kept": {
			files: map[string]string{"/etc/NetworkManager/system-connections/Wired connection 2.nmconnection": "[connection]\nid=Wired connection 2\nuuid=u-1\ntype=ethernet\ninterface-name=ens4\n[ipv4]\nmethod=auto\n", "/run/NetworkManager/devices/3": "[device]\nconnection-uuid=u-1\n"},
			want:  "NetworkManager /etc/NetworkManager/system-connections/Wired connection 2.nmconnection Wired connection 2 by a machine"},
		"such a profile to which a person gave an address": {
			files: map[string]string{"/etc/NetworkManager/system-connections/Wired connection 2.nmconnection": "[connection]\nid=Wired connection 2\nuuid=u-1\ntype=ethernet\ninterface-name=ens4\n[ipv4]\nmethod=manual\n"},
			want:  "NetworkManager /etc/NetworkManager/system-connections/Wired connection 2.nmconnection Wired connection 2", says: "it names ens4: somebody meant it"},
		"the initrd's profile is in force": {
			files: map[string]string{"/run/NetworkManager/system-connections/ens4.nmconnection": "[connection]\nid=ens4\nuuid=u-1\ntype=ethernet\ninterface-name=ens4\n[user]\norg.freedesktop.NetworkManager.origin=nm-initrd-generator\n", "/run/NetworkManager/devices/3": "[device]\nconnection-uuid=u-1\n"},
			want:  "NetworkManager /run/NetworkManager/system-connections/ens4.nmconnection ens4 by a machine", says: "written by the initrd"},
		"cloud-init's keyfile names the MAC": {
			files: map[string]string{"/etc/NetworkManager/system-connections/cloud-init-ens4.nmconnection": "[connection]\nid=cloud-init ens4\ntype=ethernet\n[ethernet]\nmac-address=02:00:00:00:01:01\n"},
			want:  "NetworkManager /etc/NetworkManager/system-connections/cloud-init-ens4.nmconnection cloud-init ens4 by a machine", says: "written by cloud-init"},
		"cloud-init's keyfile under another name": {
			files: map[string]string{"/etc/NetworkManager/system-connections/ens4.nmconnection": "[connection]\nid=ens4\ntype=ethernet\n[user]\norg.freedesktop.NetworkManager.origin=cloud-init\n[ethernet]\nmac-address=02:00:00:00:01:01\n"},
			want:  "NetworkManager /etc/NetworkManager/system-connections/ens4.nmconnection ens4 by a machine", says: "written by cloud-init"},
		"cloud-init's ifcfg file names the device": {
			files: map[string]string{"/etc/sysconfig/network-scripts/ifcfg-ens4": "# Created by cloud-init automatically, do not edit.\n#\nDEVICE=ens4\n"},
			want:  "NetworkManager /etc/sysconfig/network-scripts/ifcfg-ens4 ens4 by a machine", says: "written by cloud-init"},
		"cloud-init's unit of networkd names the MAC": {
			files: map[string]string{"/etc/systemd/network/10-cloud-init-ens4.network": "[Match]\nName=ens4\nMACAddress=02:00:00:00:01:01\n[Network]\nDHCP=yes\n"},
			want:  "networkd /etc/systemd/network/10-cloud-init-ens4.network 10-cloud-init-ens4 by a machine", says: "written by cloud-init"},
		"cloud-init's stanza of ifupdown": {
			files: map[string]string{"/etc/network/interfaces.d/50-cloud-init": "auto ens4\niface ens4 inet dhcp\n"},
			want:  "ifupdown /etc/network/interfaces.d/50-cloud-init ens4 by a machine"},
		"a catch-all of the image and a person's file, which comes later": {
			files: map[string]string{"/etc/netplan/01-all.yaml": yamlHead + "    all: {match: {name: \"en*\"}, dhcp4: true}\n", "/etc/netplan/50-cloud-init.yaml": yamlHead + "    ens4: {match: {macaddress: \"02:00:00:00:01:01\"}, dhcp4: true}\n",
				"/etc/netplan/60-storage.yaml": yamlHead + "    storage: {match: {macaddress: \"02:00:00:00:01:01\"}, addresses: [10.9.0.5/24]}\n"},
			want: "netplan /etc/netplan/60-storage.yaml storage", says: "it names this MAC: somebody meant it"},
		"a catch-all of netplan's and a person's keyfile": {
			files: map[string]string{"/etc/netplan/01-all.yaml": yamlHead + "    all: {match: {name: \"en*\"}, dhcp4: true}\n", "/etc/NetworkManager/system-connections/lan.nmconnection": "[connection]\nid=lan\ntype=ethernet\ninterface-name=ens4\n"},
			want:  "NetworkManager /etc/NetworkManager/system-connections/lan.nmconnection lan"},
		"a unit of the distribution's before a person's, who does not get the link": {
			files: map[string]string{"/usr/lib/systemd/network/20-wired.network": "[Match]\nType=ether\n[Network]\nDHCP=yes\n", "/etc/systemd/network/30-lan.network": "[Match]\nName=ens4\n"},
			want:  "networkd /usr/lib/systemd/network/20-wired.network 20-wired by a machine", says: "puts files into /usr/lib/systemd/network"},
		"networkd has what netplan made of a person's definition, under the link's name before": {
			files: map[string]string{"/etc/netplan/50.yaml": yamlHead + "    lan0: {dhcp4: true}\n", "/run/systemd/netif/links/3": "ADMIN_STATE=configured\nNETWORK_FILE=/run/systemd/network/10-netplan-lan0.network\n"},
			want:  "networkd /run/systemd/network/10-netplan-lan0.network 10-netplan-lan0", says: "it names lan0: somebody meant it"},
		"networkd has what netplan made of cloud-init's, under the link's name before": {
			files: map[string]string{"/etc/netplan/50-cloud-init.yaml": yamlHead + "    lan0: {dhcp4: true}\n", "/run/systemd/netif/links/3": "ADMIN_STATE=configured\nNETWORK_FILE=/run/systemd/network/10-netplan-lan0.network\n"},
			want:  "networkd /run/systemd/network/10-netplan-lan0.network 10-netplan-lan0 by a machine", says: "written by cloud-init"},
		"NetworkManager has what netplan made of a file that is gone": {
			files: map[string]string{managerFile("lan0"): "[connection]\nid=netplan-lan0\nuuid=u-1\ntype=ethernet\ninterface-name=lan0\n", "/run/NetworkManager/devices/3": "[device]\nconnection-uuid=u-1\n"},
			want:  "NetworkManager " + managerFile("lan0") + " netplan-lan0 by a machine", says: "from a file that is gone"},
		"NetworkManager has what netplan made of a person's definition, under the link's name before": {
			files: map[string]string{"/etc/netplan/50.yaml": "network: {renderer: NetworkManager, ethernets: {lan0: {}}}", managerFile("lan0"): "[connection]\nid=netplan-lan0\nuuid=u-1\ntype=ethernet\ninterface-name=lan0\n", "/run/NetworkManager/devices/3": "[device]\nconnection-uuid=u-1\n"},
			want:  "NetworkManager " + managerFile("lan0") + " netplan-lan0", says: "somebody meant it"},
		"networkd has a unit of /etc that is gone": {
			files: map[string]string{"/run/systemd/netif/links/3": "ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/lan.network\n"},
			want:  "networkd /etc/systemd/network/lan.network lan"},
		"a definition of netplan's, which is not installed": {
			lacks: "netplan/generate", files: map[string]string{"/etc/netplan/50.yaml": yamlHead + "    ens4: {}\n"}},
		"a keyfile where NetworkManager neither runs nor will": {
			lacks: "NetworkManager/devices", files: map[string]string{"/etc/NetworkManager/system-connections/lan.nmconnection": "[connection]\nid=lan\ntype=ethernet\ninterface-name=ens4\n"}},
		"a keyfile where NetworkManager will run": {
			lacks: "NetworkManager/devices", files: map[string]string{"/etc/systemd/system/multi-user.target.wants/NetworkManager.service": "", "/etc/NetworkManager/system-connections/lan.nmconnection": "[connection]\nid=lan\ntype=ethernet\ninterface-name=ens4\n"},
			want: "NetworkManager /etc/NetworkManager/system-connections/lan.nmconnection lan"},
		"an ifcfg file that was left where NetworkManager has no plugin for it": {
			lacks: "ifcfg-rh", files: map[string]string{ifcfgLeft: ifcfgText}},
		"an ifcfg file where the plugin is switched off": {
			files: map[string]string{"/etc/NetworkManager/conf.d/99-keyfiles.conf": "[main]\nplugins=keyfile\n", ifcfgLeft: ifcfgText}},
		"an ifcfg file where the plugin is named": {
			files: map[string]string{"/etc/NetworkManager/NetworkManager.conf": "[main]\nplugins=keyfile,ifcfg-rh\n", ifcfgLeft: ifcfgText},
			want:  "NetworkManager " + ifcfgLeft + " ens4"},
		"an ifcfg file where the old network service reads it": {
			lacks: "NetworkManager", files: map[string]string{"/etc/rc.d/rc3.d/S10network": "", ifcfgLeft: ifcfgText},
			want: "NetworkManager " + ifcfgLeft + " ens4"},
		"a unit of networkd, which will run": {
			lacks: "netif", files: map[string]string{"/etc/systemd/system/multi-user.target.wants/systemd-networkd.service": "", "/etc/systemd/network/20-lan.network": "[Match]\nName=ens4\n"},
			want: "networkd /etc/systemd/network/20-lan.network 20-lan"},
		"a keyfile names the link": {
			files: map[string]string{"/etc/NetworkManager/system-connections/lan.nmconnection": "[connection]\nid=Office LAN\ntype=ethernet\ninterface-name=ens4\n"},
			want:  "NetworkManager /etc/NetworkManager/system-connections/lan.nmconnection Office LAN"},
		"a keyfile of /run names the MAC": {
			files: map[string]string{"/run/NetworkManager/system-connections/lan.nmconnection": "[connection]\nid=lan\ntype=802-3-ethernet\n\n[802-3-ethernet]\nmac-address=2;0;0;0;1;1;\n"},
			want:  "NetworkManager /run/NetworkManager/system-connections/lan.nmconnection lan by a machine"},
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
			files: map[string]string{"/etc/network/interfaces.d/lan": "auto ens4\niface ens4 inet dhcp\n"},
			want:  "ifupdown /etc/network/interfaces.d/lan ens4"},
		"a stanza of ifupdown where there is no ifupdown": {
			lacks: "ifup", files: map[string]string{"/etc/network/interfaces": "iface ens4 inet dhcp\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSurvey(t)
			read := maps.Clone(readers)
			maps.DeleteFunc(read, func(file, _ string) bool { return test.lacks != "" && strings.Contains(file, test.lacks) })
			hosttest.Files(t, s.host.Root, read)
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
					if c.Machine {
						got += " by a machine"
					}
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
	hosttest.Files(t, s.host.Root, map[string]string{hasNetplan: "", "/etc/netplan/50.yaml": yamlHead + "    ens5: {}\n"})
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
	hosttest.Files(b, s.host.Root, readers)
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
