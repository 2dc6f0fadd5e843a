package main

import (
	"errors"
	"strings"
	"testing"

	"multinicd/cmd/line"
)

func TestAWrongCommandLineIsOneErrorThatSaysWhatToDo(t *testing.T) {
	for words, want := range map[string]string{
		"nope":                              `there is no command "nope"`,
		"--nope":                            "-nope; see multinicd help",
		"run extra":                         "run takes no arguments",
		"run --nope":                        "-nope; see multinicd run --help",
		"version extra":                     "version takes no arguments",
		"plan extra":                        "plan takes no arguments",
		"plan -o xml":                       "want table or json",
		"apply --wait soon":                 "see multinicd apply --help",
		"status -o":                         "needs an argument",
		"join":                              "by a token",
		"join extra":                        "join takes no arguments",
		"join --kubelet --ca-hash":          "needs an argument",
		"join --kubelet --server https://x": "not both",
		"join --server https://x":           "--token-file and --ca-hash",
		"join --server x --token-file f --ca-hash h": "not an https:// URL",
		"join --kubelet --timeout -1s":               "--timeout",
		"--config /nonexistent plan":                 "reading the configuration",
	} {
		t.Run(words, func(t *testing.T) {
			app := newApp()
			var out strings.Builder
			app.Writer, app.ErrWriter = &out, &out
			err := line.Run(t.Context(), app, append([]string{"multinicd"}, strings.Fields(words)...))
			var exit exitError
			if !errors.As(err, &exit) || exit.code != exitUsage || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want exit code %d and %q", err, exitUsage, want)
			}
			if out.Len() > 0 {
				t.Errorf("it prints %q", out.String())
			}
		})
	}
}
