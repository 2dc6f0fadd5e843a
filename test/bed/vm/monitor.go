package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"
)

// monitor speaks with qemu (QMP, docs/interop/qmp-spec in qemu's tree).
type monitor struct {
	mu     sync.Mutex
	conn   net.Conn
	lines  *bufio.Reader
	events []event // that came between answers
}

// event is one that qemu tells by itself.
type event struct {
	Name string `json:"event"`
	Data struct {
		Device string `json:"device"`
	} `json:"data"`
}

// dialMonitor waits for the socket of a qemu that has just been started, and for its greeting, after which all of the machine is there.
func dialMonitor(ctx context.Context, path string, exited <-chan struct{}) (*monitor, error) {
	conn, err := dial(ctx, path, exited)
	if err != nil {
		return nil, err
	}
	m := &monitor{conn: conn, lines: bufio.NewReader(conn)}
	defer bound(ctx, conn)()
	if _, err := m.lines.ReadBytes('\n'); err != nil {
		return nil, fmt.Errorf("waiting for qemu's greeting: %w", err)
	}
	return m, m.ask(ctx, "qmp_capabilities", nil)
}

func (m *monitor) close() { m.conn.Close() }

// ask has qemu do something.
func (m *monitor) ask(ctx context.Context, command string, arguments map[string]any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer bound(ctx, m.conn)()
	request, err := json.Marshal(map[string]any{"execute": command, "arguments": emptyIfNil(arguments)})
	if err != nil {
		return err
	}
	if _, err := m.conn.Write(append(request, '\n')); err != nil {
		return fmt.Errorf("asking qemu for %s: %w", command, err)
	}
	for {
		answer, err := m.next()
		if err != nil {
			return fmt.Errorf("asking qemu for %s: %w", command, err)
		}
		switch {
		case answer.Name != "":
			m.events = append(m.events, answer.event)
		case answer.Error != nil:
			return fmt.Errorf("asking qemu for %s: %s", command, answer.Error.Text)
		default:
			return nil
		}
	}
}

// wait waits until qemu tells of an event of a device.
func (m *monitor) wait(ctx context.Context, name, device string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer bound(ctx, m.conn)()
	for {
		for _, e := range m.events {
			if e.Name == name && e.Data.Device == device {
				m.events = nil
				return nil
			}
		}
		answer, err := m.next()
		if err != nil {
			return fmt.Errorf("waiting for qemu to say %s of %s: %w", name, device, err)
		}
		m.events = append(m.events, answer.event)
	}
}

type answer struct {
	event
	Error *struct {
		Text string `json:"desc"`
	} `json:"error"`
}

func (m *monitor) next() (a answer, err error) {
	line, err := m.lines.ReadBytes('\n')
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(line, &a)
}

func emptyIfNil(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// dial waits for a socket of qemu's.
func dial(ctx context.Context, path string, exited <-chan struct{}) (net.Conn, error) {
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err == nil {
			return conn, nil
		}
		select {
		case <-exited:
			return nil, fmt.Errorf("calling %s: qemu has ended", path)
		case <-ctx.Done():
			return nil, fmt.Errorf("calling %s: %w", path, context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// bound ends reads and writes of a connection when ctx ends, until the function that it returns is called.
func bound(ctx context.Context, conn net.Conn) (end func()) {
	_ = conn.SetDeadline(time.Time{}) // a closed connection says so when it is used
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = conn.SetDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-ended
		}
	}
}
