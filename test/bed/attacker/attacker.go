// Package attacker is a neighbour on a segment of the bed who means harm: a port of the switch with no kernel
// behind it, which sends whatever frames a test gives it, once or all the time, and answers what others ask.
//
// In go a segment, frames, and a function that answers questions; out come frames on the segment, and how many
// there were.
//
// It must not know the product, nor touch anything but its own port: what it does to a host, it does as somebody in
// the field would.
//
// Start reading at New, then Repeat and Answer. Package wire makes the frames.
package attacker

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"multinicd/nic"
	"multinicd/test/bed/wire"
)

// Segments is where an attacker gets its port: a testhost.World.
type Segments interface {
	Inside(f func() error) error
	NextPort() string
	Connect(port, segment string) error
}

// Attacker is on one segment until Close. Its methods may be used by several goroutines.
type Attacker struct {
	MAC nic.MAC

	cable   *os.File // a tap device
	running sync.WaitGroup

	mu     sync.Mutex
	answer func(wire.Question) [][]byte
	asked  []wire.Question
	failed error
}

// New puts an attacker on a segment. It is silent.
func New(w Segments, segment string) (*Attacker, error) {
	port := w.NextPort()
	a := &Attacker{MAC: nic.MAC{2, 0xba, 0xd0, 0, 0, port[len(port)-1]}}
	err := w.Inside(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		request, err := unix.NewIfreq(port)
		if err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		a.cable = os.NewFile(uintptr(fd), port)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("making a port for an attacker on segment %s: %w", segment, err)
	}
	if err := w.Connect(port, segment); err != nil {
		return nil, errors.Join(err, a.cable.Close())
	}
	a.running.Go(a.listen)
	return a, nil
}

// Close takes the attacker's cable out. Its error is the first that any of its frames met.
func (a *Attacker) Close() error {
	err := a.cable.Close()
	a.running.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	return errors.Join(a.failed, err)
}

// Answer sends the frames that f gives for each question on the segment, from now on; nil: none any more.
func (a *Attacker) Answer(f func(wire.Question) [][]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = f
}

// Asked are the questions that were heard since the last call, in order.
func (a *Attacker) Asked() []wire.Question {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.asked
	a.asked = nil
	return out
}

// Repeat sends frames, all of them at once and then again after each pause, until stop: it says how many there were.
func (a *Attacker) Repeat(pause time.Duration, frames ...[]byte) (stop func() int) {
	end, done, sent := make(chan struct{}), make(chan struct{}), 0
	go func() {
		defer close(done)
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for {
			if !a.send(frames) {
				return
			}
			sent += len(frames)
			select {
			case <-end:
				return
			case <-tick.C:
			}
		}
	}()
	return func() int { close(end); <-done; return sent }
}

// send is false once nothing can be sent any more.
func (a *Attacker) send(frames [][]byte) bool {
	for _, b := range frames {
		if _, err := a.cable.Write(b); err != nil {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.failed == nil && !errors.Is(err, os.ErrClosed) {
				a.failed = fmt.Errorf("sending a frame: %w", err)
			}
			return false
		}
	}
	return true
}

func (a *Attacker) listen() {
	b := make([]byte, 2048)
	for {
		n, err := a.cable.Read(b)
		if err != nil {
			return // the cable is out
		}
		q, is := wire.Asked(b[:n])
		if !is {
			continue
		}
		a.mu.Lock()
		a.asked = append(a.asked, q)
		answer := a.answer
		a.mu.Unlock()
		if answer != nil {
			a.send(answer(q))
		}
	}
}
