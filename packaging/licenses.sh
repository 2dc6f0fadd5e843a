#!/bin/bash
# licenses.sh [COMMAND]: prints the licenses of the Go modules that are linked into cmd/multinicd,
# or into another COMMAND of cmd/. Each text comes once, under the names and versions of its
# modules. The licenses require this, so packages and images contain the output.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C.UTF-8
command=${1:-multinicd}

# list: one line "MODULE VERSION FOLDER" for each module, sorted.
list() {
	go list -deps -tags urfave_cli_no_docs -f '{{with .Module}}{{if .Version}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' "./cmd/$command" | sort -u
	go env GOVERSION GOROOT | paste -sd ' ' | sed 's/^/The Go standard library /'
}

declare -A names texts
order=()
while read -r line; do
	dir=${line##* } name=${line% *}
	files=$(find "$dir/" -maxdepth 1 -type f \( -iname 'LICEN[CS]E*' -o -iname 'COPYING*' -o -iname 'NOTICE*' -o -iname 'PATENTS' \) | sort)
	[ -n "$files" ] || { echo "licenses.sh: $name has no license file" >&2; exit 1; }
	for file in $files; do
		sum=$(sha256sum <"$file")
		[ -n "${names[$sum]:-}" ] || order+=("$sum")
		names[$sum]+="$name"$'\n' texts[$sum]=$file
	done
done < <(list)

echo "$command contains the Go modules named below, each above its license."
for sum in "${order[@]}"; do
	printf '\n%s\n%s\n' "$(printf '=%.0s' {1..80})" "${names[$sum]}"
	cat "${texts[$sum]}"
done
