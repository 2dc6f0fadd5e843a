package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"multinicd/internal/apply"
	"multinicd/internal/node"
	"multinicd/internal/terminal"
	"multinicd/plan"
)

// recoverCommand undoes what a crash or a power cut has cut off, and gives the NICs their names back. It
// needs neither bus nor API: it runs before the network managers, when nobody could be asked over the
// bus, and behind cloud-init, which gives NICs names of its own.
func recoverCommand(c *cli.Context) error {
	if c.Args().Present() {
		return exitError{exitUsage, fmt.Errorf("recover takes no arguments, got %q", c.Args().First())}
	}
	w, err := wireHost(c)
	if err != nil {
		return err
	}
	defer w.close()
	journals, err := w.host.Glob(filepath.Join(w.cfg.State.Dir, "journal*"))
	cutOff := err != nil || len(journals) > 0
	if !cutOff && !w.host.Exists(w.cfg.State.Dir) {
		return say(c, "nothing was cut off")
	}
	release, err := w.lock(c.Context, 0)
	if err != nil && !cutOff {
		return say(c, "nothing was cut off; another multinicd is at work, and names the NICs itself")
	} else if err != nil {
		return err
	}
	defer release()
	boot, err := w.host.BootID()
	if err != nil {
		return exitError{exitFailed, err}
	}
	machine := &node.Machine{Host: w.host, Kernel: w.kernel, Survey: w.survey, Kubelet: w.kubelet, Deny: w.cfg.Links.DenyNames, Kinds: w.cfg.Links.VirtualKinds}
	a := apply.Applier{Links: machine, Files: w.host, Ours: node.MayChange, Log: w.log, Dir: w.cfg.State.Dir, Boot: boot}
	machine.Record = a.Record
	found, err := a.Recover(c.Context)
	if err != nil {
		return exitError{exitRollbackFailed, fmt.Errorf("undoing what was cut off: %w", err)}
	}
	if len(found) == 0 {
		if err := say(c, "nothing was cut off"); err != nil {
			return err
		}
	}
	if err := giveNames(c, machine, a.Record()); err != nil {
		return err
	}
	var errs []error // by MAC, as they were found
	for _, r := range found {
		line, err := recovered(r)
		if err != nil {
			errs = append(errs, err)
		} else if err := say(c, line); err != nil {
			return err
		}
	}
	if len(errs) > 0 {
		return exitError{exitRollbackFailed, errors.Join(errs...)}
	}
	return nil
}

// giveNames says which links got their names back. One that did not is the daemon's business, and no
// failure of this boot: what the files say of it counts by its MAC.
func giveNames(c *cli.Context, machine *node.Machine, rec plan.Record) error {
	named, err := machine.GiveNames(c.Context, rec)
	if err != nil {
		return say(c, "the NICs keep the names that they have: "+err.Error())
	}
	for _, n := range named {
		line := fmt.Sprintf("%s (%s): named again, was %s", n.Name, n.MAC, n.Had)
		if n.Err != nil {
			line = fmt.Sprintf("%s (%s): is called %s still: %v", n.Name, n.MAC, n.Had, n.Err)
		}
		if err := say(c, line); err != nil {
			return err
		}
	}
	return nil
}

// recovered says what happened to one NIC. It is an error if the NIC is neither as before nor as
// wanted.
func recovered(r apply.Recovered) (string, error) {
	name := r.NIC.MAC.String()
	if r.NIC.Name != "" {
		name = fmt.Sprintf("%s (%s)", r.NIC.Name, r.NIC.MAC)
	}
	switch {
	case r.Damaged && name == "":
		return "", errors.New("the journal is damaged, and was set aside beside itself: look at the NICs")
	case r.Damaged:
		return "", fmt.Errorf("%s: its journal is damaged, and was set aside beside itself: look at the NIC", name)
	case r.Stale:
		return name + ": an older multinicd has run since its change was cut off; the journal was set aside", nil
	case r.Err != nil:
		return "", fmt.Errorf("%s: half way still, and tried again when multinicd starts: %w", name, r.Err)
	case r.Pending:
		return name + ": files and link are as before the change; NetworkManager is told when multinicd starts", nil
	case r.Forward:
		return name + ": the change was all but done, and is in force", nil
	}
	return name + ": as before the change that was cut off", nil
}

func say(c *cli.Context, line string) error {
	_, err := fmt.Fprintln(c.App.Writer, terminal.Line(line, terminal.MaxLine))
	return err
}
