package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/test/bed"
)

// shells run a completion as the shell does, on the words of a command line, and print the candidates,
// a line each. What zsh and fish have for that is for who sits there: its place is taken by what prints.
var shells = map[string][]string{
	"bash": {"bash", "-c", `source "$1"; shift; program=$1; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _${program//-/_}; printf '%s\n' "${COMPREPLY[@]}"`, "bash"},
	"zsh": {"zsh", "-fc", `file=$1; shift; words=("$@"); CURRENT=$#
		_files() { print -rl -- *(N) }; _describe() { local c; for c in ${(P)2}; do print -r -- ${c%%:*}; done }
		complete() { source $file }; complete`, "zsh"},
	"fish": {"fish", "--no-config", "-c", `function commandline; if test "$argv[1]" = -opc; printf '%s\n' $typed[1..-2]; else; printf '%s' $typed[-1]; end; end
		function __fish_complete_path; ls; end
		source $argv[1]; set -g typed $argv[2..-1]; set -l f __complete_(string replace -a - _ $argv[2]); $f | string replace -r '\t.*' ''; true`},
}

func TestShellsCompleteWhatTheProgramsKnow(t *testing.T) {
	tools(t)
	bin, folder := t.TempDir(), t.TempDir()
	for name, of := range map[string]string{"multinicd": "./cmd/multinicd", "multinic-bridge": "./cmd/bridge"} {
		if err := os.Symlink(bed.Build(t, of), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "node.yaml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, words, want string }{
		{"a command by its first letters", "multinicd ver", "version"},
		{"all of a command's options", "multinicd status --", "--help --output --verbose --watch"},
		{"a command behind a global option with its value", "multinicd --node plan stat", "status"},
		{"a global option", "multinicd --no", "--node"},
		{"the formats of the output", "multinicd status -o ", "json metrics table"},
		{"a command to be helped with", "multinicd help pl", "plan"},
		{"nothing behind a command without arguments", "multinicd status x", ""},
		{"a file", "multinicd plan -f ", "node.yaml"},
		{"a command below another", "multinic-bridge token un", "unblock"},
		{"the formats of the fleet", "multinic-bridge fleet --output ", "json table wide yaml"},
	} {
		for shell, argv := range shells {
			t.Run(shell+": "+c.name, func(t *testing.T) {
				words := strings.Split(c.words, " ")
				script := bed.Path(t, "packaging/completion/"+words[0]+"."+shell)
				cmd := exec.CommandContext(t.Context(), argv[0], slices.Concat(argv[1:], []string{script}, words)...)
				cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
				cmd.Dir = folder
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("completing: %v", err)
				}
				got := strings.Fields(string(out))
				slices.Sort(got)
				if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
					t.Errorf("completions of %q (-want +got):\n%s", c.words, diff)
				}
			})
		}
	}
}
