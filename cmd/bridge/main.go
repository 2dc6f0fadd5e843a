// Command bridge, installed as multinic-bridge, is the part of multinicd that
// runs in the cluster: it turns the reports of the nodes into the status of
// their objects, and gives nodes their credentials. `token` is an
// administrator's tool, which runs anywhere.
//
// In go a kubeconfig or the Pod's own credential, flags and their environment
// variables; out come API requests, logs on standard error, and the endpoints
// /healthz, /readyz and /metrics.
//
// This package only wires; what the bridge does stands in internal/bridge.
//
// Start reading at newApp.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker, from the file VERSION.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	noCoreDumps()
	if err := newApp().RunContext(ctx, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "multinic-bridge: "+err.Error())
		if errors.Is(err, errUsage) {
			os.Exit(2)
		}
		var code exitError
		if errors.As(err, &code) {
			os.Exit(code.code)
		}
		os.Exit(1)
	}
}

// noCoreDumps sees to it that no core dump is made of a process that holds
// tokens. One byte is less than any core file, and where core_pattern is a pipe
// it is the one limit that the kernel heeds (fs/coredump.c, 6.18).
func noCoreDumps() {
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{Cur: 1, Max: 1}) // refused where it is 0 for good: as well
}
