package testhost

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// ReadFile reads a file of the host, on or off. Files below /run and /tmp exist only while it is on. A file that
// is not there is fs.ErrNotExist.
func (h *Host) ReadFile(name string) ([]byte, error) {
	f, err := h.open(name, unix.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("reading from %s: %w", h.Name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s on %s: %w", name, h.Name, err)
	}
	return b, nil
}

// WriteFile writes a file of the host, on or off, with exactly that mode and the folders above it, 0755.
func (h *Host) WriteFile(name string, content []byte, mode fs.FileMode) error {
	if err := h.mkdirAll(path.Dir(path.Clean("/" + name))); err != nil {
		return err
	}
	f, err := h.open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, uint64(mode.Perm()))
	if err != nil {
		return fmt.Errorf("writing to %s: %w", h.Name, err)
	}
	defer f.Close()
	if err := f.Chmod(mode.Perm()); err != nil {
		return fmt.Errorf("writing %s on %s: %w", name, h.Name, err)
	}
	if _, err := f.Write(content); err != nil {
		return fmt.Errorf("writing %s on %s: %w", name, h.Name, err)
	}
	return f.Close()
}

// ReadDir lists a folder of the host, sorted by name.
func (h *Host) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := h.open(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("listing on %s: %w", h.Name, err)
	}
	defer f.Close()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return nil, fmt.Errorf("listing %s on %s: %w", name, h.Name, err)
	}
	return entries, nil
}

// Remove removes a file or an empty folder of the host. One that is not there is fs.ErrNotExist.
func (h *Host) Remove(name string) error {
	dir, err := h.open(path.Dir(path.Clean("/"+name)), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("removing on %s: %w", h.Name, err)
	}
	defer dir.Close()
	err = unix.Unlinkat(int(dir.Fd()), path.Base(name), 0)
	if errors.Is(err, unix.EISDIR) {
		err = unix.Unlinkat(int(dir.Fd()), path.Base(name), unix.AT_REMOVEDIR)
	}
	if err != nil {
		return fmt.Errorf("removing on %s: %w", h.Name, &fs.PathError{Op: "unlink", Path: name, Err: err})
	}
	return nil
}

// symlink makes a link on the host's disk, in place of what is there.
func (h *Host) symlink(target, name string) error {
	if err := h.mkdirAll(path.Dir(name)); err != nil {
		return err
	}
	dir, err := h.open(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("linking on %s: %w", h.Name, err)
	}
	defer dir.Close()
	if err := unix.Unlinkat(int(dir.Fd()), path.Base(name), 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("linking %s on %s: %w", name, h.Name, err)
	}
	if err := unix.Symlinkat(target, int(dir.Fd()), path.Base(name)); err != nil {
		return fmt.Errorf("linking %s on %s: %w", name, h.Name, err)
	}
	return nil
}

func (h *Host) mkdirAll(name string) error {
	for i, r := range name + "/" {
		if r != '/' || i == 0 {
			continue
		}
		parent, err := h.open(path.Dir(name[:i]), unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return fmt.Errorf("making folders on %s: %w", h.Name, err)
		}
		err = unix.Mkdirat(int(parent.Fd()), path.Base(name[:i]), 0o755)
		parent.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("making %s on %s: %w", name[:i], h.Name, err)
		}
	}
	return nil
}

// open opens a file as the host sees it: a symbolic link leads to where it leads there, never out of its root.
func (h *Host) open(name string, flags int, mode uint64) (*os.File, error) {
	top := h.root
	if h.Running() && h.Leader() != 0 {
		top = fmt.Sprintf("/proc/%d/root", h.Leader())
	}
	root, err := os.OpenFile(top, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Mode: mode, Resolve: unix.RESOLVE_IN_ROOT}
	// Relative to the root, whose own name is a dot.
	fd, err := unix.Openat2(int(root.Fd()), "."+path.Clean("/"+name), &how)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}
