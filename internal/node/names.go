package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"multinicd/nic"
	"multinicd/plan"
)

// Named is a link that got its name back; Err: it did not.
type Named struct {
	nic.Change
	Err error
}

// udevSettles bounds the wait for udev, which names links too: once it has seen a link it leaves the name.
const udevSettles = 10 * time.Second

// udevSettled waits as udevadm settle does: the file is there while events wait.
func (m *Machine) udevSettled(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, udevSettles)
	defer cancel()
	await(ctx, func() bool { return !m.Host.Exists("/run/udev/queue") })
}

// await looks every 20 ms whether it is done, until ctx is.
func await(ctx context.Context, done func() bool) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// udevNames bounds the wait for udev to name a link that was just plugged in: 10 to 30 ms on an idle
// machine, seconds on a very busy one.
const udevNames = 5 * time.Second

// namedByUdev waits until udev has handled the links of our NICs, and says whether it had to wait. udev
// gives a link that was just plugged in the name by its slot (ens6) when it comes to it, also if the link
// has got ours meanwhile (systemd 252, December 2026). A link that was waited for in vain, or has been
// handled, is not waited for again.
func (m *Machine) namedByUdev(ctx context.Context, links []nic.Link) (waited bool) {
	if !m.Host.Exists("/run/udev/control") || !m.Host.Exists(udevRecord(loopback)) { // no udev, or one that handles no links here
		return false
	}
	m.mu.Lock()
	ours, known := slices.Clone(m.wanted), m.named
	m.mu.Unlock()
	for _, o := range m.Record().NICs {
		ours = append(ours, o.MAC)
	}
	named := map[int]bool{}
	ctx, cancel := context.WithTimeout(ctx, udevNames)
	defer cancel()
	for _, l := range links {
		if !slices.ContainsFunc(ours, l.HasMAC) {
			continue
		}
		if !known[l.Index] && !m.handledByUdev(l.Index) {
			waited = true
			await(ctx, func() bool { return m.handledByUdev(l.Index) })
		}
		named[l.Index] = true
	}
	m.mu.Lock()
	m.named = named
	m.mu.Unlock()
	return waited
}

// loopback is the ifindex of lo in every network namespace.
const loopback = 1

// udevRecord is where udev keeps what it knows of a link. It writes it when it has handled the link, and
// since systemd 257 also when it begins, with ID_PROCESSING (device_update_db in src/libsystemd/sd-device).
func udevRecord(index int) string { return fmt.Sprintf("/run/udev/data/n%d", index) }

func (m *Machine) handledByUdev(index int) bool {
	data, _, err := m.Host.Read(udevRecord(index))
	return err == nil && !strings.Contains(string(data), "\nE:ID_PROCESSING=1\n")
}

// GiveNames gives the links of our NICs their names back at boot; see plan.Names. It waits until udev has
// seen all links that there are.
func (m *Machine) GiveNames(ctx context.Context, rec plan.Record) ([]Named, error) {
	if len(rec.NICs) == 0 {
		return nil, nil
	}
	m.udevSettled(ctx)
	links, err := m.Kernel.Bare(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the links: %w", err)
	}
	var out []Named
	for _, c := range plan.Names(plan.View{Links: links, Deny: m.Deny, Kinds: m.Kinds}, rec) {
		out = append(out, Named{c, m.Restore(ctx, c)})
	}
	return out, nil
}
