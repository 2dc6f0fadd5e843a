#!/bin/bash
# Installs with apt-get the Debian packages that `make deb`, `make rpm`, `make repo`, `make release` or
# the tests of packages need, and says which. Packages that are already there are left alone, which
# takes no time. Arguments: deb, rpm, repo, release, test.
set -euo pipefail

declare -A programs=(
	[deb]="dpkg-buildpackage:dpkg-dev dh:debhelper fakeroot:fakeroot xz:xz-utils"
	[rpm]="rpmbuild:rpm xz:xz-utils"
	[repo]="apt-ftparchive:apt-utils gpg:gnupg rpmsign:rpm createrepo_c:createrepo-c"
	[release]="gpg:gnupg jq:jq skopeo:skopeo"
	[test]="groff:groff-base lintian:lintian rpmlint:rpmlint dnf:dnf gpgv:gpgv zsh:zsh fish:fish"
)

missing=()
for what in "$@"; do
	for pair in ${programs[$what]}; do
		command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
	done
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "installing by apt-get: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
install=(apt-get --quiet --option=DPkg::Lock::Timeout=300 install --yes --no-install-recommends "${missing[@]}")
# A new machine has no package lists, or old ones.
"${install[@]}" >/dev/null 2>&1 || { apt-get --quiet update >/dev/null && "${install[@]}" >/dev/null; }
