#!/bin/bash
# sums.sh DIST: reads the paths of files that were built into the folder DIST, prints them, and
# notes their checksums in DIST/SHA256SUMS. `make repo` and `make release` sign only what is in that
# list.
set -euo pipefail
export LC_ALL=C.UTF-8
cd "$1"
exec 9<.
while read -r path; do
	echo "$path"
	name=${path##*/}
	(
		flock 9 # `make -j` builds several files at once
		touch SHA256SUMS
		{
			awk -v name="$name" '$2 != name' SHA256SUMS
			sha256sum "$name"
		} | sort -k 2 >SHA256SUMS.new
		mv SHA256SUMS.new SHA256SUMS
	)
done
