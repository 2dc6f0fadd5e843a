package bus

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"multinicd/host"
	"multinicd/nic"
)

const (
	networkdService = "org.freedesktop.network1"
	networkdObject  = "/org/freedesktop/network1"
	// networkdTimeout bounds a reload and the wait for its effects. Both take 0.1 to 0.5 s when all
	// is well.
	networkdTimeout = 8 * time.Second
	// networkdStill is how long networkd must have been done with a link. It begins with a link
	// only after it has answered the reload.
	networkdStill = 300 * time.Millisecond
	// netplanApplyTimeout bounds an apply: 1 to 3 s when all is well.
	netplanApplyTimeout = 15 * time.Second
)

// networkdDirs are where networkd reads .network and .netdev files.
var networkdDirs = []string{"/etc/systemd/network", "/run/systemd/network", "/usr/local/lib/systemd/network", "/usr/lib/systemd/network"}

// NetworkdReload makes networkd read its files again, if that can affect only our own files. A
// reload acts on every link: networkd also acts on what others have changed since it was started,
// and deletes what it does not know (systemd 252 and 257, measured November 2026). If a reload
// would do so, it is not done, and unsafe says why.
//
// file is our file that is to configure the link index, and name is the link's name. With an empty
// name no file is to configure it.
func (b *Bus) NetworkdReload(ctx context.Context, index int, name, file string, ours func(file string) bool) (unsafe string, err error) {
	ctx, cancel := context.WithTimeout(ctx, networkdTimeout)
	defer cancel()
	if unsafe, err = b.networkdUnsafe(ctx, ours); unsafe != "" || err != nil {
		return unsafe, err
	}
	if name != "" {
		if unsafe, err = b.networkdWouldDelete(ctx, index, name, file); unsafe != "" || err != nil {
			return unsafe, err
		}
	}
	bus, err := b.dial(ctx)
	if err != nil {
		return "", err
	}
	defer bus.close()
	if _, err := bus.call(ctx, networkdService, networkdObject, networkdService+".Manager.Reload", nil); err != nil {
		return "", fmt.Errorf("having networkd read its files: %w", err)
	}
	return "", nil
}

// NetworkdLetGo makes networkd look once more which of the files that it has read is for a link. That
// is for a link with another name than those files know: networkd then ends its DHCP client there and
// leaves the link alone. It reads no file for that, and acts on no other link. If one that is not ours
// may still find the link, networkd would only begin anew: it is not asked, and unsafe says so.
func (b *Bus) NetworkdLetGo(ctx context.Context, index int, ours func(file string) bool) (unsafe string, err error) {
	ctx, cancel := context.WithTimeout(ctx, networkdTimeout)
	defer cancel()
	_, file, err := b.host.NetworkdLink(index)
	if file == "" || err != nil { // networkd 257 looks by itself when a link gets another name
		return "", err
	}
	if ours(file) { // with what was in it when networkd read it
		return "networkd would configure the link anew by " + file + " as it was", nil
	}
	l, err := b.link(ctx, index)
	if err != nil {
		return "", err
	}
	for _, dir := range networkdDirs {
		files, err := b.host.Glob(dir + "/*.network")
		if err != nil {
			return "", err
		}
		for _, f := range files {
			data, _, err := b.host.Read(f)
			if err != nil {
				return "", fmt.Errorf("reading %s: %w", f, err)
			}
			if !ours(f) && finds(data, l) {
				return fmt.Sprintf("%s is for link %s under this name, or an alternative one, too", f, l.Name), nil
			}
		}
	}
	bus, err := b.dial(ctx)
	if err != nil {
		return "", err
	}
	defer bus.close()
	if _, err := bus.call(ctx, networkdService, networkdObject, networkdService+".Manager.ReconfigureLink", []any{int32(index)}); err != nil {
		return "", fmt.Errorf("having networkd let go of link %s: %w", l.Name, err)
	}
	return "", b.awaitNetworkd(ctx, index, "let go of it", func(state host.LinkState, _ string) bool { return state == host.LinkUnmanaged })
}

