package gather

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// A hundred nodes wait for a worker, and then one has news.
func TestANodeWithNewsIsAheadOfManyThat(t *testing.T) {
	const many = 100
	node := func(i int) reconcile.Request {
		return reconcile.Request{NamespacedName: types.NamespacedName{Name: fmt.Sprint(i)}}
	}
	alone := reconcile.Request{NamespacedName: types.NamespacedName{Name: "alone"}}
	everybody := Behind(Wakes("", client.Object.GetName))
	for sentence, add := range map[string]func(q lanes, i int){
		// The first two as the library does after a pass that news had begun.
		"are tried again after a failure": func(q lanes, i int) {
			q.AddWithOpts(priorityqueue.AddOpts{RateLimited: true, Priority: new(0)}, node(i))
		},
		"a loop asked to look at again": func(q lanes, i int) {
			q.AddWithOpts(priorityqueue.AddOpts{After: time.Millisecond, Priority: new(0)}, node(i))
		},
		"one event has woken": func(q lanes, i int) {
			everybody.Create(t.Context(), event.CreateEvent{Object: &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i)}}}, q)
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := LoopOptions(1)
				q, ok := o.NewQueue("order", o.RateLimiter).(lanes)
				if !ok {
					t.Fatal("the queue has no lanes")
				}
				defer q.ShutDown()
				for i := range many {
					add(q, i)
				}
				time.Sleep(time.Minute)
				if n := q.Len(); n != many {
					t.Fatalf("%d wait for a worker, want %d", n, many)
				}
				q.Add(node(many - 1)) // one of them has news now
				q.Add(alone)
				for _, want := range []string{node(many - 1).Name, alone.Name, node(0).Name, node(1).Name} {
					got, priority, _ := q.GetWithPriority()
					if got.Name != want {
						t.Errorf("worked on %q with priority %d, want %q", got.Name, priority, want)
					}
					q.Done(got)
				}
			})
		})
	}
}
