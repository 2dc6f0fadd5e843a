# bash completion for multinicd(8). It asks the program itself for commands and options, so it is
# never older than the program.

_multinicd() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command= words= i
	COMPREPLY=()

	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--config | --node | --root | --job) i=$((i + 1)) ;;
		-*) ;;
		*)
			command=${COMP_WORDS[i]}
			break
			;;
		esac
	done

	case $previous in
	--config | --file | -f | --token-file | --kubeconfig)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
		;;
	--root)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "$current")
		return
		;;
	--output | -o) words='table json' ;;
	--node | --job | --wait | --server | --ca-hash | --timeout) return ;;
	*)
		if [[ $current == -* ]]; then
			# Each option is at the start of its line. A short form follows after a comma.
			words=$(multinicd help ${command:+"$command"} 2>/dev/null | grep -o '^ *--[a-z-]*')
		elif [[ -z $command || $command == help ]]; then
			words=$(multinicd help 2>/dev/null | awk '/^[A-Z]/ { inside = /^COMMANDS/; next } inside && NF { sub(/,/, "", $1); print $1 }')
		fi
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _multinicd multinicd
