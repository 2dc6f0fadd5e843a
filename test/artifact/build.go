package artifact

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// GoEnv is the environment for building test binaries: the machine's own, without what a user's GOFLAGS or
// workspace could change.
func GoEnv() []string {
	return append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOTOOLCHAIN=local", "GOWORK=off")
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
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", strings.Join(tags, ","), "-ldflags", "-s -w", "-o", out, pkg)
	cmd.Dir = root
	cmd.Env = GoEnv()
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", pkg, err, strings.TrimSpace(string(b)))
	}
	return out, nil
}

// Module is a folder with a go.mod of its own, whose tools are built with flags and, if any, more environment variables.
type Module struct {
	Dir        string
	Flags, Env []string
}

// Build builds a main package of a module into dir, under the package's last name.
func Build(ctx context.Context, m Module, dir, pkg string) error {
	args := append([]string{"build", "-o", dir + "/"}, append(m.Flags, pkg)...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = m.Dir
	cmd.Env = append(GoEnv(), m.Env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return nil
}
