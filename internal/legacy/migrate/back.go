package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/legacy"
	"multinicd/internal/publish"
)

// GiveBack: the object goes back to the older object's publisher.
const GiveBack Action = "give back"

// ChangesNICs: given back, the node's NICs would become what the older object says.
const ChangesNICs publish.Reason = "ChangesNICs"

// Back says for each object that was handed over whether it can be given back so that no NIC
// changes. It is a pure function. An object that its later owner has changed goes back as it is: the
// older object's status then says TakenOver.
func Back(w legacy.World) []Step {
	out := []Step{}
	// What the older object's publisher would do if it had the objects, and if they were given to it
	// whoever wrote them last.
	plain, given := returned(w, false), returned(w, true)
	for _, o := range w.Objects {
		if !migrated(o) {
			continue
		}
		s := Step{Node: o.Name, Action: GiveBack, have: o}
		e, is := plain[o.Name]
		if is {
			s.From = from(e)
		}
		switch {
		case is && rewritten(e, o):
			s.Action, s.Reason, s.Diff = Skipped, ChangesNICs, e.Diff
			s.Message = "the older object would change the node: " + strings.Join(e.Diff, "; ")
		case is && e.Reason == legacy.TakenOver:
			g := given[o.Name]
			s.give = g.Action != publish.Refused && !rewritten(g, o)
		}
		out = append(out, s)
	}
	return out
}

// rewritten says that an entry would change the spec of an object.
func rewritten(e legacy.Entry, o *v1.MultiNicNodeConfig) bool {
	return e.Action == publish.Changed && !equality.Semantic.DeepEqual(e.Object.Spec, o.Spec)
}

// migrated says that Run has handed an object over.
func migrated(o *v1.MultiNicNodeConfig) bool {
	return o.Annotations[v1.MigratedAnnotation] == v1.PublisherLegacy
}

// returned is what becomes of entries, by node, once objects belong to the older object's publisher.
func returned(w legacy.World, give bool) map[string]legacy.Entry {
	back := w
	back.Objects = nil
	for _, o := range w.Objects {
		if migrated(o) {
			o = o.DeepCopy()
			metav1.SetMetaDataLabel(&o.ObjectMeta, v1.PublisherLabel, v1.PublisherLegacy)
			delete(o.Annotations, v1.HandOverAnnotation)
			if give {
				metav1.SetMetaDataAnnotation(&o.ObjectMeta, v1.HandOverAnnotation, v1.PublisherLegacy)
			}
		}
		back.Objects = append(back.Objects, o)
	}
	does := map[string]legacy.Entry{}
	for _, e := range back.Judge() {
		does[e.Node] = e
	}
	return does
}

// Rollback gives back what Run has handed over. It may be broken off anywhere and begun anew.
func (m *Migration) Rollback(ctx context.Context) ([]Outcome, error) {
	if m.Dry {
		w, err := m.look(ctx)
		if err != nil {
			return nil, err
		}
		return planned(Back(w)), nil
	}
	var ended Outcomes
	err := m.locked(ctx, func(ctx context.Context, l *lock) error {
		if err := finished(l); err != nil {
			return err
		}
		return m.each(ctx, &ended, Back, func(s Step) error {
			if s.Action == Skipped {
				return nil
			}
			annotations := map[string]any{v1.MigratedAnnotation: nil, v1.HandOverAnnotation: nil}
			if s.give {
				annotations[v1.HandOverAnnotation] = v1.PublisherLegacy
			}
			return m.patch(ctx, s.have, map[string]any{"labels": map[string]any{v1.PublisherLabel: v1.PublisherLegacy}, "annotations": annotations})
		})
	})
	return ended.list(), err
}

// each does the steps of a look, several at once, and looks again until all are done.
func (m *Migration) each(ctx context.Context, ended *Outcomes, steps func(legacy.World) []Step, do func(Step) error) error {
	var unsure []Outcome // the API server gave no answer, and may have done it all the same
	for round := 1; ; round++ {
		w, err := m.look(ctx)
		if err != nil {
			return err
		}
		var mu sync.Mutex
		var wait sync.WaitGroup
		free := make(chan struct{}, atOnce)
		all := steps(w)
		for _, o := range unsure {
			if !slices.ContainsFunc(all, func(s Step) bool { return s.Node == o.Node }) { // it is done
				o.Left, o.Reason, o.Message = false, "", ""
				ended.put(o)
			}
		}
		unsure = nil
		for _, s := range all {
			if ctx.Err() != nil {
				break
			}
			free <- struct{}{}
			wait.Go(func() {
				defer func() { <-free }()
				o := outcome(s)
				err := do(s)
				if err != nil {
					o.Left, o.Reason, o.Message = true, string(publish.NotWritten), err.Error()
				}
				ended.put(o)
				if err == nil || apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
					m.say(Event{Node: s.Title(), What: string(s.Action), Message: said(o), Ended: true, Total: len(all)})
					return
				}
				mu.Lock()
				defer mu.Unlock()
				unsure = append(unsure, o)
			})
		}
		wait.Wait()
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("broken off; what is done stays done, and the same command goes on from here: %w", err)
		}
		if len(unsure) == 0 || round == tryAgain {
			return ended.left()
		}
		if err := pause(ctx, time.Duration(round)*200*time.Millisecond); err != nil {
			return err
		}
	}
}

