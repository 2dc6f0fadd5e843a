package daemon

import (
	"context"
	"fmt"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/status"
)

// Cleanup is what `multinicd cleanup` does where no daemon runs: one pass that gives back all that
// is ours.
func (d *Daemon) Cleanup(ctx context.Context) (status.Node, []status.Given, error) {
	if err := d.open(ctx); err != nil {
		return status.Node{}, nil, err
	}
	if err := d.clean(); err != nil {
		return status.Node{}, nil, err
	}
	d.Machine.Settle(ctx, d.owned())
	d.pass(ctx)
	if d.own.unseen != nil {
		return d.Status(), d.own.given, d.own.unseen
	}
	if d.Reporter != nil {
		if err := d.reports.Flush(ctx); err != nil {
			d.Log.Warn("the report cannot be delivered", "err", err) // what was asked for is done all the same
		}
	}
	return d.Status(), d.own.given, nil
}

// clean has every pass from now on give back what is ours, until the daemon starts anew.
func (d *Daemon) clean() error {
	if err := d.Applier.Complete(); err != nil {
		d.Log.Warn("a file of ours cannot be read; its NIC is left as it is", "err", err)
	}
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	d.state.wish.Left = true
	return nil
}

// leftMessage says how it is after a cleanup.
const leftMessage = "everything was given back by multinicd cleanup; the NICs are configured again when the service starts anew (systemctl restart multinicd)"

// cleanedMessage says how it is after the cluster has asked for a cleanup.
const cleanedMessage = "every NIC was given back, as the cluster asked; the next change of the object, or a trigger, configures them again"

// vetoed is the remark of a node that was asked for a cleanup and keeps its NICs; nil: it was not.
func (d *Daemon) vetoed(wish asked.Wish) *v1.Remark {
	if !wish.Vetoed || !d.NoCleanup {
		return nil
	}
	return &v1.Remark{Reason: v1.ReasonCleanupRefused,
		Message: "the cluster asked for a cleanup, and this node keeps its NICs (cleanup = false in multinicd.toml); `multinicd cleanup` on the node gives them back"}
}

// deletedMessage says how it is after the object was deleted; nics are those that could not be
// given back yet.
func (d *Daemon) deletedMessage(nics []status.NIC) string {
	kept := len(d.owned())
	switch {
	case d.OnDelete == "restore" && len(nics) > 0:
		return "the object was deleted; some NICs could not be given back yet (on_delete = restore)"
	case d.OnDelete == "restore":
		return "the object was deleted, and its NICs are given back (on_delete = restore)"
	case kept == 0:
		return "the object was deleted; no NIC here is multinicd's"
	case kept == 1:
		return "the object was deleted; 1 NIC is kept as it is (on_delete = retain): `multinicd cleanup` gives it back"
	}
	return fmt.Sprintf("the object was deleted; %d NICs are kept as they are (on_delete = retain): `multinicd cleanup` gives them back", kept)
}
