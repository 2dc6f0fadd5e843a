package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"
	"time"
)

// Somebody else's change of a file of ours is told, whatever he does to it; our own are not.
func TestWatchFilesTellsOfWhatOthersDo(t *testing.T) {
	h := &Host{Root: t.TempDir()}
	const dir = "/etc/netplan"
	folder := h.Path(dir)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	const file = dir + "/90-multinic1.yaml"
	ours := func(f string) bool {
		return path.Dir(f) == dir && strings.HasPrefix(path.Base(f), "90-multinic") && strings.HasSuffix(f, ".yaml")
	}
	write := func(name, text string) error { return os.WriteFile(path.Join(folder, name), []byte(text), 0o600) }
	ctx, cancel := context.WithCancel(t.Context())
	ready, told, ended := make(chan struct{}), make(chan struct{}, 100), make(chan error, 1)
	looked := make(chan string, 100) // at a file, before it is known who changed it
	go func() {
		ended <- h.WatchFiles(ctx, []string{"/not/there", dir}, func(f string) bool { looked <- f; return ours(f) }, func() { close(ready) }, func() { told <- struct{}{} })
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	next := func(what string) {
		t.Helper()
		select {
		case <-told:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s was not told", what)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// settled waits until nothing more is told of what was done so far.
	marks := 0
	settled := func() (more int) {
		t.Helper()
		marks++
		mark := fmt.Sprintf("90-multinic%d.yaml", 100+marks)
		do(write(mark, "x"))
		for f := range looked {
			if f == dir+"/"+mark {
				break
			}
		}
		next("the mark")
		for {
			select {
			case <-told:
				more++
			default:
				return more
			}
		}
	}
	own := func(err error) {
		t.Helper()
		do(err)
		for f := range looked {
			if f == file {
				break
			}
		}
		if more := settled(); more > 0 {
			t.Errorf("%d times more told than the mark", more)
		}
	}
	own(h.Write(file, []byte("ours"), 0o600))
	for _, by := range []struct {
		name string
		act  func() error
	}{
		{"that it is written in place", func() error { return write(path.Base(file), "theirs") }},
		{"that it is replaced", func() error {
			return errors.Join(write("new", "more"), os.Rename(path.Join(folder, "new"), h.Path(file)))
		}},
		{"that all may read it", func() error { return os.Chmod(h.Path(file), 0o644) }},
		{"that it is renamed", func() error { return os.Rename(h.Path(file), path.Join(folder, "old")) }},
	} {
		do(by.act())
		next(by.name)
		settled()
		own(h.Write(file, []byte("ours"), 0o600))
	}
	do(os.Remove(h.Path(file)))
	next("that it is removed")
	own(h.Write(file, []byte("ours"), 0o600))
	own(h.Remove(file))
	do(write("90-somebodys.yaml", "x"))
	if more := settled(); more > 0 {
		t.Error("a file of others is told of")
	}
	do(os.RemoveAll(folder))
	if err := <-ended; err == nil {
		t.Error("it does not end although the folder is gone")
	}
	do(os.MkdirAll(folder, 0o755))
	ready = make(chan struct{})
	go func() {
		ended <- h.WatchFiles(ctx, []string{dir}, ours, func() { close(ready) }, func() {})
	}()
	<-ready
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// A folder that is not there yet is watched from when it comes, whoever makes it, and also where those above it are missing.
func TestWatchFilesWaitsForAFolder(t *testing.T) {
	for _, dir := range []string{"/etc/netplan", "/etc/sysconfig/network-scripts"} {
		t.Run(dir, func(t *testing.T) {
			h := &Host{Root: t.TempDir()}
			if err := os.Mkdir(h.Path("/etc"), 0o755); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ready, told, ended := make(chan struct{}), make(chan struct{}, 100), make(chan error, 1)
			ours := func(f string) bool { return f == dir+"/ours" || f == dir+"/mark" }
			go func() {
				ended <- h.WatchFiles(ctx, []string{"/etc/other", dir}, ours, func() { close(ready) }, func() { told <- struct{}{} })
			}()
			<-ready
			next := func(what string) {
				t.Helper()
				select {
				case <-told:
				case err := <-ended:
					t.Fatal(err)
				case <-time.After(10 * time.Second):
					t.Fatalf("%s was not told", what)
				}
			}
			write := func(name string) {
				t.Helper()
				if err := os.WriteFile(h.Path(dir+"/"+name), []byte("theirs"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(os.MkdirAll(h.Path(dir), 0o755), h.Write(dir+"/ours", []byte("ours"), 0o600)); err != nil {
				t.Fatal(err)
			}
			write("mark")
			next("somebody's file in a folder that was made")
			for len(told) > 0 {
				<-told
			}
			write("ours")
			next("that our file in it is written")
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}