// finds says whether a .network file may be for a link, a NIC: by its names, its MACs and its type. All
// other conditions of [Match] are taken for met.
func finds(data []byte, l nic.Link) bool {
	match := map[string][]string{}
	_ = host.Ini(data, func(section, key, value string) error {
		if section == "Match" {
			match[key] = append(match[key], strings.Fields(value)...)
		}
		return nil
	})
	met := func(key string, is func(value string) bool) bool {
		return match[key] == nil || slices.ContainsFunc(match[key], is)
	}
	like := func(names ...string) func(string) bool {
		return func(pattern string) bool {
			return strings.HasPrefix(pattern, "!") || slices.ContainsFunc(names, func(n string) bool {
				ok, err := path.Match(pattern, n)
				return ok || err != nil
			})
		}
	}
	mac := func(value string) bool {
		m, err := nic.ParseMAC(value)
		return err != nil || l.HasMAC(m)
	}
	return met("Name", like(append([]string{l.Name}, l.AltNames...)...)) && met("Type", like("ether")) && met("MACAddress", mac) && met("PermanentMACAddress", mac)
}

// NetworkdDone waits until networkd is done with a link: it has configured the link by that file.
// If file is "", it waits until networkd has chosen what is to be done with the link. It may then
// wait for a DHCP server that never answers.
func (b *Bus) NetworkdDone(ctx context.Context, index int, file string) error {
	ctx, cancel := context.WithTimeout(ctx, networkdTimeout)
	defer cancel()
	return b.awaitNetworkd(ctx, index, "configure it by "+file, func(state host.LinkState, by string) bool {
		if file == "" {
			return slices.Contains([]host.LinkState{"", host.LinkConfiguring, host.LinkConfigured, host.LinkUnmanaged, host.LinkFailed, host.LinkLinger}, state)
		}
		return state == host.LinkConfigured && by == file
	})
}

// awaitNetworkd waits until networkd has done something with a link, and for some time no more.
func (b *Bus) awaitNetworkd(ctx context.Context, index int, what string, done func(state host.LinkState, by string) bool) error {
	since := time.Now()
	for {
		state, by, err := b.host.NetworkdLink(index)
		if err != nil || !done(state, by) {
			since = time.Now()
		} else if time.Since(since) >= networkdStill {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("waiting for networkd to see link %d and %s: its state is %q by %q: %w", index, what, state, by, ctx.Err())
		}
	}
}

// NetworkdFile gives the .network file by which networkd has configured the link with an ifindex.
// It is "" where networkd has configured the link by none, or where its word cannot be read.
func (b *Bus) NetworkdFile(index int) string {
	_, file, err := b.host.NetworkdLink(index)
	if err != nil {
		return ""
	}
	return file
}

// networkdUnsafe says which things of others a reload would touch.
func (b *Bus) networkdUnsafe(ctx context.Context, ours func(string) bool) (string, error) {
	started := b.host.Started("systemd-networkd.service")
	if started.IsZero() || !b.host.NetworkdRuns() {
		return "systemd-networkd does not run", nil
	}
	known := map[nic.Rule]bool{}
	for _, dir := range networkdDirs {
		for _, pattern := range []string{"/*.network", "/*.netdev", "/*.network.d/*.conf", "/*.netdev.d/*.conf"} {
			files, err := b.host.Glob(dir + pattern)
			if err != nil {
				return "", err
			}
			for _, f := range files {
				info, err := os.Stat(b.host.Path(f))
				if err != nil {
					return "networkd's file " + f + " cannot be looked at", nil
				}
				if !ours(f) && changed(info).After(started) {
					return fmt.Sprintf("%s has changed since networkd was started, and networkd would act on that too", f), nil
				}
				data, _, err := b.host.Read(f)
				if err != nil {
					return "", fmt.Errorf("reading %s: %w", f, err)
				}
				rulesOf(data, known)
			}
		}
	}
	states, err := b.host.Glob("/run/systemd/netif/links/*")
	if err != nil {
		return "", err
	}
	for _, s := range states {
		i, _ := strconv.Atoi(path.Base(s))
		_, f, err := b.host.NetworkdLink(i)
		if err != nil {
			return "", err
		}
		if f != "" && !ours(f) && !b.host.Exists(f) {
			return fmt.Sprintf("%s is gone, and networkd would act on that too", f), nil
		}
	}
	if !b.networkdKeeps("ManageForeignRoutes") {
		// networkd also deletes such a route, whichever link it has just been told about.
		if to, found, err := b.kernel.LoneRoute(ctx); err != nil {
			return "", err
		} else if found {
			return fmt.Sprintf("networkd does not know the route to %s that leads to no link and would delete it; ManageForeignRoutes=no in networkd.conf keeps it from that, from its next start on", to), nil
		}
	}
	if b.networkdKeeps("ManageForeignRoutingPolicyRules") {
		return "", nil
	}
	rules, err := b.kernel.Rules(ctx)
	if err != nil {
		return "", err
	}
	for _, r := range rules {
		if r.Protocol == nic.ProtocolKernel { // every host has these, and networkd leaves them
			continue
		}
		if k := r.Key(); r.Other || !known[k] {
			return fmt.Sprintf("networkd does not know the rule %q and would delete it; ManageForeignRoutingPolicyRules=no in networkd.conf keeps it from that, from its next start on", r), nil
		}
	}
	return "", nil
}

