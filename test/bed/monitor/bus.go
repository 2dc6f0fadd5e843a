package monitor

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
)

// Call is a method call that went over a host's system bus.
type Call struct {
	Time   time.Time
	Sender string // unique name, ":1.7"
	// Process is the sender's command name, or Unknown: take that for anybody's.
	Process     string
	Destination string
	Path        string
	Interface   string
	Member      string
}

func (c Call) String() string {
	return fmt.Sprintf("%s (%s) -> %s %s.%s %s", c.Process, c.Sender, c.Destination, c.Interface, c.Member, c.Path)
}

// settleTimeout ends a test whose bus hangs, and decides nothing else: settle returns when its own question comes by. Before that the
// bus is asked about each sender that is new.
const settleTimeout = time.Minute

// Unknown is the process of a sender that was gone before the bus could be asked who it is.
const Unknown = "unknown"

// Host is what has to be known of a host, to monitor its system bus.
type Host interface {
	// SystemBus is the bus's address, for a process on this machine.
	SystemBus() string
	// ReadFile reads a file as the host sees it.
	ReadFile(name string) ([]byte, error)
}

// Bus records the method calls on a host's system bus, until that goes off or Stop.
type Bus struct {
	host    Host
	monitor *dbus.Conn // can only listen
	asker   *dbus.Conn // asks the bus about senders, and is not recorded
	running sync.WaitGroup
	stop    sync.Once
	stopped chan struct{}

	mu        sync.Mutex
	processes map[string]string
	calls     []Call
	questions int    // of our own
	asked     string // the latest of them that came by
	heard     chan struct{}
}

// NewBus starts to record. What is called after it has returned is not missed.
func NewBus(ctx context.Context, h Host) (*Bus, error) {
	m := &Bus{host: h, processes: map[string]string{}, heard: make(chan struct{}, 1), stopped: make(chan struct{})}
	var err error
	if m.asker, err = dbus.Connect(h.SystemBus()); err != nil {
		return nil, fmt.Errorf("monitoring the bus: %w", err)
	}
	if m.monitor, err = dbus.Connect(h.SystemBus()); err != nil {
		_ = m.asker.Close() // it said nothing yet
		return nil, fmt.Errorf("monitoring the bus: %w", err)
	}
	// The library drops what does not fit.
	messages := make(chan *dbus.Message, 1<<16)
	m.monitor.Eavesdrop(messages)
	call := m.monitor.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.Monitoring.BecomeMonitor", dbus.FlagNoReplyExpected, []string{}, uint32(0))
	if call.Err != nil {
		m.Stop()
		return nil, fmt.Errorf("monitoring the bus: %w", call.Err)
	}
	m.running.Go(func() {
		for {
			select {
			case message, open := <-messages: // which a connection that breaks closes
				if !open {
					return
				}
				m.record(message)
			case <-m.stopped:
				return
			}
		}
	})
	// Once our own question comes by, everything does.
	if err := m.settle(ctx); err != nil {
		m.Stop()
		return nil, err
	}
	return m, nil
}

// Calls is all that was called up to now, or since Reset, in order, without what the monitor itself called.
func (m *Bus) Calls(ctx context.Context) ([]Call, error) {
	if err := m.settle(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Call(nil), m.calls...), nil
}

// Reset forgets what was called up to now.
func (m *Bus) Reset(ctx context.Context) error {
	if err := m.settle(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = nil
	return nil
}

// Stop ends the recording. It may be called again.
func (m *Bus) Stop() {
	m.stop.Do(func() { close(m.stopped) })
	// Close closes the channel while messages may still come in, and the library then panics (godbus 5.2.4, conn.go inWorker): take it away first.
	m.monitor.Eavesdrop(nil)
	// The bus may be gone already, with its host.
	_ = m.monitor.Close()
	_ = m.asker.Close()
	m.running.Wait()
}

// settle asks the bus a question and waits until that one has come by: what was called before it has, too.
func (m *Bus) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for {
		m.mu.Lock()
		m.questions++
		question := fmt.Sprintf("bed.question.n%d", m.questions)
		m.mu.Unlock()
		call := m.asker.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, question)
		if call.Err != nil {
			return fmt.Errorf("monitoring the bus: %w", call.Err)
		}
		retry := time.After(time.Second)
		for waiting := true; waiting; {
			select {
			case <-m.heard:
				m.mu.Lock()
				waiting = m.asked != question // but an older one that was slow
				m.mu.Unlock()
				if !waiting {
					return nil
				}
			case <-retry:
				waiting = false // asked before the bus had made us a monitor
			case <-ctx.Done():
				return fmt.Errorf("monitoring the bus: %w", ctx.Err())
			}
		}
	}
}

func (m *Bus) record(message *dbus.Message) {
	if message.Type != dbus.TypeMethodCall {
		return
	}
	header := func(field dbus.HeaderField) string {
		switch v := message.Headers[field].Value().(type) {
		case string:
			return v
		case dbus.ObjectPath:
			return string(v)
		}
		return ""
	}
	c := Call{
		Time: time.Now(), Sender: header(dbus.FieldSender), Destination: header(dbus.FieldDestination),
		Path: header(dbus.FieldPath), Interface: header(dbus.FieldInterface), Member: header(dbus.FieldMember),
	}
	if c.Sender == m.asker.Names()[0] {
		if c.Member == "NameHasOwner" && len(message.Body) == 1 {
			m.mu.Lock()
			m.asked, _ = message.Body[0].(string)
			m.mu.Unlock()
			select {
			case m.heard <- struct{}{}:
			default:
			}
		}
		return
	}
	c.Process = m.process(c.Sender)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, c)
}

// process asks the bus who sender is. A sender's name is never given to another one.
func (m *Bus) process(sender string) string {
	if name, ok := m.processes[sender]; ok {
		return name
	}
	m.processes[sender] = Unknown
	var pid uint32
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := m.asker.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixProcessID", 0, sender).Store(&pid); err == nil {
		// The bus says how the host numbers its processes, and so does its /proc.
		if comm, err := m.host.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
			m.processes[sender] = strings.TrimSpace(string(comm))
		}
	}
	return m.processes[sender]
}
