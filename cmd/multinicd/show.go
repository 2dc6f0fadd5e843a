package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"time"

	"github.com/urfave/cli/v2"

	"multinicd/internal/daemon"
	"multinicd/internal/daemon/status"
	"multinicd/internal/terminal"
	"multinicd/internal/terminal/layout"
)

func statusCommand(c *cli.Context) error {
	metrics := c.String("output") == "metrics"
	if err := checkOutput(c); err != nil && (!metrics || c.Args().Present()) {
		return err
	}
	cfg, err := loadConfig(c)
	if err != nil {
		return err
	}
	if c.Bool("watch") {
		return watchStatus(c, cfg.Status.Socket)
	}
	r, err := ask(cfg.Status.Socket, daemon.AskStatus, 5*time.Second)
	if err != nil {
		return exitError{exitFailed, unanswered(err)}
	}
	if metrics {
		_, err := io.WriteString(c.App.Writer, terminal.Plain(r.Status).Metrics())
		return err
	}
	return write(c, r.Status, status.Node.Table)
}

// watchEvery is how long a watched status is at most behind.
const watchEvery = 2 * time.Second

// watchStatus asks the daemon again and again. That the daemon does not answer is shown as well: it
// may be started anew meanwhile.
func watchStatus(c *cli.Context, socket string) error {
	if c.String("output") != "table" {
		return exitError{exitUsage, fmt.Errorf("--watch shows a table: leave out -o %s", c.String("output"))}
	}
	verbose := c.Bool("verbose")
	return terminal.Watch{Every: watchEvery, Look: func(s terminal.Screen) string {
		page := s.Page(verbose)
		r, err := ask(socket, daemon.AskStatus, watchEvery)
		if err != nil {
			return page.Item(0, layout.Bad(terminal.Line(unanswered(err).Error(), terminal.MaxLine)))
		}
		return terminal.Plain(r.Status).Table(page)
	}}.Run(c.Context, c.App.Writer)
}

// unanswered says what to do about an error of ask.
func unanswered(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; only root may ask it: try again with sudo", err)
	}
	return fmt.Errorf("%w; is it running? See: systemctl status multinicd", err)
}

// ask sends a request to the running daemon.
func ask(socket, request string, patience time.Duration) (daemon.Reply, error) {
	var r daemon.Reply
	conn, err := net.DialTimeout("unix", socket, 2*time.Second)
	if err != nil {
		return r, fmt.Errorf("asking the daemon: %w", err)
	}
	defer conn.Close()
	err = conn.SetDeadline(time.Now().Add(patience))
	if err == nil {
		_, err = io.WriteString(conn, request+"\n")
	}
	if err == nil {
		err = json.NewDecoder(conn).Decode(&r)
	}
	if err != nil {
		return r, fmt.Errorf("asking the daemon: %w", err)
	}
	return r, nil
}

// write prints v as the command line says. text is v for a person.
func write[T any](c *cli.Context, v T, text func(T, layout.Page) string) error {
	page := terminal.ScreenOf(c.App.Writer).Page(c.Bool("verbose"))
	return writeAs(c.App.Writer, c.String("output"), page, v, text)
}

// writeAs prints v. text is v for a person: in it no text of v makes a line of its own, or acts on a
// terminal. In JSON the texts are what they are; the writer escapes them (printPlainly).
func writeAs[T any](w io.Writer, format string, page layout.Page, v T, text func(T, layout.Page) string) error {
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	return terminal.Print(w, text(terminal.Plain(v), page))
}

// printPlainly keeps what objects, processes and links are called from acting on a terminal, in
// whatever a command prints.
func printPlainly(c *cli.Context) error {
	c.App.Writer, c.App.ErrWriter = terminal.Writer(c.App.Writer), terminal.Writer(c.App.ErrWriter)
	return nil
}