// networkdKeeps says whether networkd was started with the setting off, in a file that its user may
// read.
func (b *Bus) networkdKeeps(key string) bool {
	s := b.host.NetworkdSettings(key)[0]
	return s.Off() && s.InForce
}

// changed is when a file last changed, or was put in its place.
func changed(info os.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		if c := time.Unix(st.Ctim.Unix()); c.After(info.ModTime()) {
			return c
		}
	}
	return info.ModTime()
}

// rulesOf adds the rules of a .network file that say no more than a nic.Rule does.
func rulesOf(data []byte, known map[nic.Rule]bool) {
	r, plain := nic.Rule{}, true
	add := func() {
		if plain && r != (nic.Rule{}) {
			known[r] = true
		}
		r, plain = nic.Rule{}, true
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			add()
			plain = line == "[RoutingPolicyRule]"
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "", "#":
		case "From", "To":
			p, err := netip.ParsePrefix(value)
			if a, isAddr := netip.ParseAddr(value); isAddr == nil {
				p, err = netip.PrefixFrom(a, a.BitLen()), nil
			}
			plain = plain && err == nil
			if key == "From" {
				r.From = p
			} else {
				r.To = p
			}
		case "Table":
			_, err := fmt.Sscan(value, &r.Table)
			plain = plain && err == nil
		case "Priority":
			_, err := fmt.Sscan(value, &r.Priority)
			plain = plain && err == nil
		case "SuppressPrefixLength":
			r.NoDefault = value == "0"
			plain = plain && r.NoDefault
		default:
			plain = plain && strings.HasPrefix(line, "#")
		}
	}
	add()
}

// networkdWouldDelete says what somebody else has put on the link that is not in the link's file.
func (b *Bus) networkdWouldDelete(ctx context.Context, index int, name, file string) (string, error) {
	l, err := b.link(ctx, index)
	if err != nil {
		return "", err
	}
	if l.Name != name {
		return fmt.Sprintf("the link is called %s until the next boot, and networkd would not find it as %s", l.Name, name), nil
	}
	if !l.Carrier {
		return "the link has no carrier, and networkd would take its addresses until it has", nil
	}
	data, _, err := b.host.Read(file)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", file, err)
	}
	says := func(line string) bool { return strings.Contains("\n"+string(data), "\n"+line+"\n") }
	for _, a := range l.Addresses {
		if a.Permanent && !a.Prefix.Addr().IsLinkLocalUnicast() && !says("Address="+a.Prefix.String()) {
			return fmt.Sprintf("somebody has given the link %s, and networkd would delete it", a.Prefix), nil
		}
	}
	for _, r := range l.Routes {
		if r.Protocol != nic.ProtocolKernel && !says("Destination="+r.To.String()) && !b.networkdKeeps("ManageForeignRoutes") {
			return fmt.Sprintf("somebody has given the link the route %s, and networkd would delete it", r), nil
		}
	}
	return "", nil
}

func (b *Bus) link(ctx context.Context, index int) (nic.Link, error) {
	links, err := b.kernel.Links(ctx)
	if err != nil {
		return nic.Link{}, fmt.Errorf("reading the links: %w", err)
	}
	at := slices.IndexFunc(links, func(l nic.Link) bool { return l.Index == index })
	if at < 0 {
		return nic.Link{}, fmt.Errorf("reading link %d: %w", index, nic.ErrLinkGone)
	}
	return links[at], nil
}

// NetplanApply makes netplan's service bring all of /etc/netplan into force, on every link that it
// knows. `netplan apply` does the same.
func (b *Bus) NetplanApply(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, netplanApplyTimeout)
	defer cancel()
	bus, err := b.netplanAsk(ctx)
	if err != nil {
		return err
	}
	defer bus.close()
	var done bool
	if _, err := bus.call(ctx, netplanService, netplanObject, netplanService+".Apply", nil, &done); err != nil {
		return fmt.Errorf("having netplan apply: %w", err)
	}
	if !done {
		return errors.New("netplan did not apply; journalctl says why")
	}
	return nil
}
