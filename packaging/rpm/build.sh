#!/bin/bash
# rpm/build.sh ARCH OUT: builds multinicd-VERSION-1.*.rpm with rpmbuild, in the folder OUT. ARCH is
# Go's name of the architecture (amd64, arm64); the name of the file has rpm's. For the environment
# see stage.sh. `make rpm` calls this script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. packaging/stage.sh
out=$(realpath "$2")
case $1 in
amd64) arch=x86_64 ;;
arm64) arch=aarch64 ;;
*) arch=$1 ;;
esac
name=multinicd-$VERSION-1.$arch.rpm

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
stage "$scratch/SOURCES"
{
	cat packaging/rpm/multinicd.spec
	printf '\n%%changelog\n* %s the multinicd maintainers - %s-1\n' "$(date -d "@$SOURCE_DATE_EPOCH" '+%a %b %d %Y')" "$VERSION"
	changes '- ' '  ' | sed 's/%/%%/g'
} >"$scratch/multinicd.spec"

# HOME: settings in a user's ~/.rpmmacros would change the package.
if ! HOME=$scratch rpmbuild -bb --target "$arch-linux" --define "_topdir $scratch" --define "multinicd_version $VERSION" \
	--define "multinicd_xz_level $XZ_LEVEL" \
	"$scratch/multinicd.spec" >"$scratch/log" 2>&1; then
	cat "$scratch/log" >&2
	exit 1
fi
# The header says which rpm has built the package.
go run ./tools/rpmversion "$scratch/RPMS/$arch/$name"
cp "$scratch/RPMS/$arch/$name" "$out/"
echo "$out/$name"
