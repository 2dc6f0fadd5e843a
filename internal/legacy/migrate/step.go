package migrate

import (
	"cmp"
	"fmt"
	"slices"

	v1 "multinicd/api/v1"
	"multinicd/internal/legacy"
	"multinicd/internal/publish"
)

// Action is what Run does about a node.
type Action string

// The actions.
const (
	// Write: the object is not as its entry says. It is written, and handed over then.
	Write Action = "write"
	// Hand: the object is handed over as it is.
	Hand Action = "hand over"
	// Handed: the object is handed over, and the later owner has not taken it yet.
	Handed Action = "handed over"
	// Done: the object belongs to the later owner.
	Done Action = "done"
	// Kept: the object belongs to somebody else, and stays as it is.
	Kept Action = "kept"
	// Skipped: something is in the way. Reason and Message say what.
	Skipped Action = "skipped"
)

// Step is what is to be done about one node, or about an entry that leads to none.
type Step struct {
	// Node is "" if the entry leads to none.
	Node string
	// From is the entry, such as production[3]; "" for an object without an entry.
	From    string
	Action  Action
	Reason  publish.Reason
	Message string
	// Diff is what changes in the object, if it is written.
	Diff []string

	wish publish.Wish
	have *v1.MultiNicNodeConfig
	give bool // back by the annotation, whoever wrote the object last
}

// HandedToAnother: the object is handed over already, to somebody else.
const HandedToAnother publish.Reason = "HandedToAnother"

// ofOurs are the publishers that know what the annotation for handing over means, and take an object
// by themselves.
var ofOurs = []string{v1.PublisherIntake, v1.PublisherOpenStack}

// Steps says what Run has to do so that nothing belongs to the older object's publisher, in the
// order of the nodes' names. It is a pure function.
func Steps(w legacy.World, to string) []Step {
	var out []Step
	objects := map[string]*v1.MultiNicNodeConfig{}
	for _, o := range w.Objects {
		objects[o.Name] = o
	}
	about := map[string]int{}
	for _, e := range w.Judge() {
		s := Step{Node: e.Node, From: from(e), Reason: e.Reason, Message: e.Message, Diff: e.Diff, wish: e.Wish, have: objects[e.Node]}
		about[e.Node]++
		s.decide(e.Action, to)
		out = append(out, s)
	}
	for _, o := range w.Objects {
		if about[o.Name] > 0 {
			continue
		}
		s := Step{Node: o.Name, have: o, Message: "no entry is about the node"}
		s.decide(publish.Unchanged, to)
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(a, b Step) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

func from(e legacy.Entry) string { return fmt.Sprintf("%s[%d]", e.Old.Name, e.Index) }

// decide sets the action. does is what the publisher of the older object would do.
func (s *Step) decide(does publish.Action, to string) {
	owner, next := "", ""
	if s.have != nil {
		owner, next = s.have.Labels[v1.PublisherLabel], s.have.Annotations[v1.HandOverAnnotation]
	}
	switch {
	case s.have != nil && owner == to && next == "":
		s.Action = Done
	case s.have != nil && owner != v1.PublisherLegacy && next != v1.PublisherLegacy:
		s.Action = Kept
	case owner == v1.PublisherLegacy && next == to:
		s.Action = Handed
	case owner == v1.PublisherLegacy && next != "" && next != v1.PublisherLegacy:
		s.Action, s.Reason, s.Message = Skipped, HandedToAnother, fmt.Sprintf("the annotation %s gives the object to %q", v1.HandOverAnnotation, next)
	case does == publish.Created || does == publish.Changed:
		s.Action = Write
	case does == publish.Unchanged, s.Reason == legacy.TakenOver:
		s.Action = Hand
	default:
		s.Action = Skipped
	}
	if s.Action == Done || s.Action == Handed || s.Action == Kept {
		s.Reason, s.Message, s.Diff = "", "", nil
		if s.Action == Kept {
			s.Message = "the object belongs to somebody else"
			if owner != "" {
				s.Message = "the object belongs to " + owner
			}
		}
	}
}

// Title is the best name that a step has.
func (s Step) Title() string { return cmp.Or(s.Node, s.From) }
