package nic

import "errors"

// Answers of the writer of links on which callers branch.
var (
	// ErrLinkGone: no link has the ifindex any more, or the link is another NIC by now. Nothing was
	// touched.
	ErrLinkGone = errors.New("link is gone")
	// ErrRenameBusy: this kernel does not rename a link that is up. Nothing else of the change was
	// made.
	ErrRenameBusy = errors.New("a link that is up cannot be renamed by this kernel")
	// ErrNameTaken: another link has the name, as its name or as an alternative name. Nothing was
	// touched.
	ErrNameTaken = errors.New("the name is taken")
	// ErrNoManager: the host's network manager does not run. It holds nothing in memory, and reads
	// its files when it starts.
	ErrNoManager = errors.New("the network manager does not run")
	// ErrProfileRefused: NetworkManager has read a file, and takes nothing from it. NetworkManager
	// keeps what it had in memory.
	ErrProfileRefused = errors.New("NetworkManager refuses")
	// ErrAnotherProfile: somebody has brought another profile in force on a link since a change of
	// it was planned. Nothing was touched.
	ErrAnotherProfile = errors.New("another profile was brought in force meanwhile")
)
