package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"multinicd/test/bed/monitor"
)

// link is the NIC as the kernel's announcements make it: name, MTU and IPv4 addresses, sorted.
type link struct {
	Name      string
	MTU       int
	Addresses []string
}

func (l link) String() string {
	return fmt.Sprintf("%s mtu %d %s", l.Name, l.MTU, strings.Join(l.Addresses, " "))
}

// with is the link after one more announcement.
func (l link) with(e monitor.Event) link {
	switch e.What {
	case "link":
		if _, from, ok := strings.Cut(e.Text, " renamed from "); ok && from == l.Name {
			l.Name = e.Link
		}
		if e.Link == l.Name {
			// The text begins with it; another form would be noticed by the comparison with what ip shows.
			_, _ = fmt.Sscanf(e.Text, "mtu %d", &l.MTU)
		}
	case "address":
		p, err := netip.ParsePrefix(e.Text)
		if e.Link != l.Name || err != nil || !p.Addr().Is4() {
			break
		}
		l.Addresses = slices.DeleteFunc(slices.Clone(l.Addresses), func(a string) bool { return a == e.Text })
		if !e.Gone {
			l.Addresses = append(l.Addresses, e.Text)
			slices.Sort(l.Addresses)
		}
	}
	return l
}

// replay follows the announcements from a link on. first is the time of the first about this link, and became that from which on the link
// was as wanted to the end; both are zero where there is none. foreign counts what was announced of everything else.
func replay(from link, events []monitor.Event, want link) (to link, first, became time.Time, foreign int) {
	to = from
	for _, e := range events {
		if e.Link != to.Name && !strings.HasSuffix(e.Text, " renamed from "+to.Name) {
			foreign++
			continue
		}
		if first.IsZero() {
			first = e.Time
		}
		to = to.with(e)
		switch {
		case to.String() != want.String():
			became = time.Time{}
		case became.IsZero():
			became = e.Time
		}
	}
	return to, first, became, foreign
}

// link reads the NIC with ip(8).
func (s *stand) link(ctx context.Context) (link, error) {
	out, err := s.host.Run(ctx, "ip", "-json", "address", "show", "dev", nicName)
	if err != nil {
		return link{}, err
	}
	var all []struct {
		Name      string `json:"ifname"`
		MTU       int    `json:"mtu"`
		Addresses []struct {
			Family string `json:"family"`
			Local  string `json:"local"`
			Length int    `json:"prefixlen"`
		} `json:"addr_info"`
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 {
		return link{}, fmt.Errorf("reading %s: %w: %s", nicName, err, out)
	}
	l := link{Name: all[0].Name, MTU: all[0].MTU}
	for _, a := range all[0].Addresses {
		if a.Family == "inet" {
			l.Addresses = append(l.Addresses, fmt.Sprintf("%s/%d", a.Local, a.Length))
		}
	}
	slices.Sort(l.Addresses)
	return l, nil
}
