package product

import (
	"context"
	"os"
	"path/filepath"
)

// Folder is a credential folder on this machine (kube.Store), for a client of the product that runs in this process. It locks nothing and
// syncs nothing: one process writes it, and it is gone at the end.
type Folder string

// Lock takes no lock.
func (f Folder) Lock(context.Context) (release func(), err error) { return func() {}, nil }

// Write writes a file of the folder, which only its owner may read.
func (f Folder) Write(name string, data []byte) error {
	return os.WriteFile(filepath.Join(string(f), name), data, 0o600)
}

// Remove removes a file of the folder.
func (f Folder) Remove(name string) error { return os.Remove(filepath.Join(string(f), name)) }
