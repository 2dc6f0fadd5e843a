package host

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"sync"

	"golang.org/x/sys/unix"
)

// own is what this process has written itself, in the folders that are watched.
type own struct {
	sync.Mutex
	stamps map[string]stamp // by path, as the host sees it; nil: nothing is watched
}

// stamp tells one version of a file from another: each write, rename and chmod(2) moves its ctime.
// The zero value is of a file that is not there.
type stamp struct {
	inode uint64
	size  int64 // within one tick of the clock ctime stays
	ctime unix.Timespec
}

func stampOf(name string) (s stamp) {
	var at unix.Stat_t
	if unix.Lstat(name, &at) == nil {
		s = stamp{at.Ino, at.Size, at.Ctim}
	}
	return s
}

// changing runs a change of one file, and notes how the file is behind it. Whoever watches the file
// does not look at it in between.
func (h *Host) changing(name string, change func() error) error {
	h.own.Lock()
	defer h.own.Unlock()
	err := change()
	if err == nil && h.own.stamps != nil {
		h.own.stamps[name] = stampOf(h.Path(name))
	}
	return err
}

// somebodys says whether somebody else has left a file as it is now.
func (h *Host) somebodys(name string) bool {
	h.own.Lock()
	defer h.own.Unlock()
	last, known := h.own.stamps[name]
	return !known || last != stampOf(h.Path(name))
}

// Events of inotify(7) by which a file becomes another one, or the folder goes.
const (
	fileEvents   = unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE
	folderEvents = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_UNMOUNT | unix.IN_IGNORED
)

// watch is one inotify(7) instance, and what it watches, by watch descriptor.
type watch struct {
	host    *Host
	fd      int
	folders map[int32]string
	awaited map[int32][]string // folders that are not there, by the nearest one above that is
}

// add watches a folder, or else waits for it to come.
func (w *watch) add(folder string) error {
	for at, below := folder, ""; ; at, below = path.Dir(at), at {
		events := uint32(fileEvents | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_EXCL_UNLINK)
		if below != "" {
			events = unix.IN_CREATE | unix.IN_MOVED_TO
		}
		wd, err := unix.InotifyAddWatch(w.fd, w.host.Path(at), events|unix.IN_ONLYDIR|unix.IN_MASK_ADD)
		if (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)) && at != "/" {
			continue
		} else if err != nil {
			return fmt.Errorf("watching %s: %w", at, err)
		}
		if below == "" {
			w.folders[int32(wd)] = folder
			return nil
		}
		if at, err := os.Stat(w.host.Path(below)); err == nil && at.IsDir() { // it has come in between
			return w.add(folder)
		}
		w.awaited[int32(wd)] = append(w.awaited[int32(wd)], folder)
		return nil
	}
}

// came watches the folders that were awaited below a watch, if they are there now. What is in them
// is news where ours accepts it and somebody else has put it there.
func (w *watch) came(wd int32, ours func(file string) bool) (news bool, err error) {
	awaited := w.awaited[wd]
	delete(w.awaited, wd)
	for _, folder := range awaited {
		if err := w.add(folder); err != nil {
			return false, err
		}
		entries, _ := os.ReadDir(w.host.Path(folder)) // it may not be there yet
		for _, e := range entries {
			file := path.Join(folder, e.Name())
			news = news || ours(file) && w.host.somebodys(file)
		}
	}
	return news, nil
}

// WatchFiles calls changed for each file in the folders that ours accepts by its path, whenever
// somebody other than this process has written, replaced, renamed or removed it, or has changed its
// mode. It calls ready once no change can be missed any more. Several changes may come as one; what
// came and went between two looks may not be told.
//
// A folder that is not there is watched from when it comes. WatchFiles returns an error if a folder
// goes, or cannot be watched; the caller may call it again. When ctx is done, it returns nil. Only
// one WatchFiles may be at work at a time.
func (h *Host) WatchFiles(ctx context.Context, folders []string, ours func(file string) bool, ready, changed func()) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("starting to watch files: %w", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	defer func() { _ = f.Close() }()
	defer context.AfterFunc(ctx, func() { _ = f.Close() })()
	h.own.Lock()
	h.own.stamps = map[string]stamp{}
	h.own.Unlock()
	w := watch{h, fd, map[int32]string{}, map[int32][]string{}}
	for _, folder := range folders {
		if err := w.add(folder); err != nil {
			return err
		}
	}
	ready()
	room := make([]byte, 16<<10)
	for {
		n, err := f.Read(room)
		if ctx.Err() != nil {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading what becomes of files: %w", WithoutPath(err))
		}
		news := false
		for events := room[:n]; len(events) >= unix.SizeofInotifyEvent; {
			wd, mask := int32(binary.NativeEndian.Uint32(events)), binary.NativeEndian.Uint32(events[4:])
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
			name, _, _ := bytes.Cut(events[unix.SizeofInotifyEvent:end], []byte{0})
			events = events[end:]
			folder, watched := w.folders[wd]
			switch file := path.Join(folder, string(name)); {
			case mask&unix.IN_Q_OVERFLOW != 0: // anything may have happened
				news = true
				for at := range maps.Clone(w.awaited) {
					if _, err := w.came(at, ours); err != nil {
						return err
					}
				}
			case watched && mask&folderEvents != 0:
				return fmt.Errorf("watching %s: it is gone", folder)
			case watched && ours(file) && h.somebodys(file):
				news = true
			}
			more, err := w.came(wd, ours)
			if err != nil {
				return err
			}
			news = news || more
		}
		if news {
			changed()
		}
	}
}
