#!/bin/sh
# provision.sh PACKAGE OBJECT: installs the package, also over one of the same version, has multinicd
# configure the NICs of the object, and shows the result. It runs as root in a machine of the
# Vagrantfile, at `vagrant up` and at each `vagrant provision`.
set -eu
package=$1 object=$2

case $package in
*.deb)
	export DEBIAN_FRONTEND=noninteractive
	install="apt-get --quiet --quiet install --yes --reinstall --allow-downgrades -o Dpkg::Options::=--force-confold $package"
	$install || { apt-get --quiet --quiet update && $install; }
	;;
*.rpm)
	if rpm --query --quiet multinicd; then
		rpm --upgrade --force "$package"
	else
		dnf --quiet --assumeyes install "$package"
	fi
	;;
esac

# The node's name is the object's, whatever the machine is called.
node=$(sed -n 's/^  nodeName: *//p' "$object")
install -m 0600 "$object" /etc/multinicd/node.yaml
cat >/etc/multinicd/multinicd.toml <<END
node = "$node"

[source]
mode = "file"
file = "/etc/multinicd/node.yaml"
END
systemctl enable --quiet multinicd
systemctl restart multinicd
for _ in $(seq 60); do
	multinicd status | grep -q ' Configured, ' && break
	sleep 1
done

multinicd version
multinicd status
ip -br address
