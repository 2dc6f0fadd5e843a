#compdef multinic-bridge
# zsh completion for multinic-bridge(8). It asks the program itself, so it is never older than the program.

local -a lines candidates
local line
lines=("${(@f)$(multinic-bridge __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
if [[ $lines[1] == :files ]]; then
	_files
	return
fi
for line in $lines; do
	[[ -n $line ]] && candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
done
_describe multinic-bridge candidates
