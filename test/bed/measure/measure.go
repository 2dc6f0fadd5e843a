// Package measure has what the programs share that measure: a look at the machine before the first minute is spent, the wait until it is quiet, pages
// with their data, plots, and the history of figures.
//
// In go a folder and what a program has measured; out come pages that all name the commit that they are of. Nothing is written that was measured
// while others had a share of the processors that counts: it is printed.
//
// It must not measure anything of the product itself, and it takes no figure from the product's own words.
//
// Start reading at Run.
package measure

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"multinicd/test/bed/artifact"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/sandbox"
)

// Folder is where the results stand, from the top of the repository.
const Folder = "docs/performance"

// Run is one run of a program that measures. Its flags are set by Flags; Prepare comes before all else, then Begin and End around each thing that
// is measured, and Write behind each.
type Run struct {
	Out      string        // folder of the results; empty: they are only printed
	Patience time.Duration // how long a quiet machine is waited for
	Of       string        // commit that the tree must be of; empty: whichever it is
	Logf     func(string, ...any)

	Root    string // of the repository, set by Prepare
	Version string // of the product
	Commit  string // of the tree; empty where there is no git

	account *sandbox.Account
	begin   stat
	load    string
}

// Flags are those of a run.
func Flags(logf func(string, ...any)) *Run {
	r := &Run{Logf: logf}
	flag.StringVar(&r.Out, "out", Folder, "`folder` for text, data and plots, from the top of the repository, made if need be; empty: only print, also on a busy machine")
	flag.DurationVar(&r.Patience, "patience", 30*time.Minute, "how long to wait for a quiet machine")
	flag.StringVar(&r.Of, "of", "", "`commit` that the tree must be of; empty: whichever it is")
	return r
}

// Needs are what a run must find, in GiB.
type Needs struct {
	Memory, Disk float64
	// Anywhere is for results that do not depend on how busy the machine is: bytes.
	Anywhere bool
	// Setup comes behind it, and installs what is missing.
	Setup bool
}

// Prepare looks at all that the run needs, and waits until the machine is quiet.
func (r *Run) Prepare(ctx context.Context, n Needs) (err error) {
	if err := r.Look(ctx, n); err != nil {
		return err
	}
	if r.account, err = sandbox.NewAccount(); err != nil || r.Out == "" || n.Anywhere {
		return err
	}
	return r.await(ctx, true)
}

// Look tells everything that is missing at once.
func (r *Run) Look(ctx context.Context, n Needs) (err error) {
	if r.Root, err = artifact.RepositoryRoot(); err != nil {
		return err
	}
	var missing []error
	miss := func(format string, args ...any) { missing = append(missing, fmt.Errorf(format, args...)) }
	if os.Geteuid() != 0 {
		miss("root is needed: network namespaces are made, and hosts booted")
	}
	if packages := prerequisite.Missing(); len(packages) > 0 && !n.Setup {
		miss("the packages %s are not installed: run `go run ./test/cmd/setup`", strings.Join(packages, ", "))
	}
	if free := availableMemory(); free < n.Memory {
		miss("%.1f GiB of memory are free, %.1f are needed", free, n.Memory)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(os.TempDir(), &fs); err != nil {
		miss("looking at %s: %w", os.TempDir(), err)
	} else if free := float64(fs.Bavail) * float64(fs.Bsize) / (1 << 30); free < n.Disk {
		miss("%.1f GiB are free in %s, %.1f are needed", free, os.TempDir(), n.Disk)
	}
	text, err := os.ReadFile(filepath.Join(r.Root, "VERSION"))
	if err != nil {
		miss("reading the version: %w", err)
	}
	r.Version = strings.TrimSpace(string(text))
	if err := r.look(ctx); err != nil && r.Out != "" {
		missing = append(missing, err)
	}
	if r.Out != "" {
		if !filepath.IsAbs(r.Out) {
			r.Out = filepath.Join(r.Root, r.Out)
		}
		if err := writable(r.Out); err != nil {
			missing = append(missing, err)
		}
		others, err := sandbox.Others()
		if err != nil {
			missing = append(missing, err)
		}
		if len(others) > 0 && !n.Anywhere {
			miss("other test beds are running (%s): wait until they have ended", strings.Join(others, ", "))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("nothing is measured; -out \"\" only prints, whatever the tree and the machine are like:\n%w", errors.Join(missing...))
	}
	return nil
}

// Close ends what Prepare has begun.
func (r *Run) Close() error {
	if r.account == nil {
		return nil
	}
	return r.account.Close()
}

// look finds the commit. What stands in the results' own folder does not make a tree another one.
func (r *Run) look(ctx context.Context) error {
	git := func(args ...string) (string, error) {
		c := exec.CommandContext(ctx, "git", args...)
		c.Dir = r.Root
		out, err := c.Output()
		return strings.TrimSpace(string(out)), err
	}
	commit, err := git("rev-parse", "--short=10", "HEAD")
	if err != nil {
		return fmt.Errorf("the commit is not known, which each page names: %w", err)
	}
	r.Commit = commit
	changed, err := git("status", "--porcelain", "--", ".", ":!"+Folder)
	if err != nil {
		return fmt.Errorf("asking git what has been changed: %w", err)
	}
	if changed != "" {
		r.Commit += "-dirty"
		return fmt.Errorf("the tree is not that of a commit, which each page names; commit first:\n%s", changed)
	}
	if r.Of != "" && r.Of != commit {
		return fmt.Errorf("the tree is of commit %s, and the pages are to be of %s", commit, r.Of)
	}
	return nil
}

// writable makes a folder if need be, and proves that a file can be written there.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the folder of the results: %w", err)
	}
	f, err := os.CreateTemp(dir, ".bench-")
	if err != nil {
		return fmt.Errorf("writing into the folder of the results: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		return errors.Join(fmt.Errorf("writing into the folder of the results: %w", err), f.Close())
	}
	return f.Close()
}

// availableMemory is that of /proc/meminfo, in GiB; 0 where it is not told.
func availableMemory() (gib float64) {
	text, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "MemAvailable: %f", &gib); err == nil {
			return gib / (1 << 20)
		}
	}
	return 0
}
