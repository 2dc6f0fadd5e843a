package status

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// said is the status that was written last. It counts until the cache shows it.
type said struct {
	uid     types.UID
	version string // resourceVersion after the write
	status  v1.MultiNicNodeConfigStatus
}

// write writes a status, and reports what is new in it. The uid protects an object that was deleted
// and made anew meanwhile: the API server then refuses the write as a conflict.
func (l *Loop) write(ctx context.Context, obj *v1.MultiNicNodeConfig, next v1.MultiNicNodeConfigStatus) error {
	written := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: obj.Name, Namespace: obj.Namespace}}
	next, err := l.writeFit(next, func(s v1.MultiNicNodeConfigStatus, dry bool) error { return l.apply(ctx, obj, s, dry, written) })
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("writing status of %s: %w", obj.Name, err)
	}
	l.Written.Inc()
	l.mu.Lock()
	if l.said == nil {
		l.said = map[string]said{}
	}
	l.said[obj.Name] = said{uid: obj.UID, version: written.ResourceVersion, status: next}
	l.mu.Unlock()
	if obj.Status.State != next.State {
		l.Log.Info("state changed", "node", obj.Name, "generation", obj.Generation,
			"from", string(obj.Status.State), "to", string(next.State), "ready", next.ReadyInterfaces)
	}
	about := obj.DeepCopy()
	// The library takes Events about the same version of an object for one Event, whatever they
	// say. And the cache may lag behind.
	about.ResourceVersion = written.ResourceVersion
	l.tell(about, next)
	l.tellSettled(about, next)
	l.tellFight(about, next)
	return nil
}

// apply applies a status, or lets the API server only check it. It reads the object back into
// written.
func (l *Loop) apply(ctx context.Context, obj *v1.MultiNicNodeConfig, s v1.MultiNicNodeConfigStatus, dry bool, written *v1.MultiNicNodeConfig) error {
	body, err := json.Marshal(struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        map[string]any              `json:"metadata"`
		Status          v1.MultiNicNodeConfigStatus `json:"status"`
	}{
		TypeMeta: metav1.TypeMeta{APIVersion: v1.GroupVersion.String(), Kind: v1.NodeConfigKind},
		Metadata: map[string]any{"name": obj.Name, "namespace": obj.Namespace, "uid": obj.UID},
		Status:   s,
	})
	if err != nil {
		return fmt.Errorf("encoding the status: %w", err)
	}
	opts := []client.SubResourcePatchOption{client.FieldOwner(v1.BridgeFieldOwner), client.ForceOwnership}
	if dry {
		opts, written = append(opts, client.DryRunAll), written.DeepCopy()
	}
	return l.Client.Status().Patch(ctx, written, client.RawPatch(types.ApplyPatchType, body), opts...)
}

// lastStatus is the object's status. If the cache does not show a newer written status yet, it is
// that one: otherwise the same status would be written twice.
func (l *Loop) lastStatus(obj *v1.MultiNicNodeConfig) v1.MultiNicNodeConfigStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, ok := l.said[obj.Name]
	if !ok || last.uid != obj.UID {
		return obj.Status
	}
	if older, err := resourceversion.CompareResourceVersion(obj.ResourceVersion, last.version); err == nil && older < 0 {
		return last.status
	}
	delete(l.said, obj.Name)
	return obj.Status
}

func (l *Loop) forget(node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.said, node)
	delete(l.settled, node)
	delete(l.behind, node)
	l.writes.forget(node)
	l.tells.forget(node)
}
