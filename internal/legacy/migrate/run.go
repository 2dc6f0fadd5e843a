package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/legacy"
	"multinicd/internal/publish"
)

// Migration is one call of a command. Its methods that change anything hold the lock meanwhile.
type Migration struct {
	Client client.Client
	// To is the publisher to which the objects belong afterwards.
	To string
	// AsIs hands over also the objects whose entries are in conflict.
	AsIs bool
	// LeaveOut lets Finish go on although entries lead to no object.
	LeaveOut bool
	// Limit is how many nodes of so many may be in change at once.
	Limit func(total int) (int, error)
	// StopAfter nodes have failed, nothing more is begun; 0: never.
	StopAfter int
	// Patience is how long a node that got a new object may take to settle, before it counts as failed.
	Patience time.Duration
	// Dry changes nothing.
	Dry bool
	// Say is told what happens, from several goroutines at once. Total is how many Steps there are.
	Say func(Event)
}

// Event is something that has happened to a node; to the whole if Node is "".
type Event struct {
	Node    string
	What    string
	Message string
	// Ended says that nothing more happens to the node. Of Total nodes each ends once.
	Ended bool
	Total int
}

const (
	// atOnce is how many nodes are worked on at a time.
	atOnce = 16
	// tryAgain is how often an API server in trouble is asked anew.
	tryAgain = 8
	// lookFirst and lookEvery are the first and the longest pause between two looks at a node that is in
	// change.
	lookFirst, lookEvery = 100 * time.Millisecond, 4 * time.Second
)

// The errors that a caller may tell apart.
var (
	// ErrFinished: the migration is finished, and there is no way back.
	ErrFinished = errors.New("the migration is finished")
	// ErrLeft: some nodes are not as they are to be.
	ErrLeft = errors.New("not all is done")
	// ErrStopped: too many nodes have failed.
	ErrStopped = errors.New("stopped")
)

// CheckPublisher says whether a name can be that of a later owner.
func CheckPublisher(name string) error {
	switch wrong := validation.IsValidLabelValue(name); {
	case name == "":
		return errors.New("name the publisher to which the objects shall belong")
	case name == v1.PublisherLegacy:
		return fmt.Errorf("%s is the publisher of the older object itself", name)
	case len(wrong) > 0:
		return fmt.Errorf("%q cannot be the name of a publisher: %s", name, wrong[0])
	}
	return nil
}

// say tells of an event.
func (m *Migration) say(e Event) {
	if m.Say != nil {
		m.Say(e)
	}
}

// locked does something under the lock, unless the migration is finished.
func (m *Migration) locked(ctx context.Context, do func(context.Context, *lock) error) error {
	l, err := take(ctx, m.Client, func(words string) { m.say(Event{What: "waiting", Message: words}) })
	if err != nil {
		return err
	}
	return l.hold(ctx, func(ctx context.Context) error { return do(ctx, l) })
}

func finished(l *lock) error {
	if at := l.lease.Annotations[finishedAnnotation]; at != "" {
		return fmt.Errorf("%w since %s", ErrFinished, at)
	}
	return nil
}

// look is Look, begun anew where a list has become too old to go on with.
func (m *Migration) look(ctx context.Context) (w legacy.World, err error) {
	for range tryAgain {
		if w, _, err = Look(ctx, m.Client); !apierrors.IsResourceExpired(err) {
			break
		}
	}
	return w, err
}

// again does something anew until it is done, or refused, or was tried often enough.
func again(ctx context.Context, do func() error) error {
	for n := 1; ; n++ {
		err := do()
		if err == nil || n == tryAgain || ctx.Err() != nil || final(err) {
			return err
		}
		if pause(ctx, time.Duration(n)*100*time.Millisecond) != nil {
			return err
		}
	}
}

// final says that the same request would get the same answer.
func final(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsInvalid(err) || apierrors.IsResourceExpired(err) || meta.IsNoMatchError(err)
}

// Run hands the objects over. It may be broken off anywhere and begun anew. ErrLeft names what is
// left: nodes that were skipped, and those that did not settle.
func (m *Migration) Run(ctx context.Context) ([]Outcome, error) {
	if m.Dry {
		w, err := m.look(ctx)
		if err != nil {
			return nil, err
		}
		return planned(m.steps(w)), nil
	}
	var out []Outcome
	err := m.locked(ctx, func(ctx context.Context, l *lock) error {
		if err := finished(l); err != nil {
			return err
		}
		var err error
		out, err = m.run(ctx)
		return err
	})
	return out, err
}

func (m *Migration) steps(w legacy.World) []Step {
	steps := Steps(w, m.To)
	for i := range steps {
		if s := &steps[i]; m.AsIs && s.Action == Skipped && s.have != nil && s.Reason != HandedToAnother {
			s.Action = Hand
		}
	}
	return steps
}

