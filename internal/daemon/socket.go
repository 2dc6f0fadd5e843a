package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"multinicd/internal/apply"
	"multinicd/internal/daemon/status"
)

// Requests that a client may send on the socket, each a line by itself.
const (
	AskStatus   = "status"
	AskRollback = "rollback"
	AskUndo     = "undo" // the rollback
	AskCleanup  = "cleanup"
	AskTrigger  = "trigger"
)

// Reply is the answer to each, one JSON document. Error is empty where what was asked was done.
type Reply struct {
	Status status.Node    `json:"status"`
	Given  []status.Given `json:"given,omitempty"` // to AskCleanup
	Error  string         `json:"error,omitempty"`
}

// command is a request that the loop has to carry out, since it alone owns the machine.
type command struct {
	name  string
	reply chan<- Reply // of capacity 1
}

// answering gives the part that answers on the socket, which is there when answering returns.
func (d *Daemon) answering() func(ctx context.Context, again bool) error {
	first, failed := d.Socket()
	return func(ctx context.Context, again bool) error {
		l, err := first, failed
		if again {
			l, err = d.Socket()
		}
		if err != nil {
			return err
		}
		return d.Serve(ctx, l)
	}
}

// Serve answers each connection to l until ctx is done, or accepting fails, and closes l. The
// socket's file mode decides who may ask. It may be called before Run: the status says then that
// the daemon is starting, and commands are not taken.
func (d *Daemon) Serve(ctx context.Context, l net.Listener) error {
	d.setUp()
	defer l.Close()
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

// maxRequest is more than the longest request, in bytes.
const maxRequest = 64

func (d *Daemon) answer(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxRequest)).ReadString('\n')
	if err != nil {
		return err
	}
	var r Reply
	switch line {
	case AskStatus + "\n":
		r.Status = d.Status()
	case AskRollback + "\n", AskUndo + "\n", AskCleanup + "\n", AskTrigger + "\n":
		r = d.ask(ctx, strings.TrimSpace(line))
	default:
		r.Error = fmt.Sprintf("there is no request %q", line)
	}
	if err := conn.SetWriteDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	return json.NewEncoder(conn).Encode(r)
}

// Errors of a command that the loop has not carried out, or not yet.
const (
	askStarting = "the daemon is starting: it puts right first what may have been cut off; nothing was done, ask again in a moment"
	askBusy     = "the daemon is busy with another change; nothing was done, ask again when multinicd status says that it has ended"
	askUnderWay = "this takes longer than a minute; the daemon goes on with it, and multinicd status says how it ends"
	askBlind    = "it cannot be said what became of it, since the machine cannot be read now; the daemon does it as soon as it can: "
	askStopping = "the daemon is stopping; what was asked for may not have been done, ask again once it runs"
)

// ask hands a command to the loop and waits for it; a change may take a minute.
func (d *Daemon) ask(parent context.Context, name string) Reply {
	ctx, cancel := context.WithTimeout(parent, time.Minute)
	defer cancel()
	why := func(text string) Reply {
		if parent.Err() != nil {
			text = askStopping
		}
		return Reply{Status: d.Status(), Error: text}
	}
	if !d.isOpen() {
		return why(askStarting)
	}
	done := make(chan Reply, 1)
	select {
	case d.commands <- command{name, done}:
	case <-ctx.Done():
		return why(askBusy)
	}
	select {
	case r := <-done:
		return r
	case <-ctx.Done():
		return why(askUnderWay)
	}
}

// isOpen says whether what was cut off before the start is put right, or its NIC blocked.
func (d *Daemon) isOpen() bool {
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	return d.state.opened
}

// obey carries a command out, and gives the time after which the loop wants to run again; 0 where
// the command is refused: what the last pass wanted holds.
func (d *Daemon) obey(ctx context.Context, c command) (next time.Duration) {
	var r Reply
	switch c.name {
	case AskRollback, AskUndo:
		if err := d.rollbackTo(ctx, c.name == AskRollback); err != nil {
			r.Error = errText(err)
			break
		}
		next = d.pass(ctx)
	case AskCleanup:
		if err := d.clean(); err != nil {
			r.Error = err.Error()
			break
		}
		next = d.pass(ctx)
		r.Given = d.own.given
	case AskTrigger:
		d.Log.Info("asked by hand to try everything again now", "node", d.Node)
		d.own.pace.TryNow()
		next = d.pass(ctx)
	}
	if r.Error == "" && d.own.unseen != nil {
		r.Error = askBlind + errText(d.own.unseen)
	}
	r.Status = d.Status()
	c.reply <- r
	return next
}

var _ Applier = (*apply.Applier)(nil)
