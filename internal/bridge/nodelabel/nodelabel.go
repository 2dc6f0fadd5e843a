package nodelabel

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// Loop keeps the label v1.ReadyLabel of Nodes. It exists only where the
// bridge was told to: to label a Node takes a right that is not the bridge's
// otherwise.
type Loop struct {
	Client client.Client // reads from the caches
	// InForce gives an error while the policy that holds the bridge to the label is not in force.
	InForce func(context.Context) error
}

// Judge is the value for the Node of an object: "true", "false" or
// "unknown", and "" for no label, where there is no object. A Ready that was
// said of an older generation is none any more.
func Judge(o *v1.MultiNicNodeConfig) string {
	if o == nil {
		return ""
	}
	c := meta.FindStatusCondition(o.Status.Conditions, v1.ConditionReady)
	switch {
	case c == nil || c.Status == metav1.ConditionUnknown:
		return "unknown"
	case c.Status == metav1.ConditionTrue && o.Status.ObservedGeneration == o.Generation:
		return "true"
	}
	return "false"
}

// Watch wakes the loop for an object, and for a Node whose label is not
// what it was: a kubelet that registers anew, or somebody, may have changed it.
func Watch(mgr manager.Manager, loop *Loop) error {
	byName := gather.Wakes("", client.Object.GetName)
	changed := predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetLabels()[v1.ReadyLabel] != e.ObjectNew.GetLabels()[v1.ReadyLabel]
		},
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	}
	return ctrl.NewControllerManagedBy(mgr).Named("node-label").
		Watches(&v1.MultiNicNodeConfig{}, byName).
		WatchesMetadata(&corev1.Node{}, byName, builder.WithPredicates(changed)).
		WithOptions(gather.LoopOptions(1)).
		Complete(loop)
}

// Reconcile brings one Node's label to where it should be.
func (l *Loop) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	node, err := gather.Node(ctx, l.Client, req.Name)
	if err != nil || node == nil { // a machine without a kubelet
		return reconcile.Result{}, err
	}
	object, err := gather.Object(ctx, l.Client, req.Name)
	if err != nil {
		return reconcile.Result{}, err
	}
	want := Judge(object)
	if node.Labels[v1.ReadyLabel] == want {
		return reconcile.Result{}, nil
	}
	if l.InForce(ctx) != nil {
		return gather.Again(gather.AdmissionRetry), nil // it has told why
	}
	label := &want
	if want == "" {
		label = nil // null takes it away
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": node.UID, "labels": map[string]*string{v1.ReadyLabel: label}}})
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("encoding the label of Node %s: %w", req.Name, err)
	}
	written := gather.NodeShell()
	written.Name = req.Name
	err = l.Client.Patch(ctx, written, client.RawPatch(types.MergePatchType, body), client.FieldOwner(v1.BridgeFieldOwner))
	if apierrors.IsConflict(err) {
		return gather.Again(gather.ConflictRetry), nil // another Node by now, or an API server in trouble
	}
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("labelling Node %s: %w", req.Name, err)
	}
	return reconcile.Result{}, nil
}
