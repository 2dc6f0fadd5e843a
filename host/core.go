package host

import "golang.org/x/sys/unix"

// KeepOutOfCoreDumps prevents core dumps of this process, whatever limits it was started with. Only
// processes of root can then read its memory. The process holds the node's token. (PR_SET_DUMPABLE
// in prctl(2) is needed: RLIMIT_CORE does not count if core_pattern is a pipe.)
func KeepOutOfCoreDumps() {
	// the kernel refuses this only for reasons that we cannot help
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}
