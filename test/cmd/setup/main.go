// Command setup makes a machine ready for the test bed: it installs the Debian packages that are missing, builds
// the control plane, the root file systems of the hosts and a NetworkManager with the ifcfg plugin into the cache, and removes what killed test runs
// left. What is there already costs nothing. Debian's part and Go's part are made side by side: the first waits for the network and for one
// program after the other, the second keeps all cores busy.
//
// Arguments are the Debian suites to make root file systems of, bookworm if there are none, "kubelet" for what nodes with a kubelet
// need, "openstack" for Keystone and Neutron, "vm" for the images of virtual machines, and "browser" for Chromium. "demo" stands alone: what make demo
// needs and no more. It needs root.
//
// It must not leave anything half made: where one part fails or Ctrl-C ends it, all parts end before it does.
//
// Start reading at parse, then setup.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"multinicd/internal/terminal"
	"multinicd/test/bed/artifact"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/kubelet"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/rootfs"
	"multinicd/test/bed/sandbox"
	"multinicd/test/bed/vm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := setup(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "setup:", err)
		os.Exit(1)
	}
}

func setup(ctx context.Context, args []string) error {
	far := terminal.NewProgress(os.Stderr, "setting up the test bed")
	defer far.End()
	logf := telling(os.Stdout, terminal.ScreenOf(os.Stderr).Terminal, far)
	need, err := parse(args)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("the test bed needs root: it makes network namespaces and boots hosts")
	}
	if _, err := sandbox.Reap(logf); err != nil {
		return err
	}
	installed := make(chan struct{})
	err = artifact.Together(ctx,
		func(ctx context.Context) error {
			if err := prerequisite.Install(ctx, logf, need.packages); err != nil {
				return err
			}
			close(installed)
			return makeHosts(ctx, logf, need)
		},
		func(ctx context.Context) error { return makePrograms(ctx, logf, need, installed) },
	)
	if err != nil {
		return err
	}
	cache, err := artifact.Dir()
	if err != nil {
		return err
	}
	logf("ready; what was made is kept in %s", cache)
	return nil
}

// telling says what is being made in lines of out. On a terminal the progress below them has what is under way, and how long the whole takes: what
// only says that something is still being made needs no line there.
func telling(out io.Writer, seen bool, far *terminal.Progress) artifact.Logf {
	begin := time.Now()
	return func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		far.Set(0, 0, text)
		if seen && strings.HasPrefix(text, artifact.Still) {
			return
		}
		far.Above(func() { fmt.Fprintf(out, "setup %4.0f s: %s\n", time.Since(begin).Seconds(), text) })
	}
}

// makeHosts makes what hosts boot from, with the tools of Debian, which have to be there.
func makeHosts(ctx context.Context, logf artifact.Logf, need needs) error {
	for _, suite := range need.suites {
		if _, err := rootfs.Make(ctx, logf, suite); err != nil {
			return err
		}
	}
	if need.ifcfg {
		if _, err := rootfs.Ifcfg(ctx, logf); err != nil {
			return err
		}
	}
	if need.openstack {
		if _, err := rootfs.OpenStack(ctx, logf); err != nil {
			return err
		}
	}
	for _, k := range need.machines {
		if _, err := vm.Image(ctx, logf, k.Suite, k.Flavour); err != nil {
			return err
		}
	}
	return nil
}

// makePrograms builds with Go. Only a node's programs need a package of Debian too.
func makePrograms(ctx context.Context, logf artifact.Logf, need needs, installed <-chan struct{}) error {
	if !need.controllers {
		_, err := controlplane.APIServerBinaries(ctx, logf)
		return err
	}
	if _, err := controlplane.Binaries(ctx, logf); err != nil {
		return err
	}
	if !need.nodes {
		return nil
	}
	select {
	case <-installed:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if _, err := kubelet.Programs(ctx, logf); err != nil {
		return err
	}
	_, err := kubelet.Helm(ctx, logf)
	return err
}
