package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"multinicd/cmd/line"
	"multinicd/host"
	"multinicd/internal/daemon/status"
	"multinicd/internal/doctor"
	"multinicd/internal/terminal"
	"multinicd/internal/terminal/hostile"
	"multinicd/internal/terminal/layout"
)

// What an object, a process, a link or a file is called must not act on the terminal of root, nor
// make a line that looks like one of ours.
func TestNothingThatOthersWroteActsOnATerminal(t *testing.T) {
	var said status.Node
	var would preview
	var given []status.Given
	var findings []doctor.Finding
	var facts doctor.Facts
	for _, v := range []any{&said, &would, &given, &findings, &facts} {
		hostile.Fill(v)
	}
	said.Meters = status.Meters{} // numbers alone, which must fit each other
	would.NICs[0].Files[0].Diff = diffLines([]byte("same\n"+hostile.Text), []byte("same\n"+hostile.Text+"2"))
	facts.NodeIPs = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	tables := map[string]func(io.Writer) error{
		"status -o metrics": func(w io.Writer) error { _, err := io.WriteString(w, terminal.Plain(said).Metrics()); return err },
		"recover":           func(w io.Writer) error { return say(cli.NewContext(&cli.App{Writer: w}, nil, nil), hostile.Text) },
		"an error": func(w io.Writer) error {
			_, err := io.WriteString(w, terminal.Text(exitError{exitLocked, fmt.Errorf("locking: %w", errors.New(hostile.Text))}))
			return err
		},
		"the log": func(w io.Writer) error {
			slog.New(host.LogHandler(w, slog.LevelInfo)).Info("changed a NIC", "nic", hostile.Text, "err", errors.New(hostile.Text))
			return nil
		},
	}
	for name, page := range map[string]layout.Page{"table": {}, "table -v": {Verbose: true}, "table, wrapped": {Width: 80, Verbose: true}, "json": {}} {
		format, _, _ := strings.Cut(strings.Fields(name)[0], ",")
		tables["status -o "+name] = func(w io.Writer) error { return writeAs(w, format, page, said, status.Node.Table) }
		tables["plan -o "+name] = func(w io.Writer) error { return writeAs(w, format, page, would, preview.Text) }
		tables["cleanup -o "+name] = func(w io.Writer) error { return writeAs(w, format, page, given, status.GivenText) }
		tables["doctor -o "+name] = func(w io.Writer) error { return writeAs(w, format, page, findings, doctor.Text) }
		tables["doctor, of such facts, -o "+name] = func(w io.Writer) error {
			return writeAs(w, format, page, doctor.Examine(facts), doctor.Text)
		}
	}
	for name, prints := range tables {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := prints(terminal.Writer(&out)); err != nil {
				t.Fatal(err)
			}
			check := hostile.Check
			if strings.Contains(name, "wrapped") {
				check = hostile.CheckWrapped
			}
			check(t, out.String())
		})
	}
	t.Run("every command prints that way", func(t *testing.T) {
		before := version
		defer func() { version = before }()
		version = "1" + strings.ReplaceAll(hostile.Text, "\n", "")
		var out bytes.Buffer
		app := newApp()
		app.Writer = &out
		if err := line.Run(t.Context(), app, []string{"multinicd", "version"}); err != nil {
			t.Fatal(err)
		}
		hostile.Check(t, out.String())
	})
}
