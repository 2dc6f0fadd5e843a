package node

import (
	"context"
	"log/slog"
	"time"

	"multinicd/netplan"
	"multinicd/networkmanager"
	"multinicd/plan"
)

// ServiceBus asks netplan's service and networkd. Each call has a deadline of its own.
type ServiceBus interface {
	// NetworkdReload has networkd read its files, unless that could touch more than ours; unsafe says then what.
	NetworkdReload(ctx context.Context, index int, name, file string, ours func(file string) bool) (unsafe string, err error)
	// NetworkdLetGo has networkd let go of a link that its file no longer finds by name, unless that file still finds it; unsafe says so then.
	NetworkdLetGo(ctx context.Context, index int, ours func(file string) bool) (unsafe string, err error)
	// NetworkdDone waits until networkd has configured a link by that file; "": until it leaves it alone.
	NetworkdDone(ctx context.Context, index int, file string) error
	NetplanApply(ctx context.Context) error
}

// undoTimeout leaves an undo time to put the kernel right, whatever becomes of the service.
const undoTimeout = 12 * time.Second

// Services carries out what the steps of every backend ask of the host's services: networkd, netplan's
// and NetworkManager. One goroutine uses it at a time.
type Services struct {
	bus     ServiceBus
	manager networkmanager.Manager
	log     *slog.Logger

	// asked is the last change for which the service was asked. Undo asks the service again only
	// for that one. A crash loses it, which does no harm: before the request there is nothing to
	// undo, and after it recovery goes forward.
	asked string
}

// NewServices gives Services that have asked nobody yet.
func NewServices(b interface {
	ServiceBus
	networkmanager.Bus
}, log *slog.Logger) *Services {
	return &Services{bus: b, manager: networkmanager.Manager{Bus: b}, log: log}
}

// Manage implements apply.Manager.
func (s *Services) Manage(ctx context.Context, m plan.Manage) error {
	if m.Verb != plan.Reload && m.Verb != plan.Apply {
		return s.manager.Manage(ctx, m)
	}
	if !m.Undo {
		return s.ask(ctx, m)
	}
	if s.asked != m.UUID {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	if err := s.ask(ctx, m); err != nil { // the same service has just failed, as like as not; it must not keep all other changes from being made
		s.log.Warn("a service that was asked to take a change over could not be told that it was undone; files and link are as before", "mac", m.MAC, "err", err)
	}
	s.asked = ""
	return nil
}

// ask has the service do it and waits until it is done.
func (s *Services) ask(ctx context.Context, m plan.Manage) error {
	file := ""
	if m.Name != "" {
		file = m.Files[0]
	}
	if m.Verb == plan.Reload {
		unsafe, err := s.bus.NetworkdReload(ctx, m.Index, m.Name, file, netplan.OurFile)
		if unsafe != "" {
			s.letGo(ctx, m, unsafe)
			return nil
		}
		s.asked = m.UUID // one that failed may have done it all the same
		if err != nil {
			return err
		}
	} else {
		s.asked = m.UUID
		if err := s.bus.NetplanApply(ctx); err != nil {
			return err
		}
	}
	return s.bus.NetworkdDone(ctx, m.Index, file)
}

// letGo has networkd let go of a link, where it may not read its files for a reason. Else it would renew
// the lease that the link had, by what it has in mind, until the next boot. What cannot be done is logged:
// the change stands as netlink has made it, and what a renewal brings is removed again.
func (s *Services) letGo(ctx context.Context, m plan.Manage, reason string) {
	if m.Name != "" {
		kept, err := s.bus.NetworkdLetGo(ctx, m.Index, netplan.OurFile)
		if kept == "" && err == nil {
			s.log.Info("networkd was not asked to read its files, and has let go of the link", "mac", m.MAC, "reason", reason)
			return
		}
		s.log.Warn("networkd keeps the link until the next boot", "mac", m.MAC, "reason", kept, "err", err)
	}
	s.log.Warn("networkd was not asked, the change stays as netlink has made it", "mac", m.MAC, "reason", reason)
}
