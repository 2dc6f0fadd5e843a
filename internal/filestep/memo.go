package filestep

import (
	"errors"
	"io/fs"
)

// Memo looks through files of ours that may name a NIC. Each NIC asks the files of all others. While
// it remembers, what it has read once it does not read again: 64 NICs would read 200 files each. The
// zero Memo remembers nothing. One goroutine uses it at a time.
type Memo struct {
	on    bool
	data  map[string][]byte
	names map[string][]string
}

// Remember has it forget what it has read, and remember from now on, or not.
func (m *Memo) Remember(yes bool) {
	*m = Memo{on: yes}
	if yes {
		m.data, m.names = map[string][]byte{}, map[string][]string{}
	}
}

// Glob gives the paths that match, as Files has them, or had them.
func (m *Memo) Glob(f Files, pattern string) ([]string, error) {
	if names, has := m.names[pattern]; has {
		return names, nil
	}
	names, err := f.Glob(pattern)
	if err == nil && m.on {
		m.names[pattern] = names
	}
	return names, err
}

// read gives a file as it is, or was. It passes fs.ErrNotExist through.
func (m *Memo) read(f Files, name string) ([]byte, error) {
	if data, has := m.data[name]; has {
		return data, nil
	}
	data, _, err := f.Read(name)
	if err == nil && m.on {
		m.data[name] = data
	}
	return data, err
}

// Says tells whether a file says something. No answer is yes because of what the file said a while
// ago: somebody may have changed it. A file that is not there says nothing.
func (m *Memo) Says(f Files, name string, it func(data []byte) bool) (bool, error) {
	data, err := m.read(f, name)
	if err == nil && it(data) {
		data, _, err = f.Read(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && it(data), err
}
