package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"multinicd/internal/apply"
)

// recoverCommand undoes what a crash or a power cut has cut off, without bus or API: before NetworkManager starts there is no bus that it could be asked over.
func recoverCommand(c *cli.Context) error {
	if c.Args().Present() {
		return exitError{exitUsage, fmt.Errorf("recover takes no arguments, got %q", c.Args().First())}
	}
	w, err := wireHost(c)
	if err != nil {
		return err
	}
	defer w.close()
	if found, err := w.host.Glob(filepath.Join(w.cfg.State.Dir, "journal")); err == nil && len(found) == 0 {
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
	machine := &machine{host: w.host, deny: w.cfg.Links.DenyNames, kinds: w.cfg.Links.VirtualKinds}
	a := apply.Applier{Links: machine, Files: w.host, Log: w.log, Dir: w.cfg.State.Dir, Boot: boot}
	r, err := a.Recover(c.Context)
	switch {
	case err != nil:
		return exitError{exitRollbackFailed, fmt.Errorf("undoing what was cut off: %w", err)}
	case r == nil:
		return say(c, "nothing was cut off")
	case r.Damaged:
		return exitError{exitRollbackFailed, errors.New("the journal is damaged, and was set aside beside itself: look at the NICs")}
	case r.Pending:
		return say(c, fmt.Sprintf("%s (%s): files and link are as before the change; NetworkManager is told when multinicd starts", r.NIC.Name, r.NIC.MAC))
	case r.Forward:
		return say(c, fmt.Sprintf("%s (%s): the change was all but done, and is in force", r.NIC.Name, r.NIC.MAC))
	}
	return say(c, fmt.Sprintf("%s (%s): as before the change that was cut off", r.NIC.Name, r.NIC.MAC))
}

func say(c *cli.Context, line string) error {
	_, err := fmt.Fprintln(c.App.Writer, line)
	return err
}
