#!/bin/bash
# release.sh DIST: makes DIST/release/VERSION, the files of this version with what proves where they
# come from: checksums, signatures and provenance. docs/verify.md says how to check them, and what
# whoever publishes does. `make release` builds the files and calls this script.
#
# It needs VERSION, SOURCE_DATE_EPOCH, XZ_LEVEL, CONFFILE, GOARCHES, IMAGE_PREFIX and KREW_URL as in
# the Makefile, GPG_KEY (a key of the user's keyring) and BUILDER (a URI that names the machine or the
# service that builds). SOURCE_URL, where the commit can be had, may be given.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C.UTF-8
umask 022
. packaging/signing.sh
dist=$(realpath "$1") out=$(realpath "$1")/release/$VERSION

fail() { echo "release.sh: $*" >&2; exit 1; }
[ -n "${GPG_KEY:-}" ] || fail 'a release needs a key that lasts: GPG_KEY=...'
[ -n "${BUILDER:-}" ] || fail 'the provenance names who builds: BUILDER=https://...'
[ -z "${TAGS:-}" ] || fail "a release has no build tags: $TAGS"
key=$(fingerprint "$GPG_KEY")
[ -n "$key" ] || fail "there is no key $GPG_KEY"
tr -d ' \n' <SECURITY.md | grep -q "$key" || fail "SECURITY.md does not have the fingerprint of the key, $key"
[ -z "$(git status --porcelain)" ] || fail 'the tree differs from its commit'
commit=$(git rev-parse HEAD)

shopt -s nullglob
files=("$dist"/multinicd_"$VERSION"_*.deb "$dist"/multinicd-"$VERSION"-1.*.rpm "$dist"/multinic-"$VERSION".tgz
	"$dist"/multinic{d,-bridge}_"$VERSION".oci.tar "$dist"/multinic{d,-bridge}_"$VERSION"_*.spdx.json
	"$dist"/kubectl-multinic_"$VERSION"_*.tar.gz "$dist"/multinic.yaml)
echo "signing with $key, from commit $commit:"
listed "$dist/SHA256SUMS" "${files[@]}"
rm -rf "$out"
mkdir -p "$out"
cp "${files[@]}" "$out/"
cd "$out"

gpg --batch --armor --export "$key" >multinicd.asc
printf '%s\n' "${files[@]##*/}" | sort | xargs sha256sum >SHA256SUMS
detach SHA256SUMS

# What `helm verify` reads: Chart.yaml, and the checksum. helm would want the secret key in a file.
chart=multinic-$VERSION.tgz
{
	tar -xOf "$chart" multinic/Chart.yaml
	printf '\n...\nfiles:\n  %s: sha256:%s\n' "$chart" "$(sha256sum <"$chart" | cut -d ' ' -f 1)"
} | gpg --batch --local-user "$GPG_KEY" --digest-algo SHA512 --clearsign --output "$chart.prov"

# Simple signing (containers-signature(5)): a file for each manifest, in the folders of a lookaside
# store (containers-registries.d(5)). Who pulls for one architecture asks for that manifest's.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for archive in *.oci.tar; do
	name=${archive%%_*}
	blob() { tar -xOf "$archive" "blobs/${1/://}"; }
	index=$(tar -xOf "$archive" index.json | jq -r '.manifests[0].digest')
	for digest in "$index" $(blob "$index" | jq -r '.manifests[].digest'); do
		folder=signatures/$name@${digest/:/=}
		mkdir -p "$folder"
		blob "$digest" >"$scratch/manifest"
		skopeo standalone-sign "$scratch/manifest" "$IMAGE_PREFIX$name:$VERSION" "$key" --output "$folder/signature-1"
	done
done

# An in-toto statement with SLSA's provenance (slsa.dev/spec/v1.0/provenance). Only what was seen here.
packages=$(dpkg-query --show --showformat '${Package} ${Version}\n' dpkg-dev debhelper rpm xz-utils tar gzip)
jq --null-input --raw-input \
	--arg commit "$commit" --arg source "${SOURCE_URL:-}" --arg builder "$BUILDER" --arg version "$VERSION" \
	--arg architectures "$GOARCHES" --arg epoch "$SOURCE_DATE_EPOCH" --arg xz "$XZ_LEVEL" --arg conffile "$CONFFILE" --arg images "$IMAGE_PREFIX" --arg krew "$KREW_URL" \
	--arg go "$(go env GOVERSION)" --arg debian "$(cat /etc/debian_version)" --arg packages "$packages" '{
	_type: "https://in-toto.io/Statement/v1",
	subject: [inputs / "  " | {name: .[1], digest: {sha256: .[0]}}],
	predicateType: "https://slsa.dev/provenance/v1",
	predicate: {
		buildDefinition: {
			buildType: "urn:multinicd:make-release:1",
			externalParameters: {commit: $commit, VERSION: $version, GOARCHES: $architectures, SOURCE_DATE_EPOCH: $epoch, XZ_LEVEL: $xz, CONFFILE: $conffile, IMAGE_PREFIX: $images, KREW_URL: $krew},
			internalParameters: {go: $go, debian: $debian, packages: ($packages / "\n" | map(. / " " | {(.[0]): .[1]}) | add)},
			resolvedDependencies: [{name: "source", digest: {gitCommit: $commit}} + (if $source == "" then {} else {uri: $source} end)]
		},
		runDetails: {builder: {id: $builder}}
	}
}' SHA256SUMS >provenance.json
detach provenance.json
echo "$out"
