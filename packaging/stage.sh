# deb/build.sh and rpm/build.sh read this file. It makes the folder that a package is built from. So
# both formats have the same files, and nothing is written to the source tree.
#
# It needs BINARY (the static multinicd of that architecture), LICENSES (the licenses of the modules
# in it), CONFFILE, VERSION and SOURCE_DATE_EPOCH (in seconds; all times in a package are this one).
# XZ_LEVEL is 6 if not given. The working folder is the top of the source tree.

export LC_ALL=C.UTF-8 TZ=UTC SOURCE_DATE_EPOCH XZ_LEVEL=${XZ_LEVEL:-6}
umask 022

# stage DIR: all files that are installed, flat.
stage() {
	mkdir -p "$1/doc/ko" "$1/completion" "$1/schema"
	install -m 755 "$BINARY" "$1/multinicd"
	install -m 644 "$CONFFILE" "$1/multinicd.toml"
	install -m 644 systemd/multinicd.service systemd/multinicd-recover.service systemd/50-multinicd.preset LICENSE "$1"
	install -m 644 packaging/man/multinicd.8 packaging/man/multinicd.toml.5 "$1"
	# bash and zsh go by the name of the file.
	install -m 644 packaging/completion/multinicd.bash "$1/completion/multinicd"
	install -m 644 packaging/completion/multinicd.zsh "$1/completion/_multinicd"
	install -m 644 packaging/completion/multinicd.fish "$1/completion/multinicd.fish"
	install -m 644 packaging/schema/*.json "$1/schema"
	install -m 644 "$LICENSES" "$1/doc/LICENSES"
	install -m 644 docs/ko/*.md "$1/doc/ko"
	install -m 644 docs/*.md examples/worker-node-01.yaml "$1/doc"
}

# changes FIRST REST: what CHANGELOG.md says about VERSION. Items are folded. The first line of an
# item comes after FIRST, and its other lines come after REST.
changes() {
	awk -v version="$VERSION" '
		/^## / { inside = ($2 == version); next }
		!inside { next }
		/^- / { if (item) print "\n" item; item = substr($0, 3); next }
		/^  / && item { sub(/^ +/, ""); item = item " " $0 }
		END { print "\n" (item ? item : "Version " version ".") }
	' CHANGELOG.md | fold -s -w 74 | awk -v first="$1" -v rest="$2" '
		$0 == "" { before = first; next } # an item follows
		{ sub(/ *$/, ""); print before $0; before = rest }'
}
