package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// Note is what a publisher says about an object of its own, for v1.PublisherNoteAnnotation.
type Note struct {
	// Node is the name of the object, and Version the resourceVersion at which it was ours.
	Node, Version string
	Text          string
}

// Note keeps notes beside the specs. That makes no new generation. If an object has changed since,
// it is left alone: the publisher looks again, and says it then. The error is about the others.
func (p *Writer) Note(ctx context.Context, notes []Note) error {
	errs := make([]error, len(notes))
	var wait sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for i, n := range notes {
		free <- struct{}{}
		wait.Go(func() {
			defer func() { <-free }()
			if err := p.note(ctx, n); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
				errs[i] = fmt.Errorf("noting on the object of %s: %s", n.Node, why(err))
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

func (p *Writer) note(ctx context.Context, n Note) error {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": n.Version, "annotations": map[string]any{v1.PublisherNoteAnnotation: n.Text},
	}})
	if err != nil {
		return err
	}
	o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: n.Node, Namespace: v1.SystemNamespace}}
	return p.Client.Patch(ctx, o, client.RawPatch(types.MergePatchType, body), client.FieldOwner(p.Name))
}
