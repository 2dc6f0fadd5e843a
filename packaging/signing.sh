# repo/build.sh and release.sh read this file. They set GPG_KEY, and have LC_ALL=C.UTF-8.

# fingerprint KEY: the fingerprint of a key of the keyring, without blanks.
fingerprint() {
	gpg --batch --list-keys --with-colons "$1" | awk -F: '$1 == "fpr" { print $10; exit }'
}

# detach FILE: signs FILE, and writes FILE.asc.
detach() {
	gpg --batch --yes --local-user "$GPG_KEY" --digest-algo SHA256 --armor --detach-sign --output "$1.asc" "$1"
}

# listed SUMS FILE...: prints each FILE with its version and its checksum. It ends the script if the
# list SUMS, which the build has written, does not have a FILE with that checksum.
listed() {
	local sums=$1 file name version sum strays=()
	shift
	for file; do
		name=${file##*/}
		sum=$(sha256sum <"$file")
		sum=${sum%% *}
		if ! grep -qsxF "$sum  $name" "$sums"; then
			strays+=("$name")
			continue
		fi
		case $name in
		*.deb) version=$(dpkg-deb --field "$file" Version) ;;
		*.rpm) version=$(rpm -qp --queryformat '%{VERSION}-%{RELEASE}' "$file") ;;
		*) version=$VERSION ;;
		esac
		printf '%-38s %-10s %s\n' "$name" "$version" "$sum"
	done
	[ ${#strays[@]} -eq 0 ] || {
		echo "nothing was signed: $sums does not have these files, or has others of that name:" >&2
		printf '  %s\n' "${strays[@]}" >&2
		exit 1
	}
}
