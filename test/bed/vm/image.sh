#!/bin/sh
# image.sh ROOT FLAVOUR: makes the root file system in the folder ROOT like one of the images that
# Debian's cloud team makes, beyond what packages do. FLAVOUR is networkd or networkmanager. A hook
# of mmdebstrap calls it.
set -eu
root=$1

# The initrd has what a virtio disk needs, and virtio_net as the stock one has: a NIC gets its first
# name there.
printf 'MODULES=list\nCOMPRESS=zstd\nFSTYPE=ext4\n' >"$root/etc/initramfs-tools/conf.d/vm"
printf 'virtio_pci\nvirtio_blk\nvirtio_net\next4\n' >>"$root/etc/initramfs-tools/modules"
chroot "$root" update-initramfs -u >/dev/null

echo '/dev/vda / ext4 rw,discard,errors=remount-ro 0 1' >"$root/etc/fstab"
echo localhost >"$root/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' >"$root/etc/hosts"
: >"$root/etc/machine-id"

case $2 in
networkd)
	# The image's word on every NIC: no package ships it.
	mkdir -p "$root/etc/netplan"
	{
		printf 'network:\n    version: 2\n    ethernets:\n'
		for names in en eth; do
			printf '        all-%s:\n            match:\n                name: %s*\n' $names $names
			printf '            dhcp4: true\n            dhcp4-overrides:\n                use-domains: true\n'
			printf '            dhcp6: true\n            dhcp6-overrides:\n                use-domains: true\n'
		done
	} >"$root/etc/netplan/90-default.yaml"
	chroot "$root" systemctl enable --quiet systemd-networkd systemd-resolved
	ln -sf /run/systemd/resolve/resolv.conf "$root/etc/resolv.conf"
	;;
networkmanager)
	# As images of the RHEL family have it.
	printf 'system_info:\n  network:\n    renderers: [network-manager]\n    activators: [network-manager]\n' \
		>"$root/etc/cloud/cloud.cfg.d/10_renderer.cfg"
	;;
esac

# Not like a stock image: no mirror, since a world of the test bed has none; no locales, without
# which cloud-init must not be asked for one; one host key, which takes seconds to make; a password
# for root on the serial console.
: >"$root/etc/apt/sources.list"
rm -f "$root"/etc/apt/sources.list.d/*
cat >"$root/etc/cloud/cloud.cfg.d/90_bed.cfg" <<'END'
apt: {preserve_sources_list: true}
locale: false
ssh_genkeytypes: [ed25519]
END
echo root:root | chroot "$root" chpasswd
