package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/outbox"
)

// Files keeps what must outlive the daemon. Write is atomic and durable.
type Files interface {
	Read(name string) ([]byte, fs.FileMode, error)
	Write(name string, data []byte, mode fs.FileMode) error
}

// Files in the state folder.
const (
	wishFile   = "last-known-good.json"
	reportFile = "report.json"
)

// store keeps wish and report in the state folder.
type store struct {
	files Files
	dir   string
}

func (s store) loadWish() (asked.Wish, error) {
	var w asked.Wish
	return w, s.load(wishFile, &w)
}

func (s store) saveWish(w asked.Wish) error {
	w.Object, w.Before, w.Unreleased = slim(w.Object), slim(w.Before), slim(w.Unreleased)
	return s.save(wishFile, w)
}

// slim leaves out what the cluster adds for itself: it is of no use on the node, and status would
// make the file new with each report.
func slim(obj *v1.MultiNicNodeConfig) *v1.MultiNicNodeConfig {
	if obj == nil {
		return nil
	}
	out := &v1.MultiNicNodeConfig{TypeMeta: obj.TypeMeta, Spec: obj.Spec}
	out.Name, out.Namespace, out.UID, out.Generation = obj.Name, obj.Namespace, obj.UID, obj.Generation
	return out
}

func (s store) loadReport() (outbox.Sent, error) {
	var r outbox.Sent
	return r, s.load(reportFile, &r)
}

func (s store) saveReport(r outbox.Sent) error { return s.save(reportFile, r) }

// load leaves v as it is where there is no file.
func (s store) load(name string, v any) error {
	data, _, err := s.files.Read(path.Join(s.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	return nil
}

func (s store) save(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", name, err)
	}
	if err := s.files.Write(path.Join(s.dir, name), data, 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
