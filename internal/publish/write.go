package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// Writer writes objects for one publisher. It may be used by several goroutines at once.
type Writer struct {
	Owner
	// Client reads and writes at the API server itself: a cache may be older than what the last
	// answer has promised.
	Client client.Client
	// Directory gives the Nodes of the cluster as they are known now.
	Directory func(context.Context) (*Directory, error)
	// Unknown: a wish for which there is no Node is written under the publisher's own name.
	Unknown bool
}

const (
	// atOnce is how many nodes of one call are worked on at a time.
	atOnce = 16
	// tries is how often a node is decided anew because somebody else was faster.
	tries = 5
)

// Publish sees to it that the objects are as wished, and says for each wish what became of it, in
// the order of the wishes. A wish that is not Refused is stored by the API server when Publish
// returns. No wish waits for another one. With dry, everything is decided and nothing is written.
//
// The error says that nothing could be decided at all; then nothing was written.
func (p *Writer) Publish(ctx context.Context, wishes []Wish, dry bool) ([]Result, error) {
	d, err := p.Directory(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the Nodes: %w", err)
	}
	out := Resolve(d, wishes, p.Unknown)
	var wait sync.WaitGroup
	free := make(chan struct{}, atOnce)
	// Anywhere: if ctx ends each call before the end of the list, each node gets its turn all the same.
	first := rand.N(len(out) + 1)
	for n := range out {
		i := (first + n) % len(out)
		if out[i].Action == Refused {
			continue
		}
		free <- struct{}{}
		wait.Go(func() {
			defer func() { <-free }()
			out[i] = p.one(ctx, out[i].Node, wishes[i], dry)
		})
	}
	wait.Wait()
	return out, nil
}

// one decides about one node, and writes. Who was slower than somebody else decides anew.
func (p *Writer) one(ctx context.Context, node string, w Wish, dry bool) Result {
	if errs := w.invalid(node); len(errs) > 0 { // whatever the object is: it is not read for that
		return refused(node, Invalid, words(errs))
	}
	var err error
	for range tries {
		var have *v1.MultiNicNodeConfig
		if have, err = p.object(ctx, node); err != nil {
			break
		}
		d := p.Decide(node, w, have)
		if dry || d.Action == Refused || d.Action == Unchanged {
			return d.Result
		}
		var done *v1.MultiNicNodeConfig
		done, err = p.write(ctx, have, d)
		if err == nil {
			d.ResourceVersion, d.Generation = done.ResourceVersion, done.Generation
			return d.Result
		}
		if apierrors.IsInvalid(err) { // by a rule that we do not know
			return refused(node, Invalid, err.Error())
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			break
		}
	}
	return refused(node, NotWritten, why(err))
}

// why is an error in words for a publisher, who is not told where the API server is.
func why(err error) string {
	var call *url.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "the time for the request was over before the node's turn, or the API server did not answer in time"
	case errors.As(err, &call):
		return "the API server cannot be reached"
	}
	return err.Error()
}

func (p *Writer) object(ctx context.Context, node string) (*v1.MultiNicNodeConfig, error) {
	o := &v1.MultiNicNodeConfig{}
	err := p.Client.Get(ctx, client.ObjectKey{Namespace: v1.SystemNamespace, Name: node}, o)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the object: %w", err)
	}
	return o, nil
}

// write writes what was decided, if the object is still the one from which it was decided. Otherwise
// the error is a conflict, or says that there is one already.
func (p *Writer) write(ctx context.Context, have *v1.MultiNicNodeConfig, d Decision) (*v1.MultiNicNodeConfig, error) {
	if have == nil {
		// An apply would change an object that somebody has made meanwhile.
		o := d.Object.DeepCopy()
		if err := p.Client.Create(ctx, o, client.FieldOwner(p.Name)); err != nil {
			return nil, fmt.Errorf("making the object: %w", err)
		}
		return o, nil
	}
	version := have.ResourceVersion
	if d.Take {
		var err error
		if version, err = p.take(ctx, have); err != nil {
			return nil, fmt.Errorf("taking over the object: %w", err)
		}
	}
	o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: have.Name, Namespace: have.Namespace}}
	body, err := applied(have, d.Object, version)
	if err != nil {
		return nil, fmt.Errorf("encoding the object: %w", err)
	}
	// Whose the fields were before does not matter: the object is ours.
	err = p.Client.Patch(ctx, o, client.RawPatch(types.ApplyPatchType, body), client.FieldOwner(p.Name), client.ForceOwnership)
	if err != nil {
		return nil, fmt.Errorf("writing the object: %w", err)
	}
	return o, nil
}

// take puts our name on an object, and removes the annotation that allows it, and the note of who had
// it, in one request. It changes no spec, and gives the new resourceVersion.
func (p *Writer) take(ctx context.Context, have *v1.MultiNicNodeConfig) (string, error) {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": have.UID, "resourceVersion": have.ResourceVersion,
		"labels":      map[string]any{v1.PublisherLabel: p.Name},
		"annotations": map[string]any{v1.HandOverAnnotation: nil, v1.PublisherNoteAnnotation: nil},
	}})
	if err != nil {
		return "", err
	}
	o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: have.Name, Namespace: have.Namespace}}
	err = p.Client.Patch(ctx, o, client.RawPatch(types.MergePatchType, body), client.FieldOwner(p.Name))
	return o.ResourceVersion, err
}

// applied is what is applied: all fields that a publisher may own. A text that shall go is there as
// an empty one: another manager may own it too, and it would stay.
func applied(have, next *v1.MultiNicNodeConfig, version string) ([]byte, error) {
	labels := map[string]string{}
	for _, label := range []string{v1.PublisherLabel, v1.NodeNameLabel, v1.InstanceIDLabel} {
		if value, is := next.Labels[label]; is {
			labels[label] = value
		}
	}
	annotations := map[string]string{}
	maps.Copy(annotations, next.Annotations)
	maps.DeleteFunc(annotations, func(name, _ string) bool {
		return name != v1.ReservedIDsAnnotation && name != v1.PrimaryPortAnnotation
	})
	if have.Annotations[v1.ReservedIDsAnnotation] != "" && annotations[v1.ReservedIDsAnnotation] == "" {
		annotations[v1.ReservedIDsAnnotation] = ""
	}
	spec := map[string]any{"nodeName": next.Spec.NodeName}
	for name, text := range map[string][2]string{
		"providerId": {have.Spec.ProviderID, next.Spec.ProviderID},
		"instanceId": {have.Spec.InstanceID, next.Spec.InstanceID},
		"specHash":   {have.Spec.SpecHash, next.Spec.SpecHash},
	} {
		if text != [2]string{} {
			spec[name] = text[1]
		}
	}
	if next.Spec.Interfaces != nil || have.Spec.Interfaces != nil {
		spec["interfaces"] = append([]v1.Interface{}, next.Spec.Interfaces...)
	}
	return json.Marshal(map[string]any{
		"apiVersion": v1.GroupVersion.String(), "kind": v1.NodeConfigKind,
		"metadata": map[string]any{
			"name": have.Name, "namespace": have.Namespace, "uid": have.UID, "resourceVersion": version,
			"labels": labels, "annotations": annotations,
		},
		"spec": spec,
	})
}
