// Package prerequisite knows what the test bed needs from the machine, beside Go: root, and a few Debian
// packages.
//
// Tests call Require and are skipped where something is missing, saying what; with CI set they fail, because a
// skipped test proves nothing. The command test/cmd/setup calls Install.
//
// It must not install anything by itself when a test runs.
package prerequisite

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// program is one that the test bed runs, and the Debian package it comes in.
type program struct{ name, pkg string }

// programs are for every host.
var programs = []program{
	{"unshare", "util-linux"},
	{"nsenter", "util-linux"},
	{"mmdebstrap", "mmdebstrap"},
	{"systemd-nspawn", "systemd-container"},
	{"ip", "iproute2"},
}

// servers are for hosts that get their addresses from somebody, for what pages have people send to
// servers, and for what pages have people ask of a log: those of tests, not that of make demo.
var servers = []program{{"dnsmasq", "dnsmasq-base"}, {"curl", "curl"}, {"jq", "jq"}}

// machines are for virtual machines.
var machines = []program{
	{"qemu-system-x86_64", "qemu-system-x86"},
	{"qemu-img", "qemu-utils"},
	{"genisoimage", "genisoimage"},
	{"mke2fs", "e2fsprogs"},
}

// browsers are for pages; letters come with the browser.
var browsers = []program{{"chromium", "chromium"}}

// Missing lists the Debian packages to install for the tests, sorted.
func Missing() []string { return absent(slices.Concat(programs, servers)) }

func absent(programs []program) []string {
	var missing []string
	for _, p := range programs {
		if _, err := exec.LookPath(p.name); err != nil {
			missing = append(missing, p.pkg)
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// Require ends the test where the machine cannot run the test bed.
func Require(t testing.TB) {
	t.Helper()
	require(t, Missing(), "")
}

// RequireMachines ends the test where the machine cannot run virtual machines.
func RequireMachines(t testing.TB) {
	t.Helper()
	require(t, absent(machines), " vm")
}

// RequireBrowser ends the test where the machine has no browser.
func RequireBrowser(t testing.TB) {
	t.Helper()
	require(t, absent(browsers), " browser")
}

func require(t testing.TB, missing []string, argument string) {
	t.Helper()
	end := t.Skipf
	if os.Getenv("CI") != "" {
		end = t.Fatalf
	}
	if os.Geteuid() != 0 {
		end("the test bed needs root: it makes network namespaces and boots hosts")
	}
	if len(missing) > 0 {
		end("the test bed needs the packages %s: run `go run ./test/cmd/setup%s`", strings.Join(missing, ", "), argument)
	}
}

// compiler is what go test -race needs beside Go; no test bed needs it.
func compiler() []string {
	if _, err := exec.LookPath("gcc"); err == nil {
		return nil
	}
	return []string{"gcc", "libc6-dev"}
}

// containerRuntime is what runc is built with: a library in C, found by pkg-config.
func containerRuntime() []string {
	if exec.Command("pkg-config", "--exists", "libseccomp").Run() == nil {
		return nil
	}
	return []string{"libseccomp-dev", "pkg-config"}
}

// More is what not everybody needs who runs the test bed.
type More struct {
	// Compiler is for go test -race, ContainerRuntime for building runc, Servers for hosts with
	// DHCP, Machines for virtual machines, Browser for pages.
	Compiler, ContainerRuntime, Servers, Machines, Browser bool
}

// Install installs by apt-get what is missing, for the test bed and for more.
func Install(ctx context.Context, logf func(string, ...any), more More) error {
	missing := absent(programs)
	if more.Servers {
		missing = append(missing, absent(servers)...)
	}
	if more.Machines {
		missing = append(missing, absent(machines)...)
	}
	if more.Browser {
		missing = append(missing, absent(browsers)...)
	}
	if more.Compiler {
		missing = append(missing, compiler()...)
	}
	if more.ContainerRuntime {
		missing = append(missing, containerRuntime()...)
	}
	if len(missing) == 0 {
		return nil
	}
	logf("installing by apt-get: %s", strings.Join(missing, ", "))
	install := append([]string{"install", "--yes", "--no-install-recommends"}, missing...)
	if aptGet(ctx, install...) == nil {
		return nil
	}
	// A fresh machine has no package lists, or old ones.
	if err := aptGet(ctx, "update"); err != nil {
		return err
	}
	return aptGet(ctx, install...)
}

func aptGet(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"--quiet", "--option=DPkg::Lock::Timeout=300"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	// Interrupted it ends when dpkg has; killed it would leave packages half installed.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running apt-get %s: %w:\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}
