package hosttest

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// WithoutFiles runs f in a process that may open no more files. No other test may run meanwhile.
func WithoutFiles(t *testing.T, f func()) {
	t.Helper()
	var held []*os.File
	defer func() {
		for _, one := range held {
			_ = one.Close()
		}
	}()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	least := was
	least.Cur = 64
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &least); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Fatal(err)
		}
	}()
	for {
		one, err := os.Open(os.DevNull)
		if errors.Is(err, unix.EMFILE) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, one)
	}
	f()
}
