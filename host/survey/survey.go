// Package survey finds out who configures what on this machine, and gives its evidence: sentences
// for a person that say what was found and what was not.
//
// In go the links as the kernel shows them, and files; out come the claims of others to a link, the
// files of the former agent, the stack that a link belongs to, the names of the machine in its cloud,
// and which other programs configure NICs.
//
// The package changes nothing and decides nothing of ours: the caller says which files are ours.
// NetworkManager is the only service that it asks, and only where NetworkManager has run in this
// boot. What cannot be read just now is not taken for absent.
//
// Start reading at Survey, then stack.go (the choice as a pure function of what was seen), detect.go
// (what is seen) and owner.go (the claims).
package survey

import (
	"context"
	"log/slog"
	"slices"

	"golang.org/x/sys/unix"

	"multinicd/host"
	"multinicd/host/bus"
	"multinicd/nic"
)

// Survey answers who configures what on one machine. Several goroutines may call its methods at once.
type Survey struct {
	host    *host.Host
	links   Links
	manager Manager
	log     *slog.Logger

	claims  claimCache
	netplan netplanCache
	formers formerCache
}

// Links reads the links of the machine, as kernel.Kernel does.
type Links interface {
	Links(ctx context.Context) ([]nic.Link, error)
}

// Manager asks NetworkManager about a link, as bus.Bus does. Survey calls it only where NetworkManager
// has run in this boot.
type Manager interface {
	NMShows(ctx context.Context, link string) (bus.Device, error)
}

// New reads nothing yet. The logger gets what could not be read, never errors that are returned.
func New(h *host.Host, l Links, m Manager, log *slog.Logger) *Survey {
	return &Survey{host: h, links: l, manager: m, log: log}
}

// Agents says which other programs of this host configure NICs by themselves: by name the evidence.
func (s *Survey) Agents() map[string]string {
	out := map[string]string{}
	if evidence := s.hotplug(); evidence != "" {
		out["cloud-init"] = evidence
	}
	for _, unit := range []string{"nm-cloud-setup.service", "nm-cloud-setup.timer"} {
		wants, _ := s.host.Glob("/etc/systemd/system/*.wants/" + unit)
		if len(wants) > 0 {
			out["nm-cloud-setup"] = unit + " is enabled: " + wants[0]
		}
	}
	return out
}

// maxHead bounds what is read of a file of somebody else's of which little is expected, in bytes.
const maxHead = 64 << 10

// oneOf gives the first path that is there, or "".
func (s *Survey) oneOf(paths ...string) string {
	if i := slices.IndexFunc(paths, s.host.Exists); i >= 0 {
		return paths[i]
	}
	return ""
}

// Unsynchronised says whether the kernel knows of nobody who keeps its clock (adjtimex(2),
// STA_UNSYNC). Where it may not be asked it is not.
func Unsynchronised() bool {
	var t unix.Timex
	_, err := unix.Adjtimex(&t)
	return err == nil && t.Status&unix.STA_UNSYNC != 0
}

// timeServices are the units of time services, as distributions call them.
var timeServices = []string{"systemd-timesyncd.service", "chronyd.service", "chrony.service", "ntpsec.service", "ntpd.service", "ntp.service", "openntpd.service"}

// TimeService gives the unit of the time service that runs here, or "".
func (s *Survey) TimeService() string {
	for _, unit := range timeServices {
		if !s.host.Started(unit).IsZero() {
			return unit
		}
	}
	return ""
}
