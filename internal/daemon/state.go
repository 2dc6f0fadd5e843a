package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "multinicd/api/v1"
)

// Files keeps what must outlive the daemon. Write is atomic and durable.
type Files interface {
	Read(name string) ([]byte, fs.FileMode, error)
	Write(name string, data []byte, mode fs.FileMode) error
}

// Wish is what is known of the node's object.
type Wish struct {
	Object *v1.MultiNicNodeConfig `json:",omitempty"` // nil: not known, or Gone
	Gone   bool                   `json:",omitempty"` // deleted, on positive evidence
	// Before is the object whose wish was in force before Object's; nil: there was none. Held: Object was rolled back by hand, and Before
	// is in force until Object changes.
	Before *v1.MultiNicNodeConfig `json:",omitempty"`
	Held   bool                   `json:",omitempty"`
	// Cleaned: the cluster asked for all NICs to be given back; so it stays until Object changes, or the cluster asks for a trigger. Ran are the
	// uids of the runs that it asked for and that were done, the newest last.
	Cleaned bool     `json:",omitempty"`
	Ran     []string `json:",omitempty"`
	// Unreleased is the newest object where the rollout has not released it for this node yet; Object stays in force meanwhile. Braked: there was
	// a release to wait for when the cluster last spoke of this node.
	Unreleased *v1.MultiNicNodeConfig `json:",omitempty"`
	Braked     bool                   `json:",omitempty"`
	// ReportLevel is up to where the bridge that spoke last knows what is in a report.
	ReportLevel int32 `json:",omitempty"`
	// Unread says of which generation it is known only that it cannot be read; Object stays in force meanwhile. nil: Object is the newest.
	Unread *Unread `json:",omitempty"`
	// Left: everything was given back by hand, and nothing is configured before the daemon starts anew.
	Left bool      `json:"-"`
	told time.Time // when Object came; zero: before the daemon started
	// Of the source, not of the object:
	Err     error     `json:"-"` // why the source could not be asked last time
	Contact time.Time `json:"-"` // when it last answered; zero: never in this run
	Idle    string    `json:"-"` // why there is no source to be asked; empty: there is one
}

// Unread is an object of which no more can be read.
type Unread struct {
	UID        types.UID
	Generation int64
	Message    string // names the field
}

// Mode says in one word how a wish is to be taken, and so what is said of the node as a whole. What is done with the NICs follows from the object
// that is in force, which several modes leave as it is.
type Mode int

// The modes of a wish, in the order in which they count: the first that holds is the one.
const (
	ModeLeft       Mode = iota // everything was given back by hand, whatever the object is
	ModeUnreleased             // the newest object waits for its release
	ModeUnread                 // the newest object cannot be read
	ModeUnknown                // nothing is known of the object
	ModeHeld                   // the object was rolled back by hand
	ModeCleaned                // the cluster asked for all NICs to be given back
	ModeGone                   // the object was deleted
	ModeObject                 // the object is as it should be, and counts
)

// Mode gives the wish's mode.
func (w Wish) Mode() Mode {
	switch {
	case w.Left:
		return ModeLeft
	case w.Unreleased != nil:
		return ModeUnreleased
	case w.Unread != nil:
		return ModeUnread
	case w.Object == nil && !w.Gone:
		return ModeUnknown
	case w.Held:
		return ModeHeld
	case w.Cleaned:
		return ModeCleaned
	case w.Gone:
		return ModeGone
	}
	return ModeObject
}

// object is what is known of it.
func (u Unread) object() *v1.MultiNicNodeConfig {
	return &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{UID: u.UID, Generation: u.Generation}}
}

// InForce is the object whose wish counts.
func (w Wish) InForce() *v1.MultiNicNodeConfig {
	if w.Held && w.Before != nil {
		return w.Before
	}
	return w.Object
}

// with gives the wish after news of the object. What was in force stays known, to roll back to.
func (w Wish) with(obj *v1.MultiNicNodeConfig, gone bool) Wish {
	if was := w.InForce(); was != nil && (obj == nil || !sameNICs(was, obj) && Parse(was, was.Spec.NodeName).Refused == nil) {
		w.Before = was
	}
	w.Object, w.Gone, w.Held, w.Cleaned, w.Unread, w.Unreleased = obj, gone, false, false, nil, nil
	return w
}

// waits says whether obj is to be left until the rollout releases it. A bridge that has spoken of this generation and named no release holds
// nothing back; one that has not spoken yet may be about to, where it held something back before.
func (w Wish) waits(obj *v1.MultiNicNodeConfig) bool {
	if w.Object != nil && w.Object.UID == obj.UID && w.Object.Generation == obj.Generation {
		return false // it is in force already
	}
	if r := obj.Status.ReleasedGeneration; r != 0 {
		return r < obj.Generation
	}
	return w.Braked && obj.Status.ObservedGeneration < obj.Generation
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

// sent is the report as it is kept, and whether the API server has it.
type sent struct {
	Report    v1.Report
	Delivered bool
}

func (s store) loadWish() (Wish, error) {
	var w Wish
	return w, s.load(wishFile, &w)
}

func (s store) saveWish(w Wish) error {
	w.Object, w.Before, w.Unreleased = slim(w.Object), slim(w.Before), slim(w.Unreleased)
	return s.save(wishFile, w)
}

// slim leaves out what the cluster adds for itself: it is of no use on the node, and status would make the file new with each report.
func slim(obj *v1.MultiNicNodeConfig) *v1.MultiNicNodeConfig {
	if obj == nil {
		return nil
	}
	out := &v1.MultiNicNodeConfig{TypeMeta: obj.TypeMeta, Spec: obj.Spec}
	out.Name, out.Namespace, out.UID, out.Generation = obj.Name, obj.Namespace, obj.UID, obj.Generation
	return out
}

func (s store) loadReport() (sent, error) {
	var r sent
	return r, s.load(reportFile, &r)
}

func (s store) saveReport(r sent) error { return s.save(reportFile, r) }

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
