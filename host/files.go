package host

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxFile bounds, in bytes, a file that is read whole. No file that concerns us comes near this
// size.
const maxFile = 4 << 20

// ErrIrregular: the path is a folder, a FIFO, or a link to /dev/null by which somebody hides a
// file. There is nothing to read.
var ErrIrregular = errors.New("not a regular file")

// Read gives a file and its permission bits. fs.ErrNotExist and every errno pass through. Only
// regular files of at most 4 MiB are read: a FIFO that somebody left in a folder must not stop us.
func (h *Host) Read(path string) ([]byte, fs.FileMode, error) {
	data, mode, err := h.read(path, maxFile+1)
	if err == nil && len(data) > maxFile {
		return nil, 0, fmt.Errorf("reading %s: %w", path, unix.EFBIG)
	}
	return data, mode, err
}

// Head gives the first bytes of a file, at most so many as most says. Errors are as for Read,
// except EFBIG.
func (h *Host) Head(path string, most int) ([]byte, error) {
	data, _, err := h.read(path, most)
	return data, err
}

// Each calls each for every line of a file, whatever the size of the file, until each returns
// false. A line is at most 64 KiB long. Errors are as for Read.
func (h *Host) Each(path string, each func(line string) bool) error {
	f, _, err := h.regular(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if !each(lines.Text()) {
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading %s: %w", path, WithoutPath(err))
	}
	return nil
}

// read makes the system calls itself. Each look at the machine reads dozens of small files, and an
// os.File, which may have to wait for what it reads, takes nearly twice as many calls.
func (h *Host) read(path string, most int) ([]byte, fs.FileMode, error) {
	data, mode, err := readRegular(h.Path(path), most)
	if err != nil {
		return nil, 0, fmt.Errorf("reading %s: %w", path, err)
	}
	return data, mode, nil
}

// readRegular gives the first bytes of a regular file, at most so many as most says, and its
// permission bits.
func readRegular(name string, most int) ([]byte, fs.FileMode, error) {
	fd, err := openAgain(name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	var at unix.Stat_t
	if err := unix.Fstat(fd, &at); err != nil {
		return nil, 0, err
	}
	if at.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, 0, ErrIrregular
	}
	// One byte more than there is shows the end at once. Files of /proc say that they are empty, and
	// may give less than there is.
	data := make([]byte, 0, min(max(int(at.Size), 511)+1, most))
	for len(data) < most {
		if len(data) == cap(data) {
			data = slices.Grow(data, min(len(data), most-len(data)))
		}
		room := data[len(data):min(cap(data), most)]
		n, err := unix.Read(fd, room)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		data = data[:len(data)+n]
		if n == 0 || at.Size > 0 && n < len(room) {
			break
		}
	}
	return data, fs.FileMode(at.Mode).Perm(), nil
}

// openAgain is open(2), again where a signal has interrupted it.
func openAgain(name string, flags int) (fd int, err error) {
	for {
		fd, err = unix.Open(name, flags|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// regular opens a regular file for reading, and gives its permission bits.
func (h *Host) regular(path string) (*os.File, fs.FileMode, error) {
	f, err := os.OpenFile(h.Path(path), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("reading %s: %w", path, WithoutPath(err))
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrIrregular
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, fmt.Errorf("reading %s: %w", path, WithoutPath(err))
	}
	return f, info.Mode().Perm(), nil
}

// Write replaces a whole file, or leaves the file that was there. It writes a temporary file in the
// same folder, syncs and renames it, and syncs the folder. mode is the permission bits, whatever
// the umask. The folder must exist.
//
// The name of the temporary file begins with a dot and ends in digits. So programs that read the
// folder by pattern (netplan: *.yaml, networkd: *.network) pass it over. It is made in the target's
// folder also to get the right SELinux label. A target that is a symbolic link or no regular file
// is refused. Any errno passes through (errors.Is: ENOSPC, EROFS, EACCES).
func (h *Host) Write(path string, data []byte, mode fs.FileMode) error {
	if err := h.write(path, data, mode); err != nil {
		return fmt.Errorf("writing %s: %w", path, WithoutPath(err))
	}
	return nil
}

func (h *Host) write(path string, data []byte, mode fs.FileMode) (err error) {
	target := h.Path(path)
	if info, err := os.Lstat(target); err == nil && !info.Mode().IsRegular() {
		return errors.New("a symbolic link, or something else that is no regular file, is in its place: remove it")
	}
	folder, name := filepath.Split(target)
	f, err := os.CreateTemp(folder, "."+name+".tmp-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err := f.Chmod(mode.Perm()); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := h.changing(path, func() error { return os.Rename(f.Name(), target) }); err != nil {
		return err
	}
	return syncFolder(folder)
}

// Remove unlinks a file and syncs its folder. If the file is not there, that is no error.
func (h *Host) Remove(path string) error {
	target := h.Path(path)
	err := h.changing(path, func() error { return os.Remove(target) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncFolder(filepath.Dir(target))
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", path, WithoutPath(err))
	}
	return nil
}

// Glob gives the paths that match an absolute pattern of path.Match. The paths are sorted, and as
// the host sees them. No match is no error. A folder that cannot be listed is an error: its files
// would otherwise seem to be gone.
func (h *Host) Glob(pattern string) ([]string, error) {
	out := []string{"/"}
	segments := strings.Split(strings.Trim(path.Clean(pattern), "/"), "/")
	for i, segment := range segments {
		var next []string
		for _, folder := range out {
			if i < len(segments)-1 && !strings.ContainsAny(segment, meta) {
				next = append(next, path.Join(folder, segment)) // whether it is there shows below it
				continue
			}
			names, err := h.matching(folder, segment)
			if err != nil {
				return nil, fmt.Errorf("listing %s: %w", pattern, WithoutPath(err))
			}
			for _, name := range names {
				next = append(next, path.Join(folder, name))
			}
		}
		out = next
	}
	sort.Strings(out)
	return out, nil
}

// meta are the characters by which a segment is a pattern (path.Match).
const meta = `*?[\`

// matching gives the names in a folder that match a pattern. If there is no such folder, there are
// no names.
func (h *Host) matching(folder, pattern string) (names []string, err error) {
	if !strings.ContainsAny(pattern, meta) {
		if _, err = os.Lstat(h.Path(path.Join(folder, pattern))); err == nil {
			return []string{pattern}, nil
		}
	} else {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, err
		}
		names, err = list(h.Path(folder))
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ESRCH) {
		return nil, nil
	}
	return slices.DeleteFunc(names, func(name string) bool {
		ok, _ := path.Match(pattern, name) // the pattern is good
		return !ok
	}), err
}

// list gives the names in a folder, in no order. It makes the system calls itself, as read does.
func list(folder string) (names []string, err error) {
	fd, err := openAgain(folder, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	var room [4 << 10]byte // on the stack: a look lists two dozen folders
	for {
		n, err := unix.ReadDirent(fd, room[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(room[:n], -1, names)
	}
}

// Exists says whether there is something at a path, even a link that leads nowhere.
func (h *Host) Exists(p string) bool {
	_, err := os.Lstat(h.Path(p))
	return err == nil
}

// Permissions gives the mode and the owner of a file or folder. ok is false if it is not there.
func (h *Host) Permissions(name string) (mode fs.FileMode, uid int, ok bool) {
	info, err := os.Lstat(h.Path(name))
	if err != nil {
		return 0, 0, false
	}
	sys, _ := info.Sys().(*syscall.Stat_t)
	return info.Mode(), int(sys.Uid), true
}

// Private sees to it that a folder is this user's own, and that nobody else may write or read in
// it. If others may read there, that ends. It is an error if the folder is somebody else's, if
// others may write in it, or if it is none: what it holds may then be anybody's.
func (h *Host) Private(folder string) error {
	mode, uid, ok := h.Permissions(folder)
	switch {
	case !ok || !mode.IsDir():
		return fmt.Errorf("%s is no folder; a symbolic link is not followed: name the folder itself as state.dir", folder)
	case uid != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d, want %d: whatever is in it may be that user's", folder, uid, os.Geteuid())
	case mode.Perm()&0o022 != 0:
		return fmt.Errorf("%s has mode %04o, so others may write in it; look at what is there, then chmod 0700 %s", folder, mode.Perm(), folder)
	case mode.Perm()&0o077 != 0:
		if err := os.Chmod(h.Path(folder), 0o700); err != nil {
			return fmt.Errorf("closing %s to others: %w", folder, WithoutPath(err))
		}
	}
	return nil
}

// Sysctl reads a number of /proc/sys, such as "net/ipv4/conf/all/rp_filter". It is 0 if there is
// none.
func (h *Host) Sysctl(name string) int {
	data, _, err := h.Read("/proc/sys/" + name)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return n
}

// Sweep removes the temporary files that a Write left in a folder when it was killed: those of
// files whose name begins with prefix. Call it only while nobody writes there.
func (h *Host) Sweep(folder, prefix string) error {
	left, err := h.Glob(filepath.Join(folder, "."+prefix+"*.tmp-*"))
	if err != nil {
		return err
	}
	for _, p := range left {
		err = errors.Join(err, h.Remove(p))
	}
	return err
}

// BootID is the kernel's random id of this boot, and the time at which process 1 was started. The
// time is for containers: a container has an id of its own, but a unit in it whose /proc/sys is
// protected sees the id of the machine. That id stays when the container boots again (systemd 252,
// November 2026).
func (h *Host) BootID() (string, error) {
	data, _, err := h.Read("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(data))
	const starttime = 22 - 3 // of proc(5), counted from behind the name in parentheses
	if stat, _, err := h.Read("/proc/1/stat"); err == nil {
		behind := string(stat[bytes.LastIndexByte(stat, ')')+1:])
		if fields := strings.Fields(behind); len(fields) > starttime {
			id += "/" + fields[starttime]
		}
	}
	return id, nil
}

// syncFolder makes a rename or an unlink in the folder last over a power cut.
func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) {
		err = nil // this file system knows no fsync of folders, so it has nothing to sync
	}
	return errors.Join(err, d.Close())
}

// WithoutPath takes the path out of an error of package os. The caller names the file itself; the
// path in the error would repeat it, or name the temporary file.
func WithoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}

// Short says whether err contains an error of a host that is short of something at the moment, such
// as open files or memory. The file to be read may well be there then.
func Short(err error) bool {
	return slices.ContainsFunc([]error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EIO, unix.EINTR}, func(e error) bool { return errors.Is(err, e) })
}
