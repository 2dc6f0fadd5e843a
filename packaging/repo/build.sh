#!/bin/bash
# repo/build.sh DIST: makes DIST/repo, a signed apt repository and a signed dnf repository of the
# packages in DIST. Any web server can serve that folder as it is; docs/install.md says how. `make
# repo` calls this script. It prints what it signs, and signs nothing if DIST has a package that
# DIST/SHA256SUMS, the list of what was built, does not have.
#
# GPG_KEY names a key of the user's own keyring. Without it, the script makes a key and throws it
# away afterwards. That is good for a test, but the next repository has another key. REPO_URL is
# where the folder will be served. apt takes the repository for REPO_DAYS days, without an end if that
# is 0; dnf knows no such end.
set -euo pipefail
export LC_ALL=C.UTF-8
umask 022
. "$(dirname "${BASH_SOURCE[0]}")/../signing.sh"
dist=$(realpath "$1") repo=$(realpath "$1")/repo
url=${REPO_URL:-https://packages.example.org/multinicd}
days=${REPO_DAYS:-90}
shopt -s nullglob
packages=("$dist"/*.deb "$dist"/*.rpm)
[ ${#packages[@]} -gt 0 ] || { echo "repo/build.sh: no packages in $dist: make deb rpm" >&2; exit 1; }

if [ -z "${GPG_KEY:-}" ]; then
	GNUPGHOME=$(mktemp -d)
	export GNUPGHOME
	trap 'gpgconf --kill all; rm -rf "$GNUPGHOME"' EXIT
	# RSA: rpm of RHEL 8 knows no elliptic curves.
	gpg --batch --quiet --passphrase '' --quick-generate-key 'multinicd throwaway repository key' rsa3072 sign 2>/dev/null
	GPG_KEY=$(fingerprint multinicd)
	echo "signing with a throwaway key; give GPG_KEY for a repository that is to last"
fi

echo "signing with $(fingerprint "$GPG_KEY"):"
listed "$dist/SHA256SUMS" "${packages[@]}"

rm -rf "$repo"
mkdir -p "$repo/apt/pool/main" "$repo/rpm"
gpg --batch --armor --export "$GPG_KEY" >"$repo/multinicd.asc"
[ -s "$repo/multinicd.asc" ] || { echo "repo/build.sh: no public key $GPG_KEY" >&2; exit 1; }

# apt
cp "$dist"/*.deb "$repo/apt/pool/main/"
(
	cd "$repo/apt"
	for arch in amd64 arm64; do
		lists=dists/stable/main/binary-$arch
		mkdir -p "$lists"
		apt-ftparchive --arch "$arch" packages pool/main >"$lists/Packages"
		gzip -9nk "$lists/Packages"
	done
	apt-ftparchive -o APT::FTPArchive::Release::Origin=multinicd -o APT::FTPArchive::Release::Label=multinicd \
		-o APT::FTPArchive::Release::Suite=stable -o APT::FTPArchive::Release::Codename=stable \
		-o APT::FTPArchive::Release::Architectures='amd64 arm64' -o APT::FTPArchive::Release::Components=main \
		-o APT::FTPArchive::Release::ValidTime=$((days * 86400)) \
		release dists/stable >Release.new
	mv Release.new dists/stable/Release
	gpg --batch --yes --local-user "$GPG_KEY" --digest-algo SHA256 --clearsign --output dists/stable/InRelease dists/stable/Release
	gpg --batch --yes --local-user "$GPG_KEY" --digest-algo SHA256 --armor --detach-sign --output dists/stable/Release.gpg dists/stable/Release
)
cat >"$repo/multinicd.sources" <<EOT
Types: deb
URIs: $url/apt
Suites: stable
Components: main
Signed-By: /etc/apt/keyrings/multinicd.asc
EOT

# dnf
for arch in x86_64 aarch64; do
	mkdir -p "$repo/rpm/$arch"
	find "$dist" -maxdepth 1 -name "*.$arch.rpm" -exec cp -t "$repo/rpm/$arch" {} +
	find "$repo/rpm/$arch" -name '*.rpm' -exec rpmsign --define "_gpg_name $GPG_KEY" --define "__gpg $(command -v gpg)" --define '_gpg_digest_algo sha256' --addsign {} + >/dev/null
	# RHEL 8 can read this.
	createrepo_c --quiet --general-compress-type=gz --checksum=sha256 "$repo/rpm/$arch"
	detach "$repo/rpm/$arch/repodata/repomd.xml"
done
cat >"$repo/multinicd.repo" <<EOT
[multinicd]
name=multinicd
baseurl=$url/rpm/\$basearch
enabled=1
gpgcheck=1
repo_gpgcheck=1
gpgkey=$url/multinicd.asc
EOT
sed -n 's/^Valid-Until: /apt takes this repository until /p' "$repo/apt/dists/stable/Release"
echo "$repo"