// Outcome is what became of a node.
type Outcome struct {
	Node   string `json:"node"`
	From   string `json:"from,omitempty"`
	Action Action `json:"action"`
	// Reason and Message say why the node was skipped, or what is wrong with it.
	Reason  string   `json:"reason,omitempty"`
	Message string   `json:"message,omitempty"`
	Diff    []string `json:"diff,omitempty"`
	// Left says that somebody has to see to it.
	Left bool `json:"left,omitempty"`
}

func planned(steps []Step) []Outcome {
	out := []Outcome{}
	for _, s := range steps {
		out = append(out, outcome(s))
	}
	return out
}

func outcome(s Step) Outcome {
	return Outcome{Node: s.Node, From: s.From, Action: s.Action, Reason: string(s.Reason), Message: s.Message, Diff: s.Diff, Left: s.Action == Skipped}
}

// run looks and does what there is to do, until a look finds nothing more that could be done.
func (m *Migration) run(ctx context.Context) ([]Outcome, error) {
	var ended Outcomes
	for round := 1; ; round++ {
		w, err := m.look(ctx)
		if err != nil {
			return ended.list(), err
		}
		steps := m.steps(w)
		limit, err := m.Limit(len(w.Objects) + count(steps, Write))
		if err != nil {
			return ended.list(), err
		}
		r := &walk{Migration: m, world: w, ended: &ended, slots: make(chan struct{}, limit), total: len(steps)}
		more := r.all(ctx, steps)
		if err := context.Cause(ctx); err != nil {
			return ended.list(), fmt.Errorf("broken off; what is done stays done, and the same command goes on from here: %w", err)
		}
		if r.failed.Load() >= int64(m.StopAfter) && m.StopAfter > 0 {
			return ended.list(), fmt.Errorf("%w: %d nodes failed after their objects had changed; see to them, and run the command again", ErrStopped, r.failed.Load())
		}
		if !more || round == tryAgain {
			return ended.list(), ended.left()
		}
		if err := pause(ctx, time.Duration(round)*200*time.Millisecond); err != nil {
			return ended.list(), err
		}
	}
}

func count(steps []Step, a Action) int {
	n := 0
	for _, s := range steps {
		if s.Action == a {
			n++
		}
	}
	return n
}

// hand hands an object over: to a publisher of ours by the annotation, which that takes off when it
// takes the object; to any other one at once. The object must be as it was read.
func (m *Migration) hand(ctx context.Context, o *v1.MultiNicNodeConfig) error {
	meta := map[string]any{"annotations": map[string]any{v1.MigratedAnnotation: v1.PublisherLegacy, v1.HandOverAnnotation: m.To}}
	if !slices.Contains(ofOurs, m.To) {
		meta["annotations"] = map[string]any{v1.MigratedAnnotation: v1.PublisherLegacy, v1.HandOverAnnotation: nil}
		meta["labels"] = map[string]any{v1.PublisherLabel: m.To}
		// Otherwise a server-side apply of the new owner would be in conflict with us.
		var others []any
		for _, f := range o.ManagedFields {
			if f.Manager != v1.PublisherLegacy {
				others = append(others, f)
			}
		}
		switch {
		case len(others) == len(o.ManagedFields):
		case len(others) == 0:
			meta["managedFields"] = []any{map[string]any{}} // nobody's; an empty list would say nothing
		default:
			meta["managedFields"] = others
		}
	}
	return m.patch(ctx, o, meta)
}

// fieldOwner is who hands over, in managedFields.
const fieldOwner = "multinic-migrate"

// patch changes the metadata of an object, if the object is as it was read.
func (m *Migration) patch(ctx context.Context, o *v1.MultiNicNodeConfig, meta map[string]any) error {
	meta["uid"], meta["resourceVersion"] = o.UID, o.ResourceVersion
	body, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil {
		return err
	}
	to := &v1.MultiNicNodeConfig{}
	to.Name, to.Namespace = o.Name, o.Namespace
	if err := m.Client.Patch(ctx, to, client.RawPatch(types.MergePatchType, body), client.FieldOwner(fieldOwner)); err != nil {
		return fmt.Errorf("changing the labels of the object: %w", err)
	}
	return nil
}

// Outcomes collects what became of nodes, the last of each.
type Outcomes struct {
	mu  sync.Mutex
	all map[string]Outcome
}

func (o *Outcomes) put(x Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = map[string]Outcome{}
	}
	o.all[x.Node+"\x00"+x.From] = x
}

func (o *Outcomes) list() []Outcome {
	out := []Outcome{}
	for _, x := range o.all {
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Outcome) int { return strings.Compare(a.Node+"\x00"+a.From, b.Node+"\x00"+b.From) })
	return out
}

func (o *Outcomes) left() error {
	n := 0
	for _, x := range o.all {
		if x.Left {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d of %d are left, see above", ErrLeft, n, len(o.all))
}

// directory is what the writer asks for the Nodes.
func directory(w legacy.World) func(context.Context) (*publish.Directory, error) {
	return func(context.Context) (*publish.Directory, error) { return publish.NewDirectory(w.Machines), nil }
}
