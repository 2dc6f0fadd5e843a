// Package artifact keeps what tests are run with and what takes long to make: root file systems,
// control-plane binaries, the product's own binaries.
//
// In goes a name that says everything the artifact depends on, and a function that makes it; out comes a
// path. What is there under that name is used, whoever made it.
//
// It must never show a half-made artifact: everything is made beside its place and renamed into it, under a
// lock that holds between processes.
//
// Start reading at Make.
package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Logf reports progress in the manner of testing.T.Logf.
type Logf func(format string, args ...any)

// Dir is the cache folder, made if need be: $MULTINICD_CACHE, or multinicd in the user's cache folder.
func Dir() (string, error) {
	dir := os.Getenv("MULTINICD_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			// A build machine's root may well have no HOME.
			user = "/var/cache"
		}
		dir = filepath.Join(user, "multinicd")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making the cache folder: %w", err)
	}
	return dir, nil
}

// Make returns the path of the artifact called name, making it if it is not there. The function is given a
// folder that exists and is empty; what it leaves there is the artifact. Any number of processes may ask for
// the same artifact at once: one makes it, the others wait.
func Make(ctx context.Context, logf Logf, name string, build func(ctx context.Context, dir string) error) (string, error) {
	cache, err := Dir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	unlock, err := lock(ctx, logf, filepath.Join(cache, "."+name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("looking for %s: %w", path, err)
	}
	// We hold the lock: what another run was making, it was killed over.
	leftovers, err := filepath.Glob(filepath.Join(cache, "."+name+".new-*"))
	if err != nil {
		return "", fmt.Errorf("looking for leftovers of %s: %w", name, err)
	}
	for _, leftover := range leftovers {
		if err := os.RemoveAll(leftover); err != nil {
			return "", fmt.Errorf("removing the leftover %s: %w", leftover, err)
		}
	}
	dir, err := os.MkdirTemp(cache, "."+name+".new-")
	if err != nil {
		return "", fmt.Errorf("making a folder for %s: %w", name, err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left of it is removed next time
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", fmt.Errorf("opening up the folder of %s: %w", name, err)
	}
	logf("making %s (kept in %s)", name, cache)
	start := time.Now()
	stop := tellOf(logf, name, start)
	err = build(ctx, dir)
	stop()
	if err != nil {
		return "", fmt.Errorf("making %s: %w", name, err)
	}
	if err := os.Rename(dir, path); err != nil {
		return "", fmt.Errorf("putting %s in place: %w", name, err)
	}
	logf("made %s in %.0f s", name, time.Since(start).Seconds())
	return path, nil
}

// stillEvery is how often it is told that something is still being made: a terminal that stands still looks like a program that hangs.
const stillEvery = 30 * time.Second

// Still begins what is told of something that is still being made.
const Still = "still making"

// tellOf tells now and then that name is still being made, until stop is called.
func tellOf(logf Logf, name string, since time.Time) (stop func()) {
	ended := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		ticker := time.NewTicker(stillEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ended:
				return
			case <-ticker.C:
				logf(Still+" %s, for %.0f s so far", name, time.Since(since).Seconds())
			}
		}
	})
	return func() {
		close(ended)
		telling.Wait()
	}
}

// Together makes several things at the same time and returns when all have ended. The first that fails ends the context of the others, which
// are waited for all the same; its error is returned, and not what the others say of being ended.
func Together(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	for _, part := range parts {
		running.Go(func() {
			if err := part(ctx); err != nil {
				cancel(err)
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}

// lock takes the lock file at path, waiting for whoever holds it.
func lock(ctx context.Context, logf Logf, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the lock %s: %w", path, err)
	}
	for said := false; ; said = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if !said {
			logf("waiting for another process that holds %s", path)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("waiting for the lock %s: %w", path, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Key is a short hash over parts, for the name of an artifact.
func Key(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// RepositoryRoot is the folder of this repository's go.mod, found from the working folder upwards: go test
// runs a test in its package's folder.
func RepositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the working folder: %w", err)
	}
	for {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(b), "module multinicd\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("finding the repository: no go.mod of module multinicd above the working folder")
		}
		dir = filepath.Dir(dir)
	}
}
