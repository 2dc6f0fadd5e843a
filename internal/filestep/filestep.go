// Package filestep makes the steps by which our files come and go, and finds the files that we have
// written. Every dialect does both in the same way.
//
// In go the Files of the host, and what a file is to be. Out come []plan.Step, each with its undo.
//
// The package writes nothing itself. It does not know where the files of a dialect are, nor what is
// in them.
//
// Start reading at Replace.
package filestep

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"multinicd/nic"
	"multinicd/plan"
)

// Files reads files of the host. Read passes fs.ErrNotExist through.
type Files interface {
	Read(name string) ([]byte, fs.FileMode, error)
	Glob(pattern string) ([]string, error)
}

// Folder is a folder that a dialect writes into.
type Folder struct {
	Dir   string // absolute
	Names string // how the names of our files in Dir begin, by the rules of path.Match; names of others may begin so too
	// Secret: nobody but root may read what we write there.
	Secret bool
}

// Mark starts every file that we write.
const Mark = "# " + nic.Mark + ":"

// Replace gives one step, named step, after which the file is as wanted. It gives no step if the
// file is so already. With nil data the file is to be absent. An error means that the file could
// not be read.
func Replace(f Files, step plan.StepKind, file string, data []byte, mode fs.FileMode) ([]plan.Step, error) {
	before := plan.File{Path: file}
	old, oldMode, err := f.Read(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		before.Absent = true
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", file, err)
	default:
		before.Data, before.Mode = old, oldMode
	}
	after := plan.File{Path: file, Data: data, Mode: mode}
	if data == nil {
		after = plan.File{Path: file, Absent: true}
	}
	if before.Absent && after.Absent || !before.Absent && !after.Absent && bytes.Equal(old, data) && oldMode == mode {
		return nil, nil
	}
	return []plan.Step{{Kind: step, Do: plan.Op{File: &after}, Undo: plan.Op{File: &before}}}, nil
}

// EachMarked calls read for each file of ours that matches a pattern of path.Match. A file is ours
// if owned says so by its name, and Mark is at its beginning. The error names every file that could
// not be read, and every file for which read failed; all others are read all the same.
func EachMarked(f Files, pattern string, owned func(file string) bool, read func(file string, data []byte) error) error {
	names, err := f.Glob(pattern)
	if err != nil {
		return fmt.Errorf("listing %s: %w", pattern, err)
	}
	var errs []error
	for _, name := range names {
		if !owned(name) {
			continue
		}
		data, _, err := f.Read(name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.HasPrefix(data, []byte(Mark)) {
			continue // gone, or somebody else's file under a name of ours
		}
		if err == nil {
			err = read(name, data)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("reading %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
