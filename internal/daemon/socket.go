package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"multinicd/internal/apply"
)

// Requests that a client may send on the socket, each a line by itself.
const (
	AskStatus   = "status"
	AskRollback = "rollback"
	AskUndo     = "undo" // the rollback
	AskCleanup  = "cleanup"
)

// Reply is the answer to each, one JSON document. Error is empty where what was asked was done.
type Reply struct {
	Status Status  `json:"status"`
	Given  []Given `json:"given,omitempty"` // to AskCleanup
	Error  string  `json:"error,omitempty"`
}

// command is a request that the loop has to carry out, since it alone owns the machine.
type command struct {
	name  string
	reply chan<- Reply // of capacity 1
}

// Serve answers each connection to l until ctx is done. The socket's file mode decides who may ask.
func (d *Daemon) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accepting on %s: %w", l.Addr(), err)
		}
		wg.Go(func() {
			if err := d.answer(ctx, conn); err != nil && ctx.Err() == nil {
				d.Log.Debug("answering on the socket", "err", err)
			}
		})
	}
}

func (d *Daemon) answer(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	var r Reply
	switch line {
	case AskStatus + "\n":
		r.Status = d.Status()
	case AskRollback + "\n", AskUndo + "\n", AskCleanup + "\n":
		r = d.ask(ctx, strings.TrimSpace(line))
	default:
		r.Error = fmt.Sprintf("there is no request %q", line)
	}
	if err := conn.SetWriteDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	return json.NewEncoder(conn).Encode(r)
}

// ask hands a command to the loop and waits for it; a change may take a minute.
func (d *Daemon) ask(ctx context.Context, name string) Reply {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	done := make(chan Reply, 1)
	select {
	case d.commands <- command{name, done}:
	case <-ctx.Done():
		return Reply{Status: d.Status(), Error: "the daemon is busy or stopping"}
	}
	select {
	case r := <-done:
		return r
	case <-ctx.Done():
		return Reply{Status: d.Status(), Error: "the daemon is stopping"}
	}
}

// obey carries a command out, and gives the time after which the loop wants to run again.
func (d *Daemon) obey(ctx context.Context, c command) time.Duration {
	next := d.nextRetry()
	var r Reply
	switch c.name {
	case AskRollback, AskUndo:
		err := d.hold(c.name == AskRollback)
		if err == nil {
			next = d.pass(ctx)
		}
		r.Error = errText(err)
	case AskCleanup:
		if err := d.clean(); err != nil {
			r.Error = err.Error()
			break
		}
		next = d.pass(ctx)
		r.Given = d.given
	}
	r.Status = d.Status()
	c.reply <- r
	return next
}

var _ Applier = (*apply.Applier)(nil)
