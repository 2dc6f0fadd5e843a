package testhost

import (
	"crypto/md5" // for identifiers, which have its length
	"fmt"
	"net/netip"
	"path"
	"strings"

	"multinicd/test/bed/rootfs"
)

// Cloud is how a cloud makes a host, from a stock image and with cloud-init: nobody has prepared it
// for NICs of ours. Its NICs are called ens3, the primary one, ens4, ens5 and so on. Who has not
// been told better runs DHCP on each of them: networkd by the image's own
// /etc/netplan/90-default.yaml, NetworkManager by a profile that it makes up ("Wired connection
// 1").
type Cloud struct {
	// Ports are the MACs of those NICs, beside the primary one, that the cloud told cloud-init of:
	// at every boot it gives them their names back, and writes a file with DHCP for them anew. They
	// must be among Options.NICs. A NIC that was attached later is not there.
	Ports []string
	// StaticPrimary is a cloud that says the primary NIC's address itself. Else the NIC has it by
	// DHCP, as its default route, of metric 100. The image of such a cloud has no 90-default.yaml,
	// which would have the last word.
	StaticPrimary bool
}

// cloudInitUnit has the name and the order of cloud-init's own, which later units refer to (25.1:
// systemd/cloud-init-local.service).
const (
	cloudInitUnitName = "cloud-init-local.service"
	cloudInitUnit     = `[Unit]
Description=Cloud-init: Local Stage (pre-network), played
DefaultDependencies=no
Wants=network-pre.target
After=systemd-remount-fs.service systemd-udev-trigger.service
Before=NetworkManager.service systemd-networkd.service network-pre.target shutdown.target sysinit.target
Conflicts=shutdown.target
RequiresMountsFor=/var/lib/cloud
[Service]
Type=oneshot
ExecStart=/usr/lib/cloud-init/local
RemainAfterExit=yes
StandardOutput=journal+console
[Install]
WantedBy=multi-user.target
`
)

// cloudInitLocal does what cloud-init's first stage does at every boot (measured with 22.4, 25.1
// and 26.2): it puts the names of links right that it knows by MAC, down if need be, except where
// they have an address already; and it writes its network configuration, and runs netplan's
// generator where that has changed anything. By the time that cloud-init gets so far, udev has
// named the links: so that is waited for.
const cloudInitLocal = `#!/bin/sh
udevadm settle --timeout=10
while read -r mac want; do
	for link in /sys/class/net/*; do
		[ "$(cat "$link/address")" = "$mac" ] || continue
		have=${link##*/}
		[ "$have" != "$want" ] || continue
		if ip -oneline address show dev "$have" scope global | grep -q .; then
			echo "[busy] Error renaming mac=$mac from $have to $want"
			continue
		fi
		up=$(ip -oneline link show dev "$have" up)
		ip link set dev "$have" down
		ip link set dev "$have" name "$want" && echo "renamed $have to $want"
		[ -z "$up" ] || ip link set dev "$want" up
	done
done </var/lib/cloud/names
cd /var/lib/cloud/network || exit 0
anew=
for file in $(find . -type f); do
	cmp -s "$file" "/$file" && continue
	mkdir -p "/${file%/*}"
	cp -p "$file" "/$file"
	echo "wrote ${file#.}"
	case $file in ./etc/netplan/*) anew=yes ;; esac
done
[ -z "$anew" ] || netplan generate
exit 0
`

// catchAll is the image's word on every NIC (Debian's cloud images, 12 and 13).
const catchAll = `network:
    version: 2
    ethernets:
        all-en:
            match:
                name: en*
            dhcp4: true
            dhcp4-overrides:
                use-domains: true
            dhcp6: true
            dhcp6-overrides:
                use-domains: true
        all-eth:
            match:
                name: eth*
            dhcp4: true
            dhcp4-overrides:
                use-domains: true
            dhcp6: true
            dhcp6-overrides:
                use-domains: true
`

// cloudInitSays begins 50-cloud-init.yaml as cloud-init 22.4 writes it; 25.1 writes no such lines.
const cloudInitSays = `# This file is generated from information provided by the datasource.  Changes
# to it will not persist across an instance reboot.  To disable cloud-init's
# network configuration capabilities, write a file
# /etc/cloud/cloud.cfg.d/99-disable-network-config.cfg with the following:
# network: {config: disabled}
`

