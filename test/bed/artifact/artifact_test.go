package artifact

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

func TestAnArtifactIsMadeOnceHoweverManyAsk(t *testing.T) {
	t.Setenv("MULTINICD_CACHE", t.TempDir())
	var made atomic.Int32
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			path, err := Make(t.Context(), t.Logf, "thing", func(_ context.Context, dir string) error {
				made.Add(1)
				return os.WriteFile(filepath.Join(dir, "part"), []byte("whole"), 0o600)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if b, err := os.ReadFile(filepath.Join(path, "part")); err != nil || string(b) != "whole" {
				t.Errorf("read %q, %v, want a whole artifact", b, err)
			}
		})
	}
	asking.Wait()
	if got := made.Load(); got != 1 {
		t.Errorf("the artifact was made %d times, want 1", got)
	}
}

func TestABuildThatFailsOrWasCutOffLeavesNothing(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("MULTINICD_CACHE", cache)
	// What a build leaves behind that was killed half way.
	cutOff := filepath.Join(cache, ".thing.new-123")
	if err := os.MkdirAll(filepath.Join(cutOff, "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	_, err := Make(t.Context(), t.Logf, "thing", func(_ context.Context, dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "half"), nil, 0o600); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatalf("got error %v, want %v", err, broken)
	}
	left, err := filepath.Glob(filepath.Join(cache, "*thing*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range left {
		if filepath.Base(path) != ".thing.lock" {
			t.Errorf("%s was left behind", path)
		}
	}
}
