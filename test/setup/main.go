// Command setup makes a machine ready for the test bed: it installs the Debian packages that are missing, builds
// the control plane, the root file systems of the hosts and a NetworkManager with the ifcfg plugin into the cache, and removes what killed test runs
// left. What is there already costs nothing.
//
// Arguments are the Debian suites to make root file systems of, bookworm if there are none, and "kubelet" for what nodes with a kubelet
// need. It needs root.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"multinicd/test/artifact"
	"multinicd/test/controlplane"
	"multinicd/test/kubelet"
	"multinicd/test/prerequisite"
	"multinicd/test/sandbox"
	"multinicd/test/testhost"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := setup(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "setup:", err)
		os.Exit(1)
	}
}

func setup(ctx context.Context, suites []string) error {
	begin := time.Now()
	logf := func(format string, args ...any) {
		fmt.Printf("setup %4.0f s: %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("the test bed needs root: it makes network namespaces and boots hosts")
	}
	if _, err := sandbox.Reap(logf); err != nil {
		return err
	}
	if err := prerequisite.Install(ctx, logf); err != nil {
		return err
	}
	withNodes := slices.Contains(suites, "kubelet")
	suites = slices.DeleteFunc(suites, func(s string) bool { return s == "kubelet" })
	if len(suites) == 0 {
		suites = []string{testhost.DefaultSuite}
	}
	for _, suite := range suites {
		if _, err := testhost.RootFS(ctx, logf, suite); err != nil {
			return err
		}
	}
	if slices.Contains(suites, testhost.DefaultSuite) {
		if _, err := testhost.IfcfgPlugin(ctx, logf); err != nil {
			return err
		}
	}
	if _, err := controlplane.Binaries(ctx, logf); err != nil {
		return err
	}
	if withNodes {
		if _, err := kubelet.Programs(ctx, logf); err != nil {
			return err
		}
		if _, err := kubelet.Helm(ctx, logf); err != nil {
			return err
		}
	}
	cache, err := artifact.Dir()
	if err != nil {
		return err
	}
	logf("ready; what was made is kept in %s", cache)
	return nil
}
