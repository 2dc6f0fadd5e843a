package migrate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/legacy"
	"multinicd/internal/publish"
)

// walk is one walk over the steps of one look.
type walk struct {
	*Migration
	world  legacy.World
	ended  *Outcomes
	slots  chan struct{} // of nodes that may be in change
	total  int
	failed atomic.Int64 // nodes that were written and did not settle well
	more   atomic.Bool  // there is something to look at again
	begun  sync.WaitGroup
}

// all works on the steps, several at once, and returns when every node that was written has settled
// or was given up. It says whether another look is needed.
func (r *walk) all(ctx context.Context, steps []Step) bool {
	var wait sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for _, s := range steps {
		if ctx.Err() != nil || r.stopped() {
			break
		}
		if s.Action == Write {
			select {
			case r.slots <- struct{}{}:
			case <-ctx.Done():
			}
			if ctx.Err() != nil || r.stopped() {
				break
			}
		}
		free <- struct{}{}
		wait.Go(func() {
			defer func() { <-free }()
			r.one(ctx, s)
		})
	}
	wait.Wait()
	r.begun.Wait()
	return r.more.Load()
}

func (r *walk) stopped() bool {
	return r.StopAfter > 0 && r.failed.Load() >= int64(r.StopAfter)
}

// one does one step.
func (r *walk) one(ctx context.Context, s Step) {
	o := outcome(s)
	switch s.Action {
	case Hand:
		r.done(o, r.hand(ctx, s.have))
		return
	case Write:
		r.write(ctx, s, o)
		return
	}
	r.end(o)
}

// done ends a node that was handed over, or leaves it to the next look.
func (r *walk) done(o Outcome, err error) {
	switch {
	case err == nil:
		o.Action, o.Reason, o.Message = Handed, "", ""
	case apierrors.IsForbidden(err) || apierrors.IsInvalid(err):
		o.Left, o.Reason, o.Message = true, string(publish.NotWritten), err.Error()
	default:
		r.more.Store(true)
		o.Left, o.Reason, o.Message = true, string(publish.NotWritten), err.Error()
		r.ended.put(o) // if nobody comes to it again
		return
	}
	r.end(o)
}

func (r *walk) end(o Outcome) {
	r.ended.put(o)
	r.say(Event{Node: Step{Node: o.Node, From: o.From}.Title(), What: string(o.Action), Message: said(o), Ended: true, Total: r.total})
}

func said(o Outcome) string {
	if o.Reason != "" {
		return o.Reason + ": " + o.Message
	}
	return o.Message
}

// write writes an object and hands it over. The node has its slot until it has settled.
func (r *walk) write(ctx context.Context, s Step, o Outcome) {
	freed := false
	defer func() {
		if !freed {
			<-r.slots
		}
	}()
	writer := publish.Writer{Owner: legacy.Publisher(), Client: r.Client, Directory: directory(r.world), Unknown: r.world.Unknown}
	results, err := writer.Publish(ctx, []publish.Wish{s.wish}, false)
	if err != nil {
		r.done(o, err)
		return
	}
	if res := results[0]; res.Action == publish.Refused {
		o.Left, o.Reason, o.Message = true, string(res.Reason), res.Message
		if res.Reason.Temporary() {
			r.more.Store(true)
			r.ended.put(o)
			return
		}
		o.Action = Skipped
		r.end(o)
		return
	}
	have := &v1.MultiNicNodeConfig{}
	key := client.ObjectKey{Namespace: v1.SystemNamespace, Name: s.Node}
	err = again(ctx, func() error {
		if err := r.Client.Get(ctx, key, have); err != nil {
			return fmt.Errorf("reading the object: %w", err)
		}
		if have.Labels[v1.PublisherLabel] != v1.PublisherLegacy || have.Annotations[v1.HandOverAnnotation] == r.To {
			return nil // the answer to the last try was lost
		}
		return r.hand(ctx, have)
	})
	if err != nil || have.Generation == generation(s.have) {
		r.done(o, err)
		return
	}
	r.say(Event{Node: s.Node, What: "written", Message: "waiting until the node has settled", Total: r.total})
	freed = true
	r.begun.Go(func() {
		defer func() { <-r.slots }()
		o.Action = Handed
		switch err := r.settle(ctx, key, have.Generation); {
		case errors.Is(err, errSilent):
			o.Left, o.Reason, o.Message = true, v1.ReasonNodeSilent, err.Error()
		case err != nil:
			r.failed.Add(1)
			o.Left, o.Reason, o.Message = true, "NotSettled", err.Error()
		}
		r.end(o)
	})
}

func generation(o *v1.MultiNicNodeConfig) int64 {
	if o == nil {
		return 0
	}
	return o.Generation
}

// errSilent: a node is down. It holds nobody up.
var errSilent = errors.New("the node is down; it takes its object when it is back")

// settle waits until a node has said how a generation ended.
func (r *walk) settle(ctx context.Context, key client.ObjectKey, generation int64) error {
	until := time.Now().Add(r.Patience)
	for wait := lookFirst; ; wait = min(2*wait, lookEvery) {
		o := &v1.MultiNicNodeConfig{}
		err := r.Client.Get(ctx, key, o)
		switch {
		case apierrors.IsNotFound(err):
			return errors.New("the object was deleted meanwhile")
		case err != nil:
		case o.Status.ObservedGeneration >= generation && o.Status.State == v1.StateFailed:
			return errors.New("the node failed: kubectl describe mnnc/" + key.Name + " -n " + key.Namespace + " says why")
		case o.Status.ObservedGeneration >= generation && o.Status.State != v1.StateInProgress && o.Status.State != "":
			return nil // Configured, or waiting for what lies outside of the change
		}
		if ready := meta.FindStatusCondition(o.Status.Conditions, v1.ConditionReady); ready != nil && ready.Reason == v1.ReasonNodeSilent {
			return errSilent
		}
		if time.Now().After(until) {
			return fmt.Errorf("the node has not settled within %s: it may be down, or have joined nobody", r.Patience)
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}
