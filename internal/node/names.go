package node

import (
	"context"
	"fmt"
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
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for m.Host.Exists("/run/udev/queue") {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
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
