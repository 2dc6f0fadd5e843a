package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// agent speaks with the guest agent (docs/interop/qemu-ga-ref in qemu's tree), which needs no network, no login and no terminal.
type agent struct {
	path   string
	exited <-chan struct{}

	mu    sync.Mutex
	conn  net.Conn // nil: there is none, or what comes on it belongs to a question that was given up
	lines *bufio.Reader
	asked int // how many times it was called
}

// agentError is what the agent says of a question.
type agentError struct {
	Class string `json:"class"`
	Text  string `json:"desc"`
}

func (e *agentError) Error() string { return e.Text }

// ask asks one question; into is for the answer. It waits for an agent that is not there yet.
func (a *agent) ask(ctx context.Context, command string, arguments map[string]any, into any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.call(ctx); err != nil {
		return err
	}
	line, err := a.exchange(ctx, command, arguments)
	if err != nil {
		a.hangUp()
		return fmt.Errorf("asking the guest agent for %s: %w", command, a.because(ctx, err))
	}
	var answer struct {
		Return json.RawMessage `json:"return"`
		Error  *agentError     `json:"error"`
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		a.hangUp()
		return fmt.Errorf("asking the guest agent for %s: %w: %q", command, err, line)
	}
	if answer.Error != nil {
		return fmt.Errorf("asking the guest agent for %s: %w", command, answer.Error)
	}
	return json.Unmarshal(answer.Return, into)
}

// shutdown has the guest power off, which the agent does not answer.
func (a *agent) shutdown(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.call(ctx); err != nil {
		return err
	}
	defer bound(ctx, a.conn)()
	return a.send("guest-shutdown", map[string]any{"mode": "powerdown"})
}

// call connects to the agent, and waits until it answers. What others had asked may be answered first.
func (a *agent) call(ctx context.Context) error {
	if a.conn != nil {
		return nil
	}
	conn, err := dial(ctx, a.path, a.exited)
	if err != nil {
		return err
	}
	a.conn, a.lines = conn, bufio.NewReader(conn)
	a.asked++
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	defer bound(ctx, conn)()
	// The byte 0xff ends whatever was half said, in both directions.
	if _, err = conn.Write([]byte{0xff}); err == nil {
		err = a.send("guest-sync-delimited", map[string]any{"id": a.asked})
	}
	for err == nil {
		if _, err = a.lines.ReadBytes(0xff); err != nil {
			break
		}
		var line []byte
		var answer struct {
			Return int `json:"return"`
		}
		if line, err = a.lines.ReadBytes('\n'); json.Unmarshal(line, &answer) == nil && answer.Return == a.asked {
			return nil
		}
	}
	a.hangUp()
	return fmt.Errorf("waiting for the guest agent: %w", a.because(ctx, err))
}

func (a *agent) exchange(ctx context.Context, command string, arguments map[string]any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	defer bound(ctx, a.conn)()
	if err := a.send(command, arguments); err != nil {
		return nil, err
	}
	return a.lines.ReadBytes('\n')
}

func (a *agent) send(command string, arguments map[string]any) error {
	request, err := json.Marshal(map[string]any{"execute": command, "arguments": emptyIfNil(arguments)})
	if err != nil {
		return err
	}
	_, err = a.conn.Write(append(request, '\n'))
	return err
}

// because tells the reason behind a broken connection.
func (a *agent) because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case <-a.exited:
		return errors.New("the machine is off")
	case <-time.After(100 * time.Millisecond): // a connection breaks before its process is gone
		return err
	}
}

func (a *agent) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hangUp()
}

func (a *agent) hangUp() {
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
}
