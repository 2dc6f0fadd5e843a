package admission

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multinicd/deploy"
)

// watcher gives watches that a test ends. It notes which objects they are of, and since which version.
type watcher struct {
	mu       sync.Mutex
	open     map[string]*watch.FakeWatcher
	versions []string // of those of the first policy
	tries    int
	broken   error
}

func (w *watcher) Watch(_ context.Context, _ client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
	var o client.ListOptions
	o.ApplyOptions(opts)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tries++
	if w.broken != nil {
		return nil, w.broken
	}
	name, _ := o.FieldSelector.RequiresExactMatch("metadata.name")
	if name == first {
		w.versions = append(w.versions, o.Raw.ResourceVersion)
	}
	events := watch.NewFakeWithChanSize(100, false)
	w.open[name] = events
	return events, nil
}

func (w *watcher) of(name string) *watch.FakeWatcher {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.open[name]
}

const first = "multinic-node-reports"

func version(v string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: first, ResourceVersion: v}}
}

func TestAChangeOfAPolicyIsLookedAtAtOnce(t *testing.T) {
	g, looks := slowGuard(t)
	w := &watcher{open: map[string]*watch.FakeWatcher{}}
	g.Watcher = w
	g.told = []Parameter{{ConfigMap: "multinic-jobs", Key: "image"}, {ConfigMap: "multinic-jobs", Key: "other"}}
	g.heard = map[Parameter]string{}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- g.Start(ctx) }()
		counted := func(sentence string, within time.Duration, least, most int32) {
			t.Helper()
			before := looks.Load()
			time.Sleep(within)
			synctest.Wait()
			if n := looks.Load() - before; n < least || n > most {
				t.Errorf("%s: %d looks in %s, want %d to %d", sentence, n, within, least, most)
			}
		}
		counted("it begins", time.Minute, 1, 4)
		if n, want := len(w.open), len(g.want.policies)+1; n != want || w.of("multinic-jobs") == nil { // a binding has its policy's name
			t.Errorf("%d names are watched, want %d", n, want)
		}
		if n, want := w.tries, len(g.want.policies)+len(g.want.bindings)+1; n != want {
			t.Errorf("%d watches, want %d", n, want)
		}
		events := w.of(first)
		events.Modify(version("7"))
		counted("a change, at once", settles/2, 1, 1)
		counted("and once more when the API server goes by it", settles, 1, 1)
		counted("and no more", time.Minute, 0, 1)
		for range 60 {
			events.Modify(version("8"))
			time.Sleep(100 * time.Millisecond)
		}
		counted("changes all the time", 0, 0, 0)
		counted("after them", time.Minute, 1, 3)
		before := looks.Load()
		for range 600 {
			events.Modify(version("9"))
			time.Sleep(100 * time.Millisecond)
		}
		if n := looks.Load() - before; n > int32(time.Minute/settles)+1 {
			t.Errorf("changes of a minute cost %d looks", n)
		}
		events.Action(watch.Bookmark, version("10"))
		time.Sleep(time.Minute)
		synctest.Wait()
		events.Stop()
		counted("a watch has ended, and goes on", 10*time.Second, 0, 1)
		w.of(first).Error(&metav1.Status{Code: 410})
		counted("what was missed is not known", 10*time.Second, 2, 3)
		if got, want := w.versions[len(w.versions)-2:], []string{"10", ""}; !slices.Equal(got, want) {
			t.Errorf("it went on from %q, want %q", got, want)
		}
		w.mu.Lock()
		w.broken, w.tries = errors.New("connection refused"), 0
		w.mu.Unlock()
		w.of(first).Stop()
		counted("it cannot be opened again", time.Hour, 29, 32)
		if w.tries < 20 || w.tries > 45 {
			t.Errorf("it was tried %d times in an hour", w.tries)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Nothing is watched that the bridge has no right to watch, by its name.
func TestWhatIsWatchedIsWhatIsRead(t *testing.T) {
	g, err := New(deploy.Admission, nil, []Parameter{{ConfigMap: "multinic-admission"}}, nil, nil, nil, "", nil)
	if err != nil || g.watched() != nil {
		t.Errorf("without a Watcher it watches %v, %v", g.watched(), err)
	}
}
