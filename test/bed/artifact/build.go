package artifact

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// GoEnv is the environment for building test binaries: the machine's own, without what a user's GOFLAGS or
// workspace could change.
func GoEnv() []string {
	// No DWARF: what is built here is stripped, and the compiler takes a sixth less time (Go 1.26, 2026-11). The Makefile says the
	// same of all it builds, so that packages in common are compiled once.
	env := append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false -gcflags=all=-dwarf=false", "GOTOOLCHAIN=local", "GOWORK=off")
	if os.Getenv("GOGC") == "" {
		// The compiler then collects less garbage: a quarter less time for the large packages of Kubernetes, for a third more memory
		// (600 MB in place of 450; Go 1.26, 2026-11).
		env = append(env, "GOGC=400")
	}
	return env
}

// builds are the commands that this process has built.
var builds struct {
	sync.Mutex
	paths map[string]string
}

// BuildCommand builds the repository's command pkg ("./cmd/multinicd"), stripped and static, once per process, and returns the
// binary's path, with build tags as asked. The path is always the same for a repository, so that Go finds there what is up to date.
func BuildCommand(ctx context.Context, logf Logf, pkg string, tags ...string) (string, error) {
	builds.Lock()
	defer builds.Unlock()
	key := strings.Join(append([]string{pkg}, tags...), " ")
	if path, ok := builds.paths[key]; ok {
		return path, nil
	}
	path, err := buildCommand(ctx, logf, pkg, tags)
	if err != nil {
		return "", err
	}
	if builds.paths == nil {
		builds.paths = map[string]string{}
	}
	builds.paths[key] = path
	return path, nil
}

func buildCommand(ctx context.Context, logf Logf, pkg string, tags []string) (string, error) {
	root, err := RepositoryRoot()
	if err != nil {
		return "", err
	}
	cache, err := Dir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "commands-"+Key(root))
	unlock, err := lock(ctx, logf, dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making a folder for %s: %w", pkg, err)
	}
	out := filepath.Join(dir, strings.Join(append([]string{filepath.Base(pkg)}, tags...), "-"))
	all := strings.Join(append([]string{"urfave_cli_no_docs"}, tags...), ",") // as the Makefile builds it
	err = goBuild(ctx, root, nil, "-trimpath", "-tags", all, "-ldflags", "-s -w", "-o", out, pkg)
	if err != nil {
		return "", fmt.Errorf("building %s: %w", pkg, err)
	}
	return out, nil
}

// Module is a folder with a go.mod of its own, whose tools are built with flags and, if any, more environment variables.
type Module struct {
	Dir        string
	Flags, Env []string
}

// Build builds main packages of a module into dir, each under the name that go build gives it: the last one of its path that is no version.
// They are built by one go build: what they share is compiled once, and one is linked while others are still compiled.
func Build(ctx context.Context, m Module, dir string, pkgs ...string) error {
	args := slices.Concat([]string{"-o", dir + "/"}, m.Flags, pkgs)
	if err := goBuild(ctx, m.Dir, m.Env, args...); err != nil {
		return fmt.Errorf("building %s: %w", strings.Join(pkgs, ", "), err)
	}
	return nil
}

// goBuild runs go build in dir. When ctx ends, go and the compilers that it runs are interrupted together, as by Ctrl-C at a terminal: killed
// alone, go would leave them at work, and its temporary folder behind.
func goBuild(ctx context.Context, dir string, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(GoEnv(), env...)
	// A group of their own, so that they can be called together; and they do not outlive us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second // a shell that starts us in the background may have us ignore interrupts
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return context.Cause(ctx) // what an interrupted compiler says is of no use
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// RunMake makes packages of the tree at root into the folder dist, with little compression, and with more of make's arguments and of the environment.
func RunMake(ctx context.Context, root, dist string, env []string, args ...string) error {
	args = append([]string{"--no-print-directory", "-C", root, "DIST=" + dist, "SOURCE_DATE_EPOCH=" + PackageEpoch, "XZ_LEVEL=0"}, args...)
	cmd := exec.CommandContext(ctx, "make", args...)
	for _, v := range os.Environ() {
		// This may be running below another make.
		if !strings.HasPrefix(v, "MAKE") && !strings.HasPrefix(v, "MFLAGS=") && !strings.HasPrefix(v, "GPG_KEY=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running %s: %w\n%s", cmd, err, bytes.TrimSpace(out))
	}
	return nil
}

// PackageEpoch is the time of everything in the packages of tests, in seconds.
const PackageEpoch = "1767225600"
