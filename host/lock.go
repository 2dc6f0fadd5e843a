package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"multinicd/internal/terminal"
)

// ErrLocked: another process holds the lock. The text of the error says which.
var ErrLocked = errors.New("locked by another process")

// Lock takes the flock(2) of a file and writes our process id into the file. It makes the file
// (0600) if there is none; the folder must exist. It tries at least once, and for as long as wait.
// The kernel releases the lock when the process ends, however it ends. The file stays. release may
// be called once.
func (h *Host) Lock(ctx context.Context, path string, wait time.Duration) (release func(), err error) {
	f, err := os.OpenFile(h.Path(path), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", path, WithoutPath(err))
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			_ = f.Truncate(0)
			_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
			return func() { _ = f.Close() }, nil
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			_ = f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			holder := h.holder(f)
			_ = f.Close()
			return nil, fmt.Errorf("locking %s: %w: %s", path, ErrLocked, holder)
		case <-tick.C:
		}
	}
}

// maxCommand bounds the command line of a process that is named, in bytes.
const maxCommand = 200

// holder describes the process that wrote its id into the lock file: "process 123 (multinicd run)".
func (h *Host) holder(f *os.File) string {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil || pid <= 0 {
		return "an unknown process"
	}
	command, _, err := h.Read(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(command) == 0 {
		return fmt.Sprintf("process %d", pid)
	}
	words := bytes.ReplaceAll(bytes.TrimRight(command, "\x00"), []byte{0}, []byte{' '})
	return fmt.Sprintf("process %d (%s)", pid, terminal.Line(string(words), maxCommand))
}
