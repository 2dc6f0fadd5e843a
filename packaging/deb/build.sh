#!/bin/bash
# deb/build.sh ARCH OUT: builds multinicd_VERSION_ARCH.deb by dpkg-buildpackage into the folder OUT. ARCH is Debian's name,
# which is Go's (amd64, arm64). The environment: see stage.sh. `make deb` calls it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. packaging/stage.sh
arch=$1 out=$(realpath "$2") name=multinicd_${VERSION}_$1.deb

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tree=$scratch/multinicd # dpkg-buildpackage writes beside it
stage "$tree"
cp -r packaging/deb/debian "$tree/debian"
mv "$tree/multinicd.service" "$tree/debian/" # where dh_installsystemd looks for it
mv "$tree/multinicd-recover.service" "$tree/debian/multinicd.multinicd-recover.service"
maintainer=$(sed -n 's/^Maintainer: //p' "$tree/debian/control")
{
	printf 'multinicd (%s) stable; urgency=medium\n\n' "$VERSION"
	changes '  * ' '    '
	printf '\n -- %s  %s\n' "$maintainer" "$(date -R -d "@$SOURCE_DATE_EPOCH")"
} >"$tree/debian/changelog"

# -d: nothing is compiled here, so that the other architecture needs no cross-compiler either.
if ! (cd "$tree" && dpkg-buildpackage --build=binary --host-arch="$arch" -d --no-sign) >"$scratch/log" 2>&1; then
	cat "$scratch/log" >&2
	exit 1
fi
cp "$scratch/$name" "$out/"
echo "$out/$name"
