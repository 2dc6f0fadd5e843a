package filestep_test

import (
	"io/fs"
	"strings"
	"testing"

	"multinicd/internal/filestep"
)

// shelf is files in one folder, and how often they were read.
type shelf struct {
	files map[string]string
	reads int
}

func (s *shelf) Read(name string) ([]byte, fs.FileMode, error) {
	s.reads++
	data, has := s.files[name]
	if !has {
		return nil, 0, fs.ErrNotExist
	}
	return []byte(data), 0o600, nil
}

func (s *shelf) Glob(string) (out []string, _ error) {
	s.reads++
	for name := range s.files {
		out = append(out, name)
	}
	return out, nil
}

func TestAMemoRemembersUntilItIsCalledAgain(t *testing.T) {
	const file, pattern, a, b = "/etc/x", "/etc/*", "A", "B"
	s := &shelf{files: map[string]string{file: a}}
	var m filestep.Memo
	want := func(when, what string, reads int) {
		t.Helper()
		s.reads = 0
		for _, word := range []string{a, b} {
			says, err := m.Says(s, file, func(data []byte) bool { return string(data) == word })
			if err != nil || says != strings.Contains(what, word) {
				t.Errorf("%s: it says %s: %v (%v)", when, word, says, err)
			}
		}
		names, err := m.Glob(s, pattern)
		if present := len(names) > 0; err != nil || present != strings.Contains(what, "file") {
			t.Errorf("%s: files %v (%v)", when, names, err)
		}
		if s.reads != reads {
			t.Errorf("%s: %d readings, want %d", when, s.reads, reads)
		}
	}
	want("it does not remember", "file A", 4)
	m.Remember(true)
	want("at first", "file A", 3) // a yes is never of a while ago
	want("again", "file A", 1)
	s.files[file] = b
	want("changed behind its back", "file", 1) // neither what it was nor, yet, what it is
	m.Remember(true)
	want("told of the change", "file B", 3)
	delete(s.files, file)
	want("gone behind its back", "file", 1)
	m.Remember(false)
	want("told of it", "", 3)
	s.files[file] = a
	want("and back", "file A", 4)
}
