// Command multinicd configures the additional NICs of the node that it runs on.
//
// In go multinicd.toml and the node's MultiNicNodeConfig, from the API server or a file. Out come
// configured NICs, a report, and a table for a person. docs/ and `multinicd help` say how it is
// used.
//
// This package only wires the rooms together: which source, which exit code. It decides nothing
// about a NIC: internal/node has the decisions that depend on the host.
//
// Start reading at main, then wire.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"multinicd/cmd/line"
	"multinicd/host"
	"multinicd/internal/terminal"
)

// version is set by the linker, from the file VERSION.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	host.KeepOutOfCoreDumps()
	app := newApp()
	app.Writer, app.ErrWriter = os.Stdout, os.Stderr
	err := line.Run(ctx, app, os.Args)
	var code exitError
	switch {
	case errors.As(err, &code):
		if code.err != nil {
			fmt.Fprintln(os.Stderr, "multinicd: "+terminal.Text(code.err))
		}
		os.Exit(code.code)
	case err != nil:
		fmt.Fprintln(os.Stderr, "multinicd: "+terminal.Text(err))
		os.Exit(exitUsage)
	}
}
