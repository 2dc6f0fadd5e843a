// Package bus asks the services of this machine on the system bus: NetworkManager,
// systemd-networkd and netplan. It is the only package that speaks D-Bus.
//
// In go a link, profiles or files, and what is to become of them; each exported method is one
// request with everything that belongs to it. Out come the service's answer, or an error that
// says whether the service refused or could not be asked (ErrNoBus).
//
// The package must not decide what is asked, and starts no service but netplan's, which the bus
// starts by itself. Each method has a deadline of its own. The bus is dialled for one request and
// closed after it, so that a quiet day has no connection.
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

// ErrNoBus: the system bus, or the service asked for, is not there or does not answer.
var ErrNoBus = errors.New("the system bus cannot be asked")

// busTimeout bounds one call that starts no program. A service that the bus has to start first may take a second or two.
const busTimeout = 10 * time.Second

// Bus asks the services of one machine. Each call makes a connection of its own, so that several
// goroutines may call at once.
type Bus struct {
	host   *host.Host
	kernel Kernel
	log    *slog.Logger

	netplanJudge atomic.Pointer[string] // the method found by findNetplanJudge; nil: not looked for yet
}

// Kernel shows the links, rules and routes that a request is compared with; in service that is a
// kernel.Kernel. Its errors are handed on.
type Kernel interface {
	Links(ctx context.Context) ([]nic.Link, error)
	Rules(ctx context.Context) ([]nic.Rule, error)
	// LoneRoute finds a route that leads to no link; found false: there is none.
	LoneRoute(ctx context.Context) (to netip.Prefix, found bool, err error)
}

// New dials nothing. Each call dials the bus whose socket is below the root of h, or at
// $DBUS_SYSTEM_BUS_ADDRESS where the root is "/". The logger gets what a service did not tidy up.
func New(h *host.Host, k Kernel, log *slog.Logger) *Bus {
	return &Bus{host: h, kernel: k, log: log}
}

// systemBus is one connection to the host's system bus, see dbus-daemon(1). It is made for one task and closed after it: so there
// is none on a quiet day, and none that a restart of the bus could have left dead.
type systemBus struct {
	conn *dbus.Conn
	end  context.CancelFunc
}

// dial connects until ctx is done: a bus that hangs in the middle of the handshake must not hang us. The connection then lasts
// until close, because a task that ran out of time has to tidy up.
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

// runs says whether somebody has a service's name on the bus. It starts none.
func (b systemBus) runs(ctx context.Context, service string) (running bool, err error) {
	_, err = b.call(ctx, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.NameHasOwner", []any{service}, &running)
	return running, err
}

// call makes one call and stores its results. Errors are of three kinds: the service answered with an error (answered says so),
// ErrNoBus, or the context's.
func (b systemBus) call(ctx context.Context, service string, object dbus.ObjectPath, method string, args []any, results ...any) (answered bool, err error) {
	call := b.conn.Object(service, object).CallWithContext(ctx, method, 0, args...)
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
