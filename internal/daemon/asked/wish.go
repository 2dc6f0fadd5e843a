// Package asked is what the node is asked for: its object, and how the object is to be taken.
//
// In go the node's MultiNicNodeConfig and what else is known of it. Out come the NICs that the
// object wants, in our own words, and a Mode: whether the object counts, waits, is held back or is
// gone. What a person is told of that is worded here too.
//
// The package is pure: it reads no file and no clock, logs nothing and knows no link of the host.
// Values are replaced and never changed in place.
//
// Start reading at Wish. desired.go turns an object into NICs, rollback.go says what there is to go
// back to, and run.go what the cluster asks for once.
package asked

import (
	"fmt"
	"reflect"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "multinicd/api/v1"
)

// Wish is what is known of the node's object.
type Wish struct {
	Object *v1.MultiNicNodeConfig `json:",omitempty"` // nil: not known, or Gone
	Gone   bool                   `json:",omitempty"` // deleted, on positive evidence
	// Before is the object whose wish was in force before Object's; nil: there was none. Held: Object
	// was rolled back by hand, and Before is in force until Object changes.
	Before *v1.MultiNicNodeConfig `json:",omitempty"`
	Held   bool                   `json:",omitempty"`
	// Cleaned: the cluster asked for all NICs to be given back; so it stays until Object changes, or
	// the cluster asks for a trigger. Vetoed: it asked for that, and the node refused. Ran are the
	// uids of the runs that it asked for and that were answered, the newest last.
	Cleaned bool     `json:",omitempty"`
	Vetoed  bool     `json:",omitempty"`
	Ran     []string `json:",omitempty"`
	// Unreleased is the newest object where the rollout has not released it for this node yet; Object
	// stays in force meanwhile. Braked: there was a release to wait for when the cluster last spoke of
	// this node.
	Unreleased *v1.MultiNicNodeConfig `json:",omitempty"`
	Braked     bool                   `json:",omitempty"`
	// ReportLevel is up to where the bridge that spoke last knows what is in a report.
	ReportLevel int32 `json:",omitempty"`
	// Unread says of which generation it is known only that it cannot be read; Object stays in force
	// meanwhile. nil: Object is the newest.
	Unread *Unread `json:",omitempty"`
	// Left: everything was given back by hand, and nothing is configured before the daemon starts
	// anew.
	Left bool      `json:"-"`
	Told time.Time `json:"-"` // when Object came; zero: before the daemon started
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

// Mode says in one word how a wish is to be taken, and so what is said of the node as a whole. What
// is done with the NICs follows from the object that is in force, which several modes leave as it
// is.
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

// Object is what is known of it.
func (u Unread) Object() *v1.MultiNicNodeConfig {
	return &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{UID: u.UID, Generation: u.Generation}}
}

// InForce is the object whose wish counts.
func (w Wish) InForce() *v1.MultiNicNodeConfig {
	if w.Held && w.Before != nil {
		return w.Before
	}
	return w.Object
}

// With gives the wish after news of the object. What was in force stays known, to roll back to.
func (w Wish) With(obj *v1.MultiNicNodeConfig, gone bool) Wish {
	if was := w.InForce(); was != nil && (obj == nil || !sameNICs(was, obj) && Parse(was, was.Spec.NodeName).Refused == nil) {
		w.Before = was
	}
	w.Object, w.Gone, w.Held, w.Cleaned, w.Vetoed, w.Unread, w.Unreleased = obj, gone, false, false, false, nil, nil
	return w
}

// Waits says whether obj is to be left until the rollout releases it. A bridge that has spoken of
// this generation and named no release holds nothing back; one that has not spoken yet may be about
// to, where it held something back before.
func (w Wish) Waits(obj *v1.MultiNicNodeConfig) bool {
	if w.Object != nil && w.Object.UID == obj.UID && w.Object.Generation == obj.Generation {
		return false // it is in force already
	}
	if r := obj.Status.ReleasedGeneration; r != 0 {
		return r < obj.Generation
	}
	return w.Braked && obj.Status.ObservedGeneration < obj.Generation
}

// Same says whether news has nothing new of the object.
func (w Wish) Same(news Wish) bool {
	if w.Unread != nil || w.Gone != news.Gone || (w.Object == nil) != (news.Object == nil) {
		return false
	}
	switch {
	case w.Object == nil:
		return true
	case w.Object.UID != "" || news.Object.UID != "":
		return w.Object.UID == news.Object.UID && w.Object.Generation == news.Object.Generation
	}
	return reflect.DeepEqual(w.Object.Spec, news.Object.Spec) // from a file: nobody counts generations
}

// Generation is that of the newest object that can be read; 0: there is none, or nobody counts.
func (w Wish) Generation() int64 {
	if w.Object == nil {
		return 0
	}
	return w.Object.Generation
}

// UnreadMessage says why the newest object, which must be Unread, is not in force.
func (w Wish) UnreadMessage() string {
	return fmt.Sprintf("generation %d cannot be read: %s", w.Unread.Generation, w.Unread.Message)
}

// UnreleasedMessage says the same of one that must be Unreleased.
func (w Wish) UnreleasedMessage() string {
	return fmt.Sprintf("generation %d waits: %s", w.Unreleased.Generation, v1.WaitingForReleaseMessage)
}
