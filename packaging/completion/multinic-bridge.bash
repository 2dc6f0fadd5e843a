# bash completion for multinic-bridge(8). It asks the program itself, so it is never older than the program.

_multinic_bridge() {
	local lines line
	COMPREPLY=()
	mapfile -t lines < <(multinic-bridge __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
	if [[ ${lines[0]-} == :files ]]; then
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
		return
	fi
	for line in "${lines[@]}"; do
		COMPREPLY+=("${line%%$'\t'*}") # what it is for stands behind a tab
	done
}
complete -F _multinic_bridge multinic-bridge
