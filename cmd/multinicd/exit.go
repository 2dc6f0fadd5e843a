package main

import (
	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/daemon"
)

// Exit codes; of several the gravest that applies, in this order: 4, 3, 1, 6, 5, 0.
const (
	exitDone           = 0
	exitFailed         = 1 // failed before any change
	exitUsage          = 2
	exitRolledBack     = 3
	exitRollbackFailed = 4
	exitWaiting        = 5 // some NICs wait, the others are done
	exitRefused        = 6 // some NICs were refused, the others are done
	exitLocked         = 7
)

// exitError carries an exit code; err may be nil where all has been said.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

// exitCode is the gravest that applies to a status.
func exitCode(s daemon.Status) int {
	grave := []int{exitRollbackFailed, exitRolledBack, exitFailed, exitRefused, exitWaiting}
	found := map[int]bool{}
	for _, n := range s.NICs {
		switch n.Outcome {
		case apply.RollbackFailed:
			found[exitRollbackFailed] = true
		case apply.RolledBack:
			found[exitRolledBack] = true
		case apply.Failed:
			found[exitFailed] = true
		case apply.Refused:
			found[exitRefused] = true
		case apply.Waiting:
			found[exitWaiting] = true
		}
		if n.Status == v1.StatePending {
			found[exitWaiting] = true
		}
	}
	for _, code := range grave {
		if found[code] {
			return code
		}
	}
	switch s.State {
	case string(v1.StateFailed): // the whole object was refused
		return exitRefused
	case string(v1.StatePending): // the whole object waits for its release
		return exitWaiting
	case string(v1.StateConfigured), string(v1.PhaseRemoved):
		return exitDone
	}
	return exitFailed
}
