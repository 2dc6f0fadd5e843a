package main

import (
	v1 "multinicd/api/v1"
)

// Exit codes, as api/v1 has them for runs too. If several apply, the gravest counts, in this order:
// 4, 3, 1, 6, 5, 0.
const (
	exitDone           = v1.ExitDone
	exitFailed         = v1.ExitFailed
	exitUsage          = v1.ExitUsage
	exitRolledBack     = v1.ExitRolledBack
	exitRollbackFailed = v1.ExitRollbackFailed
	exitWaiting        = v1.ExitWaiting
	exitRefused        = v1.ExitRefused
	exitLocked         = v1.ExitLocked
)

// exitError carries an exit code. err is nil if all has been said.
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
