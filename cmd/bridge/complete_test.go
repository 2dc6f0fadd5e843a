package main

import (
	"context"
	"strings"
	"testing"

	"multinicd/cmd/complete"
	"multinicd/cmd/line"
)

func TestCompletion(t *testing.T) {
	names := func(lines []string) string {
		for i, l := range lines {
			lines[i], _, _ = strings.Cut(l, "\t")
		}
		return strings.Join(lines, " ")
	}
	known := func(ctx context.Context, path []string, option string) []string {
		if option == "node" {
			return []string{"worker-2", "worker-1", "other"}
		}
		return values(ctx, path, option)
	}
	for line, want := range map[string]string{
		"tok":                           "token",
		"token ":                        "create help list revoke unblock",
		"token create --t":              "--template --ttl",
		"token create --node ":          "other worker-1 worker-2",
		"token create --node wor":       "worker-1 worker-2",
		"token create --node worker-1 ": "",
		"trigger --node a --node w":     "worker-1 worker-2",
		"trigger -l a=b --w":            "--wait",
		"fleet -o ":                     "json table wide yaml",
		"token list -o ":                "json table yaml",
		"node -o ":                      "json table yaml",
		"migrate verify -o ":            "json table",
		"fleet --state ":                "Configured Failed InProgress Pending",
		"fleet --kubeconfig ":           complete.Files,
		"token create -o ":              complete.Files,
		"run --duty ":                   "credentials status",
		"help tok":                      "token",
		"node ":                         "",
		"node --o":                      "--output",
		"nope ":                         "",
		"__com":                         "",
	} {
		if got := names(complete.Lines(t.Context(), newApp(), strings.Split(line, " "), known)); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// The hidden command prints what Lines gives, with what it is for, and takes options as words.
func TestCompletionIsPrinted(t *testing.T) {
	var out strings.Builder
	app := newApp()
	app.Writer = &out
	if err := line.Run(t.Context(), app, []string{"multinic-bridge", "__complete", "fleet", "--not"}); err != nil {
		t.Fatal(err)
	}
	if want := "--not-ready\tonly nodes that are not Ready\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
