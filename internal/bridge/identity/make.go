package identity

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// remake is how long an object that was made may be missing from the cache. After that it is made
// again.
const remake = 10 * time.Second

// Maker makes objects that are missing or differ. It does not write an object that is already so.
// Its methods may be called at any time.
type Maker struct {
	Client client.Client // reads from the caches
	Now    func() time.Time

	mu    sync.Mutex
	made  map[string]made // by kind, namespace and name
	swept time.Time       // when old entries were last thrown out of made
}

// made is what was written last. It counts until the cache shows it.
type made struct {
	at   time.Time
	want client.Object
}

// make applies one object, unless the object is so, or was made so a moment ago. It applies rather
// than creates, so that an object that somebody else made gets the label too: without the label the
// caches do not hold it.
func (m *Maker) make(ctx context.Context, want client.Object) error {
	have := empty(want)
	err := m.Client.Get(ctx, client.ObjectKeyFromObject(want), have)
	if err == nil && settled(have, want) {
		return nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading %s: %w", gather.ID(want), err)
	}
	now := m.Now()
	m.mu.Lock()
	last, ok := m.made[gather.ID(want)]
	m.mu.Unlock()
	if ok && now.Before(last.at.Add(remake)) && settled(last.want, want) {
		return nil
	}
	if err := m.apply(ctx, want); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.swept) > remake {
		m.swept = now
		for old, last := range m.made {
			if now.Sub(last.at) > remake {
				delete(m.made, old)
			}
		}
	}
	if m.made == nil {
		m.made = map[string]made{}
	}
	m.made[gather.ID(want)] = made{now, want}
	return nil
}

// apply writes without a look at what is there. The result is the object as the API server made it.
func (m *Maker) apply(ctx context.Context, want client.Object) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(want)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", gather.ID(want), err)
	}
	err = m.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(&unstructured.Unstructured{Object: fields}),
		client.FieldOwner(v1.BridgeFieldOwner), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("making %s: %w", gather.ID(want), err)
	}
	return nil
}

// forget makes it possible that an object that somebody removed is made again at once.
func (m *Maker) forget(o client.Object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.made, gather.ID(o))
}

// remove deletes one object if the cache has it. A conflict is an error here: either the object is
// another one by now, or the API server is in trouble.
func (m *Maker) remove(ctx context.Context, o client.Object) error {
	have := empty(o)
	err := m.Client.Get(ctx, client.ObjectKeyFromObject(o), have)
	if err == nil {
		uid := have.GetUID()
		err = m.Client.Delete(ctx, have, client.Preconditions{UID: &uid})
		m.forget(o)
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing %s: %w", gather.ID(o), err)
	}
	return nil
}
