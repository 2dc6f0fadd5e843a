# fish completion for multinicd(8). It asks the program itself, so it is never older than the program.

function __complete_multinicd
    set -l words (commandline -opc)
    set -e words[1]
    set -l lines (multinicd __complete $words (commandline -ct | string collect -a) 2>/dev/null)
    if test "$lines[1]" = :files
        __fish_complete_path (commandline -ct)
    else if test -n "$lines[1]"
        printf '%s\n' $lines
    end
end
complete -c multinicd -f -a '(__complete_multinicd)'
