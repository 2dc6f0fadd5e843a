#!/bin/bash
# deb/build.sh ARCH OUT: builds multinicd_VERSION_ARCH.deb with dpkg-buildpackage, in the folder
# OUT. ARCH is Debian's name of the architecture, which is also Go's (amd64, arm64). For the
# environment see stage.sh. `make deb` calls this script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. packaging/stage.sh
arch=$1 out=$(realpath "$2") name=multinicd_${VERSION}_$1.deb

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tree=$scratch/multinicd # dpkg-buildpackage writes into the parent folder
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

# -d: nothing is compiled here, so no architecture needs a cross-compiler.
if ! (cd "$tree" && dpkg-buildpackage --build=binary --host-arch="$arch" -d --no-sign) >"$scratch/log" 2>&1; then
	cat "$scratch/log" >&2
	exit 1
fi
cp "$scratch/$name" "$out/"
echo "$out/$name"
