package main

import (
	"io"
	"strings"
	"testing"

	"multinicd/cmd/line"
	"multinicd/cmd/line/linetest"
)

func TestTheCommandLineIsReadAndExplainedAsTheLibraryDoes(t *testing.T) {
	linetest.Same(t, newApp, "version", "version extra", "run extra", "run --silent-after 1s", "run --silent-after=soon", "run --rollout-max 0 --log-level none", "node", "fleet -o xml", "trigger --nope", "__complete fleet --not")
}

// A wrong command line ends with 2, also one that asks for help about what there is not.
func TestAWrongCommandLineEndsWithTwo(t *testing.T) {
	for _, words := range []string{"nope", "--nope", "help nope", "token help nope", "token nope", "fleet -o xml", "trigger --nope"} {
		app := newApp()
		app.Writer, app.ErrWriter = io.Discard, io.Discard
		err := line.Run(t.Context(), app, append([]string{app.Name}, strings.Fields(words)...))
		if got := exitCode(err); got != 2 {
			t.Errorf("%s: %d, want 2: %v", words, got, err)
		}
	}
}
