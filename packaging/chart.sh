#!/bin/bash
# chart.sh DIST: packs charts/multinic into DIST/multinic-VERSION.tgz, as `helm package` does, but
# the same again byte for byte. All times in it are SOURCE_DATE_EPOCH. `make chart` calls this
# script.
#
# tar of Debian 12 and of Debian 13 make the same of --format=gnu, and of no other format.
set -euo pipefail
export LC_ALL=C.UTF-8
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=$(realpath "$1")/multinic-$VERSION.tgz

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r charts/multinic "$scratch/"
sed -i -E "s/^(version|appVersion): .*/\1: $VERSION/" "$scratch/multinic/Chart.yaml"
tar -C "$scratch" --exclude-from=charts/multinic/.helmignore --sort=name --format=gnu --mtime="@$SOURCE_DATE_EPOCH" \
	--owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -c multinic | gzip -9n >"$out"
echo "$out"
