// Package bus asks the services of this machine over the system bus: NetworkManager,
// systemd-networkd and netplan. No other package speaks D-Bus.
//
// In go a link, profiles or files, and what is to be done with them. Each exported method is one
// complete request. Out comes the service's answer, or an error. The error says whether the service
// refused, or could not be asked (ErrNoBus).
//
// The package must not decide what is asked. It starts no service except netplan's, which the bus
// itself starts. Each method has a deadline of its own. A connection is made for one request and
// then closed, so on a quiet day there is no connection.
//
// Start reading at Bus, then networkmanager.go, networkd.go and netplan.go.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"

	"multinicd/host"
	"multinicd/nic"
)

// ErrNoBus: the system bus, or the service that was asked, is not there or does not answer.
var ErrNoBus = errors.New("the system bus cannot be asked")

// busTimeout bounds one call that starts no program. If the bus has to start the service first,
// that may take a second or two.
const busTimeout = 10 * time.Second

// Bus asks the services of one machine. Each call makes a connection of its own, so several
// goroutines may call at once.
type Bus struct {
	host   *host.Host
	kernel Kernel
	log    *slog.Logger

	// the method that findNetplanJudge found; nil: not looked for yet
	netplanJudge atomic.Pointer[string]
}

// Kernel shows the links, rules and routes that a request is compared with. In service it is a
// kernel.Kernel. Its errors are passed on.
type Kernel interface {
	Links(ctx context.Context) ([]nic.Link, error)
	Rules(ctx context.Context) ([]nic.Rule, error)
	// LoneRoute finds a route that leads to no link. found is false if there is none.
	LoneRoute(ctx context.Context) (to netip.Prefix, found bool, err error)
}

// New makes no connection yet. Each call dials the bus whose socket is below the root of h; if the
// root is "/", $DBUS_SYSTEM_BUS_ADDRESS may say where. The log tells what a service did not tidy
// up.
func New(h *host.Host, k Kernel, log *slog.Logger) *Bus {
	return &Bus{host: h, kernel: k, log: log}
}

// systemBus is one connection to the host's system bus, see dbus-daemon(1). It is made for one task
// and then closed. So a quiet day has none, and a restart of the bus leaves no dead connection.
type systemBus struct {
	conn *dbus.Conn
	end  context.CancelFunc
}

// dial connects, at most until ctx is done: a bus that hangs in the middle of the handshake must
// not hang us. The connection then lasts until close, because a task that ran out of time still has
// to tidy up.
func (b *Bus) dial(ctx context.Context) (systemBus, error) {
	address := "unix:path=" + b.host.Path("/run/dbus/system_bus_socket")
	if env := os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"); env != "" && b.host.Root == "/" {
		address = env
	}
	lasting, end := context.WithCancel(context.WithoutCancel(ctx))
	handshake := context.AfterFunc(ctx, end)
	conn, err := dbus.Connect(address, dbus.WithContext(lasting))
	if !handshake() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		end()
		return systemBus{}, fmt.Errorf("connecting to the system bus: %w: %w", ErrNoBus, err)
	}
	return systemBus{conn, end}, nil
}

func (b systemBus) close() {
	_ = b.conn.Close()
	b.end()
}

// runs says whether somebody has a service's name on the bus. It starts no service.
func (b systemBus) runs(ctx context.Context, service string) (running bool, err error) {
	_, err = b.call(ctx, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.NameHasOwner", []any{service}, &running)
	return running, err
}

// call makes one call and stores its results. It starts no service but netplan's: one that somebody
// has stopped, if only a moment ago, stays so. There are three kinds of errors: the service answered
// with an error (then answered is true), ErrNoBus, and the context's error.
func (b systemBus) call(ctx context.Context, service string, object dbus.ObjectPath, method string, args []any, results ...any) (answered bool, err error) {
	flags := dbus.FlagNoAutoStart
	if service == netplanService {
		flags = 0
	}
	call := b.conn.Object(service, object).CallWithContext(ctx, method, flags, args...)
	if call.Err == nil {
		call.Err = call.Store(results...)
	}
	if call.Err == nil {
		return true, nil
	}
	var e dbus.Error
	if errors.As(call.Err, &e) {
		switch e.Name {
		case "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner", "org.freedesktop.DBus.Error.NoReply",
			"org.freedesktop.DBus.Error.Spawn.ServiceNotFound", "org.freedesktop.DBus.Error.Spawn.ExecFailed", "org.freedesktop.DBus.Error.TimedOut",
			"org.freedesktop.DBus.Error.Spawn.ChildExited", "org.freedesktop.DBus.Error.Spawn.ChildSignaled", "org.freedesktop.DBus.Error.AccessDenied":
			return false, fmt.Errorf("%w: %w", ErrNoBus, e)
		}
		return true, e
	}
	if ctx.Err() != nil {
		return false, fmt.Errorf("%w: %w", ErrNoBus, ctx.Err())
	}
	return false, fmt.Errorf("%w: %w", ErrNoBus, call.Err)
}