// cloudFiles are the image's and cloud-init's files. Those of cloud-init are there twice, so that
// it can write them anew.
func (h *Host) cloudFiles(c Cloud, suite string) ([]file, error) {
	ports := []cloudPort{{mac: h.PrimaryMAC, name: h.Primary}}
	if c.StaticPrimary {
		ports[0].address = h.Address
	}
	for _, mac := range c.Ports {
		n, err := h.nic(mac)
		if err != nil {
			return nil, fmt.Errorf("telling cloud-init of a port: %w", err)
		}
		ports = append(ports, cloudPort{mac: n.mac.String(), name: n.name})
	}
	var image, cloudInit []file
	switch h.Flavour {
	case Networkd:
		if !c.StaticPrimary {
			image = append(image, file{"/etc/netplan/90-default.yaml", catchAll, 0o644})
		}
		cloudInit = append(cloudInit, cloudYAML(ports, suite))
	case NetplanNetworkManager:
		image = append(image, file{"/etc/netplan/01-network-manager-all.yaml", "network:\n  version: 2\n  renderer: NetworkManager\n", 0o600})
		cloudInit = append(cloudInit, cloudYAML(ports, suite))
	case NetworkManager:
		for _, p := range ports {
			cloudInit = append(cloudInit, file{"/etc/NetworkManager/system-connections/cloud-init-" + p.name + ".nmconnection", p.keyfile(), 0o600})
		}
	case Ifcfg:
		image = append(image, file{"/etc/NetworkManager/NetworkManager.conf", "[main]\nplugins=ifcfg-rh,keyfile\n", 0o644})
		for _, p := range ports {
			cloudInit = append(cloudInit, file{"/etc/sysconfig/network-scripts/ifcfg-" + p.name, p.ifcfg(), 0o644})
		}
	}
	var names strings.Builder
	for _, p := range ports {
		fmt.Fprintf(&names, "%s %s\n", p.mac, p.name)
	}
	out := append(image,
		file{"/usr/lib/cloud-init/local", cloudInitLocal, 0o755},
		file{"/usr/lib/systemd/system/" + cloudInitUnitName, cloudInitUnit, 0o644},
		file{"/var/lib/cloud/names", names.String(), 0o600},
	)
	for _, f := range cloudInit {
		out = append(out, f, file{path.Join("/var/lib/cloud/network", f.name), f.content, f.mode})
	}
	return out, nil
}

// cloudPort is a NIC that the cloud told cloud-init of.
type cloudPort struct {
	mac, name string
	address   netip.Prefix // by DHCP if invalid
}

// cloudYAML is cloud-init's file as its version in that suite writes it: 22.4 readable to all,
// later ones to root.
func cloudYAML(ports []cloudPort, suite string) file {
	f := file{"/etc/netplan/50-cloud-init.yaml", "network:\n    version: 2\n    ethernets:\n", 0o600}
	if suite == rootfs.DefaultSuite {
		f.content, f.mode = cloudInitSays+f.content, 0o644
	}
	for _, p := range ports {
		f.content += "        " + p.name + ":\n"
		if p.address.IsValid() {
			f.content += fmt.Sprintf("            addresses:\n            - %s\n", p.address)
		} else {
			f.content += "            dhcp4: true\n"
		}
		f.content += fmt.Sprintf("            match:\n                macaddress: %s\n            mtu: 1500\n", p.mac)
		if p.address.IsValid() {
			f.content += fmt.Sprintf("            routes:\n            -   to: 0.0.0.0/0\n                via: %s\n", Gateway)
		}
		f.content += "            set-name: " + p.name + "\n"
	}
	return f
}

// keyfile is what cloud-init writes for NetworkManager.
func (p cloudPort) keyfile() string {
	id := md5.Sum([]byte("cloud-init " + p.name))
	id[6], id[8] = id[6]&0x0f|0x50, id[8]&0x3f|0x80 // of version 5
	method := "method=auto\nmay-fail=false\n"
	if p.address.IsValid() {
		method = fmt.Sprintf("method=manual\nmay-fail=false\naddress1=%s\ngateway=%s\n", p.address, Gateway)
	}
	return fmt.Sprintf(`# Generated by cloud-init. Changes will be lost.

[connection]
id=cloud-init %s
uuid=%x-%x-%x-%x-%x
autoconnect-priority=120
type=ethernet

[user]
org.freedesktop.NetworkManager.origin=cloud-init

[ethernet]
mtu=1500
mac-address=%s

[ipv4]
%s`, p.name, id[:4], id[4:6], id[6:8], id[8:10], id[10:], strings.ToUpper(p.mac), method)
}

// ifcfg is what cloud-init writes for RHEL.
func (p cloudPort) ifcfg() string {
	how := "BOOTPROTO=dhcp\n"
	if p.address.IsValid() {
		how = fmt.Sprintf("BOOTPROTO=none\nDEFROUTE=yes\nGATEWAY=%s\nIPADDR=%s\nNETMASK=%s\n", Gateway, p.address.Addr(), mask(p.address))
	}
	return fmt.Sprintf("# Created by cloud-init automatically, do not edit.\n#\nAUTOCONNECT_PRIORITY=120\n%sDEVICE=%s\nHWADDR=%s\nMTU=1500\nONBOOT=yes\nTYPE=Ethernet\nUSERCTL=no\n",
		how, p.name, p.mac)
}