// Depends says what still depends on the older object, a sentence each. It is a pure function.
// writable says that the API server takes changes of older objects.
func Depends(w legacy.World, writable, leaveOut bool) []string {
	var out []string
	objects := map[string]*v1.MultiNicNodeConfig{}
	for _, o := range w.Objects {
		objects[o.Name] = o
		if o.Labels[v1.PublisherLabel] != v1.PublisherLegacy {
			continue
		}
		if next := o.Annotations[v1.HandOverAnnotation]; next != "" && next != v1.PublisherLegacy {
			out = append(out, fmt.Sprintf("%s: %s has not taken the object yet; it does so with its next list", o.Name, next))
			continue
		}
		out = append(out, fmt.Sprintf("%s: the object belongs to the older object; migrate run hands it over", o.Name))
	}
	for _, e := range w.Judge() {
		if objects[e.Node] != nil || leaveOut {
			continue
		}
		why := "migrate run writes it"
		if e.Action == publish.Refused {
			why = string(e.Reason) + ": " + e.Message
		}
		out = append(out, fmt.Sprintf("%s: the entry has no object of a node (%s)", from(e), why))
	}
	if writable && len(w.Old) > 0 {
		out = append(out, "the older object can still be changed, and nobody would follow: set legacyMode=readonly first, or delete the older object")
	}
	return out
}

// Finish ends the migration: there is no way back from here. It refuses while anything still depends
// on the older object; the sentences say what.
func (m *Migration) Finish(ctx context.Context) ([]string, error) {
	var depends []string
	check := func(ctx context.Context) error {
		w, err := m.look(ctx)
		if err != nil {
			return err
		}
		writable := false
		if len(w.Old) > 0 {
			if writable, err = Writable(ctx, m.Client, w.Old[0]); err != nil {
				return err
			}
		}
		if depends = Depends(w, writable, m.LeaveOut); len(depends) > 0 {
			return fmt.Errorf("%w: something still depends on the older object, see above", ErrLeft)
		}
		return nil
	}
	if m.Dry {
		err := check(ctx)
		return depends, err
	}
	var ended Outcomes
	err := m.locked(ctx, func(ctx context.Context, l *lock) error {
		if l.lease.Annotations[finishedAnnotation] == "" {
			if err := check(ctx); err != nil {
				return err
			}
			if err := l.finish(ctx); err != nil {
				return err
			}
		}
		return m.each(ctx, &ended, marked, func(s Step) error {
			return m.patch(ctx, s.have, map[string]any{"annotations": map[string]any{v1.MigratedAnnotation: nil}})
		})
	})
	return depends, err
}

// Forget: the mark of the migration goes from the object.
const Forget Action = "forget"

func marked(w legacy.World) []Step {
	var out []Step
	for _, o := range w.Objects {
		if o.Annotations[v1.MigratedAnnotation] != "" {
			out = append(out, Step{Node: o.Name, Action: Forget, have: o})
		}
	}
	return out
}

// finish notes in the Lease that there is no way back.
func (l *lock) finish(ctx context.Context) error {
	return again(ctx, func() error {
		have, err := readLease(ctx, l.c)
		if err != nil {
			return err
		}
		if have == nil {
			return fmt.Errorf("noting that the migration is finished: %w", errLost)
		}
		metav1.SetMetaDataAnnotation(&have.ObjectMeta, finishedAnnotation, time.Now().UTC().Format(time.RFC3339))
		if err := l.c.Update(ctx, have); err != nil {
			return fmt.Errorf("noting that the migration is finished: %w", err)
		}
		return nil
	})
}

// Writable says whether the API server takes a change of the spec of an older object. Nothing is
// changed.
func Writable(ctx context.Context, c client.Client, old *v1.MultiNicBizConfig) (bool, error) {
	o := unstructuredOf(old)
	err := again(ctx, func() error {
		body := []byte(`{"spec":{"specHash":"probe-of-multinic-legacy-readonly"}}`)
		return c.Patch(ctx, o, client.RawPatch("application/merge-patch+json", body), client.DryRunAll, client.FieldOwner(fieldOwner))
	})
	switch {
	case err == nil:
		return true, nil
	case (apierrors.IsInvalid(err) || apierrors.IsForbidden(err)) && strings.Contains(err.Error(), readOnlyPolicy):
		return false, nil
	case apierrors.IsNotFound(err):
		return false, nil // it is gone
	}
	return false, fmt.Errorf("trying whether the older object can be changed: %w", err)
}

// readOnlyPolicy is the admission policy of deploy/legacy-readonly.yaml, which the API server's
// refusal names.
const readOnlyPolicy = "multinic-legacy-readonly"
