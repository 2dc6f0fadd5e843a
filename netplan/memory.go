package netplan

import (
	"encoding/json"
	"io/fs"
	"path"
)

// MemoryFile is the file of a Memory in the state folder.
const MemoryFile = "netplan-accepted.json"

// Memory remembers the shapes of our files that the real netplan has accepted. With Files it
// outlives the process: a daemon that starts again, or `multinicd apply`, does not ask netplan for
// what it has accepted before. It is only a saving. Without the file, or with one that cannot be
// read or written, or that others may write, netplan is asked again.
type Memory struct {
	Files interface {
		Read(name string) ([]byte, fs.FileMode, error)
		Write(name string, data []byte, mode fs.FileMode) error
	}
	Dir string // the state folder; nobody but root may write there

	loaded bool
	kept   remembered
}

type remembered struct {
	Beside string          `json:"beside"` // digest of the files of others, and of netplan itself
	Shapes map[string]bool `json:"shapes"` // by their digests
}

// mostShapes bounds the file. A host has two or three shapes.
const mostShapes = 64

func (m *Memory) load() {
	if m.loaded || m.Files == nil {
		return
	}
	m.loaded = true
	data, mode, err := m.Files.Read(path.Join(m.Dir, MemoryFile))
	if err != nil || mode&0o022 != 0 { // others may have written it
		return
	}
	var kept remembered
	if json.Unmarshal(data, &kept) == nil {
		m.kept = kept
	}
}

// has says whether netplan has accepted all these shapes beside the same files of others.
func (m *Memory) has(beside string, shapes []string) bool {
	m.load()
	if m.kept.Beside != beside {
		return false
	}
	for _, s := range shapes {
		if !m.kept.Shapes[digest([]string{s})] {
			return false
		}
	}
	return true
}

func (m *Memory) add(beside string, shapes []string) {
	if m.kept.Beside != beside || len(m.kept.Shapes) >= mostShapes || m.kept.Shapes == nil {
		m.kept = remembered{Beside: beside, Shapes: map[string]bool{}}
	}
	for _, s := range shapes {
		m.kept.Shapes[digest([]string{s})] = true
	}
	if m.Files == nil {
		return
	}
	if data, err := json.Marshal(m.kept); err == nil {
		_ = m.Files.Write(path.Join(m.Dir, MemoryFile), data, 0o600)
	}
}
