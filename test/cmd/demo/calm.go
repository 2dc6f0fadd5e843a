package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"multinicd/test/bed/sandbox"
)

// calmly runs the demo, takes all of it down, and gives the exit code. It is 0 also where a person ends the demo by Ctrl-C.
func calmly(run func(context.Context) error, takeDown func() error) int {
	defer foreground()()
	sandbox.GoOnAfterInterrupt()
	told, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, stop := signal.NotifyContext(told, os.Interrupt)
	defer stop()
	err := run(ctx)
	ended := ctx.Err() != nil && told.Err() == nil
	if cerr := takeDown(); err == nil || ended { // what fails in a demo that is being ended says nothing
		err = cerr
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	if ended {
		fmt.Println("\ndemo: ended by Ctrl-C; nothing of it is left")
	}
	return 0
}

// foreground gives the terminal to this process and to what it starts, until back is called: make and `go run` would take a Ctrl-C for a failure, so
// they get none. Ctrl-Z does nothing then, since no shell would notice it. Without a terminal it changes nothing.
func foreground() (back func()) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return func() {}
	}
	fd := int(tty.Fd())
	before, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	if err != nil || before != syscall.Getpgrp() || syscall.Setpgid(0, 0) != nil { // somebody else is in the foreground
		return func() { tty.Close() }
	}
	signal.Ignore(syscall.SIGTTOU, syscall.SIGTSTP)
	give := func(group int) { _ = unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, group) } // at worst Ctrl-C is for the others
	give(syscall.Getpgrp())
	return func() {
		give(before)
		tty.Close()
	}
}
