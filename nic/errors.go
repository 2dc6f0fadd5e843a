package nic

import "errors"

// What the writer of links may answer, for callers that branch on it.
var (
	// ErrLinkGone: no link has the ifindex any more, or it is another NIC by now. Nothing was touched.
	ErrLinkGone = errors.New("link is gone")
	// ErrRenameBusy: the kernel does not rename a link that is up. Nothing else of the change was made.
	ErrRenameBusy = errors.New("a link that is up cannot be renamed by this kernel")
	// ErrNameTaken: another link, or an alternative name, is called so. Nothing was touched.
	ErrNameTaken = errors.New("the name is taken")
	// ErrNoManager: the host's network manager does not run. It has nothing in memory, and reads its files when it starts.
	ErrNoManager = errors.New("the network manager does not run")
	// ErrProfileRefused: NetworkManager has read a file, and takes nothing from it. What it had in memory stays.
	ErrProfileRefused = errors.New("NetworkManager refuses")
)
