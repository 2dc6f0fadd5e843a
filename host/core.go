package host

import "golang.org/x/sys/unix"

// KeepOutOfCoreDumps sees to it that no core dump of this process is made, whatever limits it was started with, and that no process but root's
// reads its memory: it holds the node's token (prctl(2), PR_SET_DUMPABLE; RLIMIT_CORE does not count where core_pattern is a pipe).
func KeepOutOfCoreDumps() {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) // the kernel refuses it for no reason that we could do anything about
}
