package artifact

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestPartsAreMadeAtTheSameTime(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("MULTINICD_CACHE", cache)
	// Each waits for the other: one after the other they would not end.
	first, second := make(chan struct{}), make(chan struct{})
	part := func(name string, begun chan<- struct{}, other <-chan struct{}) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := Make(ctx, t.Logf, name, func(ctx context.Context, _ string) error {
				close(begun)
				select {
				case <-other:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			return err
		}
	}
	if err := Together(t.Context(), part("one", first, second), part("two", second, first)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		if _, err := os.Stat(filepath.Join(cache, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestAPartThatFailsEndsTheOthersAndNoneIsHalfMade(t *testing.T) {
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		end  func(interrupt context.CancelFunc) error
		want error
	}{
		"one part fails":                   {func(context.CancelFunc) error { return broken }, broken},
		"all are interrupted from outside": {func(interrupt context.CancelFunc) error { interrupt(); return nil }, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			cache := t.TempDir()
			t.Setenv("MULTINICD_CACHE", cache)
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			begun, ended := make(chan struct{}), false
			err := Together(ctx,
				func(context.Context) error {
					<-begun
					return test.end(interrupt)
				},
				func(ctx context.Context) error {
					_, err := Make(ctx, t.Logf, "slow", func(ctx context.Context, dir string) error {
						if err := os.WriteFile(filepath.Join(dir, "half"), nil, 0o600); err != nil {
							return err
						}
						close(begun)
						<-ctx.Done()
						return errors.New("ended in the middle")
					})
					ended = true
					return err
				},
			)
			if !errors.Is(err, test.want) {
				t.Errorf("got error %v, want %v, and not what the part said that was ended for it", err, test.want)
			}
			if !ended {
				t.Error("a part was not waited for")
			}
			left, err := filepath.Glob(filepath.Join(cache, "*slow*"))
			if err != nil || len(left) != 1 || filepath.Base(left[0]) != ".slow.lock" {
				t.Errorf("got %v, %v left behind, want the lock alone", left, err)
			}
		})
	}
}

func TestWhatTakesLongIsToldOf(t *testing.T) {
	t.Setenv("MULTINICD_CACHE", t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		still := 0
		logf := func(format string, _ ...any) {
			if strings.HasPrefix(format, "still making") {
				still++
			}
		}
		_, err := Make(t.Context(), logf, "slow", func(context.Context, string) error {
			time.Sleep(100 * time.Second) // of the bubble's clock: that is all it does
			return nil
		})
		if err != nil || still != 3 {
			t.Errorf("got told %d times in 100 s, %v, want 3", still, err)
		}
	})
}

// module writes a module whose commands one and two share a package.
func module(t *testing.T, two string) Module {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":           "module example.org/several\n\ngo 1.24\n",
		"shared/shared.go": "package shared\n\nconst Word = \"shared\"\n",
		"one/main.go":      "package main\n\nimport \"example.org/several/shared\"\n\nfunc main() { println(shared.Word) }\n",
		"two/main.go":      two,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Module{Dir: dir, Flags: []string{"-trimpath"}}
}

func TestSeveralCommandsAreBuiltByOneBuild(t *testing.T) {
	out := t.TempDir()
	m := module(t, "package main\n\nimport \"example.org/several/shared\"\n\nfunc main() { println(shared.Word, 2) }\n")
	if err := Build(t.Context(), m, out, "./one", "./two"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		if info, err := os.Stat(filepath.Join(out, name)); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("got %v, %v, want a program", info, err)
		}
	}
}

func TestABuildOfSeveralCommandsSaysWhichIsBroken(t *testing.T) {
	t.Setenv("MULTINICD_CACHE", t.TempDir())
	m := module(t, "package main\n\nfunc main() { nonsense() }\n")
	path, err := Make(t.Context(), t.Logf, "several", func(ctx context.Context, dir string) error {
		return Build(ctx, m, dir, "./one", "./two")
	})
	if err == nil || !strings.Contains(err.Error(), "undefined: nonsense") || !strings.Contains(err.Error(), "two/main.go") {
		t.Errorf("got %s, %v, want the line that does not compile", path, err)
	}
}

func TestABuildThatIsEndedEndsItsCompilers(t *testing.T) {
	// It stands for go, and its sleep for a compiler.
	tools, told := t.TempDir(), filepath.Join(t.TempDir(), "pid")
	script := "#!/bin/sh\nsh -c 'echo $$ >" + told + ".new && mv " + told + ".new " + told + " && exec sleep 1000'\n"
	if err := os.WriteFile(filepath.Join(tools, "go"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", tools+":"+os.Getenv("PATH"))
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	done := make(chan error, 1)
	go func() { done <- Build(ctx, Module{Dir: t.TempDir()}, t.TempDir(), "./one") }()
	until(t, func() bool { _, err := os.Stat(told); return err == nil })
	b, err := os.ReadFile(told)
	if err != nil {
		t.Fatal(err)
	}
	compiler, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(compiler, syscall.SIGKILL) }) // where the test has failed it is there still
	interrupt()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want that it was ended", err)
	}
	until(t, func() bool { // gone, or dead and not yet waited for
		status, err := os.ReadFile("/proc/" + strconv.Itoa(compiler) + "/stat")
		return err != nil || strings.Contains(string(status), ") Z ")
	})
}

// until waits for what another process does.
func until(t *testing.T, done func() bool) {
	t.Helper()
	deadline, ticker := time.After(30*time.Second), time.NewTicker(5*time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatal("it has not come about in 30 s")
		}
	}
}
