package kernel

import (
	"net/netip"
	"slices"
	"strings"
	"sync"

	"multinicd/host"
	"multinicd/nic"

	"golang.org/x/sys/unix"
)

// authors remembers who asked the kernel for the latest change of each address, route and rule, as
// far as the kernel tells. The kernel announces such a change with the port of the socket that
// asked for it (netlink(7)). For a change of the link itself (its name, its MTU, up, down) it tells
// nobody.
type authors struct {
	sync.Mutex
	last   map[subject]string
	hands  map[subject]bool // the addresses that are there by no network manager, and not by us
	owners host.SocketOwners
}

// subject is what was changed: a link's ifindex (0 for a rule), and a netip.Prefix (an address) or
// the key of a nic.Route or nic.Rule.
type subject struct {
	index int
	what  any
}

// maxAuthors bounds what is remembered, because links and routes come and go.
const maxAuthors = 4096

// noteAuthor notes who asked for the change that an event announces. A change by the kernel itself
// (port 0), or by us, has no author.
func (k *Kernel) noteAuthor(kind uint16, m []byte, port uint32) {
	var about []subject
	switch kind {
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if index, a, ok := parseAddress(m); ok {
			about = append(about, subject{index, a.Prefix})
		}
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		parseRoute(m, func(index int, r nic.Route) { about = append(about, subject{index, r.Key()}) })
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		if r, ok := parseRule(m); ok {
			about = append(about, subject{0, r.Key()})
		}
	}
	if len(about) == 0 {
		return
	}
	k.authors.Lock()
	defer k.authors.Unlock()
	who := ""
	if port != k.rtnl.port() && port != 0 {
		who = k.authors.owners.Of(k.host, port)
	}
	for _, s := range about {
		k.noteHand(s, kind, port, who)
		if who == "" {
			delete(k.authors.last, s)
			continue
		}
		if k.authors.last == nil || len(k.authors.last) >= maxAuthors {
			k.authors.last = map[subject]string{}
		}
		k.authors.last[s] = who
	}
}

// noteHand notes whether a process puts an address there that is neither we nor a network manager.
// What the kernel announces by itself (port 0), such as the end of the duplicate address detection,
// says nothing of that. authors must be locked.
func (k *Kernel) noteHand(s subject, kind uint16, port uint32, who string) {
	switch {
	case kind == unix.RTM_DELADDR:
		delete(k.authors.hands, s)
	case kind != unix.RTM_NEWADDR || port == 0:
	case who == "" || slices.ContainsFunc(managers, func(m string) bool { return strings.HasPrefix(who, m) }):
		delete(k.authors.hands, s)
	default:
		if k.authors.hands == nil || len(k.authors.hands) >= maxAuthors {
			k.authors.hands = map[subject]bool{}
		}
		k.authors.hands[s] = true
	}
}

// managers begin the names of the processes that put addresses on links because files say so. The
// kernel cuts a process's name off behind 15 bytes.
var managers = []string{"systemd-network", "NetworkManager"}

// byHand notes in the addresses of links which of them somebody has put there by hand. The
// kernel's events must be followed, see Events; what was there before is not known to be by hand.
func (k *Kernel) byHand(links []nic.Link) {
	k.authors.Lock()
	defer k.authors.Unlock()
	for i := range links {
		for j := range links[i].Addresses {
			a := &links[i].Addresses[j]
			a.Hand = k.authors.hands[subject{links[i].Index, a.Prefix}]
		}
	}
}

// Author returns, and forgets, the process other than multinicd that made the last change of what.
// what is an address (netip.Prefix) or a route (nic.Route) of the link with that ifindex; or, with
// index 0, a rule (nic.Rule). Author returns "" if that is not known for certain. The kernel's
// events must be followed, see Events.
func (k *Kernel) Author(index int, what any) string {
	switch w := what.(type) {
	case netip.Prefix:
	case nic.Route:
		what = w.Key()
	case nic.Rule:
		index, what = 0, w.Key()
	default:
		return ""
	}
	k.authors.Lock()
	defer k.authors.Unlock()
	s := subject{index, what}
	who := k.authors.last[s]
	delete(k.authors.last, s)
	return who
}
