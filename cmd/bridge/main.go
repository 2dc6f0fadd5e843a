// Command bridge, installed as multinic-bridge, is the part of multinicd that runs in the cluster.
// It turns the reports of the nodes into the status of their objects, and gives nodes their
// credentials. `token` is an administrator's tool, which runs anywhere.
//
// In go a kubeconfig or the Pod's own credential, flags and their environment variables. Out come
// API requests, logs on standard error, and the endpoints /healthz, /readyz and /metrics.
//
// This package only wires; what the bridge does is in internal/bridge.
//
// Start reading at newApp.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"multinicd/cmd/line"
	"multinicd/internal/terminal"
)

// version is set by the linker, from the file VERSION.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	noCoreDumps()
	app := appFor(os.Args[0])
	app.Writer, app.ErrWriter = os.Stdout, os.Stderr
	if err := line.Run(ctx, app, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, program+": "+strings.TrimPrefix(terminal.Text(err), errUsage.Error()+": ")) // as multinicd does
		os.Exit(exitCode(err))
	}
}

// exitCode is 2 for a wrong command line, else what the command ends with for its error, else 1.
func exitCode(err error) int {
	var code exitError
	var noTopic cli.ExitCoder // of help about a command that there is not
	switch {
	case errors.Is(err, errUsage), errors.As(err, &noTopic):
		return 2
	case errors.As(err, &code):
		return code.code
	}
	return 1
}

// noCoreDumps prevents core dumps of this process, which holds tokens. The limit is one byte, which
// is less than any core file. If core_pattern is a pipe, that is the one limit that the kernel
// obeys (fs/coredump.c, 6.18).
func noCoreDumps() {
	// refused if the limit is 0 for good, which is as well
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{Cur: 1, Max: 1})
}
