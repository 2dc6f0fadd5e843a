package chart

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"

	v1 "multinicd/api/v1"
	"multinicd/test/bed/installed"
)

// history is every status that the object had while it was watched, in order.
type history struct {
	mu  sync.Mutex
	all []v1.MultiNicNodeConfig
	at  []time.Time // when each was seen
}

// published waits until the object's newest generation is Configured. It gives when that generation was seen first, and when it was seen
// to be Configured.
func (h *history) published(c *cluster) (published, configured time.Time) {
	c.t.Helper()
	generation := c.object().Generation
	eventually(c.t, fmt.Sprintf("generation %d is seen to be Configured", generation), func(context.Context) string {
		h.mu.Lock()
		defer h.mu.Unlock()
		published = time.Time{}
		for i, o := range h.all {
			if o.Generation != generation {
				continue
			}
			if published.IsZero() {
				published = h.at[i]
			}
			if o.Status.ObservedGeneration == generation && o.Status.State == v1.StateConfigured {
				configured = h.at[i]
				return ""
			}
		}
		return fmt.Sprintf("it was seen %d times", len(h.all))
	})
	return published, configured
}

// watch records until the test ends. Each state of the object is also told to see, before it is recorded.
func (c *cluster) watch(see ...func(v1.MultiNicNodeConfig)) *history {
	c.t.Helper()
	client, err := dynamic.NewForConfig(c.Config())
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.t.Context()))
	w, err := client.Resource(v1.GroupVersion.WithResource("multinicnodeconfigs")).Namespace(system).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + c.name})
	if err != nil {
		c.t.Fatal(err)
	}
	h := &history{}
	var done sync.WaitGroup
	done.Go(func() {
		for event := range w.ResultChan() {
			u, ok := event.Object.(*unstructured.Unstructured)
			if !ok {
				continue
			}
			var o v1.MultiNicNodeConfig
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &o); err != nil {
				c.t.Errorf("reading the object: %v", err)
				continue
			}
			for _, f := range see {
				f(o)
			}
			h.mu.Lock()
			h.all, h.at = append(h.all, o), append(h.at, time.Now())
			h.mu.Unlock()
		}
	})
	c.t.Cleanup(func() { cancel(); w.Stop(); done.Wait() })
	return h
}

// neverBackwards fails the test where a status took something back.
func (h *history) neverBackwards(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.all) < 3 {
		t.Errorf("the object was seen %d times only: the watch is broken", len(h.all))
		return
	}
	for i := range h.all[1:] {
		if wrong := installed.Backwards(h.all[i], h.all[i+1]); wrong != "" {
			t.Errorf("status number %d went backwards: %s", i+1, wrong)
		}
	}
}

// aJobPerGeneration fails the test where a generation was Configured by no Job, or by that of another one.
func (h *history) aJobPerGeneration(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	generations := map[string]int64{}
	for _, o := range h.all {
		s := o.Status
		if s.State != v1.StateConfigured {
			continue
		}
		if s.LastJobName == "" {
			t.Errorf("generation %d is Configured by no Job", s.ObservedGeneration)
		}
		if before, ok := generations[s.LastJobName]; ok && before != s.ObservedGeneration {
			t.Errorf("Job %s speaks for generations %d and %d", s.LastJobName, before, s.ObservedGeneration)
		}
		generations[s.LastJobName] = s.ObservedGeneration
	}
}
