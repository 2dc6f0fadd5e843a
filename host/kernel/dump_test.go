package kernel

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestATornListIsNeverGiven(t *testing.T) {
	for name, tt := range map[string]struct {
		torn int // tries
		err  error
		ends bool // with a list
	}{
		"whole at once":                 {0, netlink.ErrDumpInterrupted, true},
		"torn twenty times":             {20, netlink.ErrDumpInterrupted, true},
		"torn for ever":                 {1 << 30, netlink.ErrDumpInterrupted, false},
		"interrupted by signals":        {20, unix.EINTR, true},
		"interrupted for ever":          {1 << 30, unix.EINTR, false},
		"the kernel is busy for ever":   {1 << 30, unix.EBUSY, false},
		"the kernel refuses":            {1, unix.EPERM, false},
		"the socket is broken, wrapped": {1, fmt.Errorf("receiving: %w", unix.EBADF), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, tries := time.Now(), 0
				err := whole(t.Context(), func() error {
					if tries++; tries <= tt.torn {
						return tt.err
					}
					return nil
				})
				if (err == nil) != tt.ends || err != nil && !errors.Is(err, tt.err) {
					t.Errorf("it ended with %v", err)
				}
				if took := time.Since(began); took > dumpPatience+dumpPauseMost || tries > 100 {
					t.Errorf("it took %s and %d tries", took, tries)
				}
			})
		})
	}
	t.Run("its caller gives up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := whole(ctx, func() error { return netlink.ErrDumpInterrupted }); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("it ended with %v", err)
			}
		})
	})
}
