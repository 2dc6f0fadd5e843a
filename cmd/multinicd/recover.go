package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"multinicd/internal/apply"
	"multinicd/internal/node"
)

// recoverCommand undoes what a crash or a power cut has cut off. It needs neither bus nor API: it
// runs before NetworkManager, when nobody could be asked over the bus.
func recoverCommand(c *cli.Context) error {
	if c.Args().Present() {
		return exitError{exitUsage, fmt.Errorf("recover takes no arguments, got %q", c.Args().First())}
	}
	w, err := wireHost(c)
	if err != nil {
		return err
	}
	defer w.close()
	if found, err := w.host.Glob(filepath.Join(w.cfg.State.Dir, "journal*")); err == nil && len(found) == 0 {
		return say(c, "nothing was cut off")
	}
	release, err := w.lock(c.Context, 0)
	if err != nil {
		return err
	}
	defer release()
	boot, err := w.host.BootID()
	if err != nil {
		return exitError{exitFailed, err}
	}
	machine := &node.Machine{Host: w.host, Kernel: w.kernel, Survey: w.survey, Deny: w.cfg.Links.DenyNames, Kinds: w.cfg.Links.VirtualKinds}
	a := apply.Applier{Links: machine, Files: w.host, Log: w.log, Dir: w.cfg.State.Dir, Boot: boot}
	found, err := a.Recover(c.Context)
	if err != nil {
		return exitError{exitRollbackFailed, fmt.Errorf("undoing what was cut off: %w", err)}
	}
	if len(found) == 0 {
		return say(c, "nothing was cut off")
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
	_, err := fmt.Fprintln(c.App.Writer, line)
	return err
}
