#!/bin/bash
# kubectl.sh DIST ARCH=BINARY...: makes DIST/kubectl-multinic_VERSION_linux_ARCH.tar.gz, the plugin of
# kubectl, for each ARCH, and DIST/multinic.yaml, its manifest for krew. BINARY is multinic-bridge of
# that architecture. The same input gives the same bytes. `make kubectl` calls this script.
#
# It needs VERSION, SOURCE_DATE_EPOCH (in seconds; every time in an archive is this one), LICENSES and
# KREW_URL (the folder from which the archives can be fetched).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C.UTF-8 TZ=UTC
umask 022
dist=$(realpath "$1")
shift
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

manifest=$dist/multinic.yaml
cat >"$scratch/multinic.yaml" <<END
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: multinic
spec:
  version: v$VERSION
  shortDescription: Look at NICs of nodes, and act on them
  description: |
    Shows what multinicd does on the nodes of a cluster: all nodes (fleet), one
    of them with its NICs and its last changes (node), and again when something
    changes. It asks nodes to act (trigger, cleanup), lets machines join
    (token), and goes over from the older object (migrate).
  caveats: |
    kubectl completes it if kubectl_complete-multinic, which is in the archive,
    is in a folder of PATH:
      ln -s ~/.krew/store/multinic/v$VERSION/kubectl_complete-multinic ~/.krew/bin/
  platforms:
END
for pair in "$@"; do
	arch=${pair%%=*} name=kubectl-multinic_${VERSION}_linux_${pair%%=*}.tar.gz
	tree=$scratch/$arch
	mkdir -p "$tree/completion"
	install -m 755 "${pair#*=}" "$tree/kubectl-multinic"
	install -m 755 packaging/completion/kubectl_complete-multinic "$tree"
	install -m 644 packaging/completion/multinic-bridge.* "$tree/completion"
	install -m 644 packaging/man/multinic-bridge.8 LICENSE "$tree"
	install -m 644 "$LICENSES" "$tree/LICENSES"
	(cd "$tree" && find . -type f | sort | sed 's,^\./,,' |
		tar --create --format=ustar --no-recursion --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --files-from=-) | gzip -9n >"$dist/$name"
	cat >>"$scratch/multinic.yaml" <<END
  - selector:
      matchLabels:
        os: linux
        arch: $arch
    uri: $KREW_URL/$name
    sha256: $(sha256sum <"$dist/$name" | cut -d ' ' -f 1)
    bin: kubectl-multinic
END
	echo "$dist/$name"
done
go run ./tools/krew "$scratch/multinic.yaml" "$dist" # says what krew would refuse
mv "$scratch/multinic.yaml" "$manifest"
echo "$manifest"
