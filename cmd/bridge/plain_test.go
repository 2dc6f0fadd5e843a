package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/cmd/line"
	"multinicd/internal/fleet"
	"multinicd/internal/terminal"
	"multinicd/internal/terminal/hostile"
)

// What nodes and publishers have written must not act on the terminal of an administrator, nor make
// a line that looks like one of ours.
func TestNothingThatOthersWroteActsOnATerminal(t *testing.T) {
	var node fleet.Node
	var tokens row
	var run v1.MultiNicNodeRun
	for _, v := range []any{&node, &tokens, &run} {
		hostile.Fill(v)
	}
	tokens = row{hostile.Text, hostile.Text, hostile.Text, hostile.Text, hostile.Text, hostile.Text}
	encode := fleet.Encode[[]row]
	fleet := func(output string) func(io.Writer) error {
		return func(w io.Writer) error { return fleet.Print(w, output, []fleet.Node{node, node}, time.Now()) }
	}
	logs := func(format string) func(io.Writer) error {
		return func(w io.Writer) error {
			log, err := newLogger(w, "info", format)
			if err == nil {
				log.Info("refused", "node", hostile.Text, "err", errors.New(hostile.Text), slog.Group("g", "h", hostile.Text))
			}
			return err
		}
	}
	for name, prints := range map[string]func(io.Writer) error{
		"fleet -o table": fleet("table"), "fleet -o wide": fleet("wide"), "fleet -o json": fleet("json"), "fleet -o yaml": fleet("yaml"),
		"token list":         func(w io.Writer) error { return tokenTable(w, []row{tokens}) },
		"token list -o yaml": func(w io.Writer) error { return encode(w, "yaml", []row{tokens}) },
		"trigger --wait":     func(w io.Writer) error { _, err := io.WriteString(w, ended(terminal.Plain(run))); return err },
		"an error": func(w io.Writer) error {
			_, err := io.WriteString(w, terminal.Text(errors.New(hostile.Text)))
			return err
		},
		"the log, json": logs("json"),
		"the log, text": logs("text"),
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := prints(terminal.Writer(&out)); err != nil {
				t.Fatal(err)
			}
			hostile.Check(t, out.String())
		})
	}
	t.Run("every command prints that way", func(t *testing.T) {
		before := version
		defer func() { version = before }()
		version = "1" + strings.ReplaceAll(hostile.Text, "\n", "")
		var out bytes.Buffer
		app := newApp()
		app.Writer = &out
		if err := line.Run(t.Context(), app, []string{"multinic-bridge", "version"}); err != nil {
			t.Fatal(err)
		}
		hostile.Check(t, out.String())
	})
}
