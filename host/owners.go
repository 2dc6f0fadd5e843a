package host

import "time"

// SocketOwners remembers for a while whose an rtnetlink socket is: to find that out may take a walk
// over all processes. The zero value knows nobody. One goroutine uses it at a time.
type SocketOwners struct {
	found map[uint32]owner // by port
}

type owner struct {
	name string
	at   time.Time
}

const (
	// maxOwners bounds what is remembered, because processes come and go.
	maxOwners = 4096
	// ownerAge is how long the owner of a port counts as known, once it was found alive.
	ownerAge = 10 * time.Second
)

// Of gives the owner of a port, or "" if that is not certain, see Host.RouteSocketOwner.
func (s *SocketOwners) Of(h *Host, port uint32) string {
	if o, ok := s.found[port]; ok && time.Since(o.at) < ownerAge {
		return o.name
	}
	name, lives := h.RouteSocketOwner(port)
	if lives {
		if s.found == nil || len(s.found) >= maxOwners {
			s.found = map[uint32]owner{}
		}
		s.found[port] = owner{name, time.Now()}
	}
	return name
}
