package nodelabel

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

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

// Loop keeps the v1.ReadyLabels of Nodes. It is used only in a bridge that was told to label,
// because labelling a Node needs a right that the bridge does not have otherwise.
type Loop struct {
	Client client.Client // reads from the caches
	// InForce gives an error as long as the policy is not in force that restricts the bridge to
	// these labels.
	InForce func(context.Context) error
}

// Judge is the value of the label for the Node of an object: "true", "false" or "unknown". It is
// "", no label, if there is no object. A Ready that was said of an older generation does not count.
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

// Watch wakes the loop for an object, and for a Node whose label is not as it was: a kubelet that
// registers anew, or a person, may have changed it.
func Watch(mgr manager.Manager, loop *Loop) error {
	byName := gather.Wakes("", client.Object.GetName)
	changed := predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, now := e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels()
			return slices.ContainsFunc(v1.ReadyLabels[:], func(label string) bool { return before[label] != now[label] })
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
	wrong := func(label string) bool { return node.Labels[label] != want }
	if !slices.ContainsFunc(v1.ReadyLabels[:], wrong) {
		return reconcile.Result{}, nil
	}
	if l.InForce(ctx) != nil {
		return gather.Again(gather.AdmissionRetry), nil // InForce has told why
	}
	value := &want
	if want == "" {
		value = nil // null removes the label
	}
	labels := map[string]*string{}
	for _, label := range v1.ReadyLabels {
		labels[label] = value
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": node.UID, "labels": labels}})
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("encoding the label of Node %s: %w", req.Name, err)
	}
	written := gather.NodeShell()
	written.Name = req.Name
	err = l.Client.Patch(ctx, written, client.RawPatch(types.MergePatchType, body), client.FieldOwner(v1.BridgeFieldOwner))
	if apierrors.IsConflict(err) {
		// it is another Node by now, or the API server is in trouble
		return gather.Again(gather.ConflictRetry), nil
	}
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("labelling Node %s: %w", req.Name, err)
	}
	return reconcile.Result{}, nil
}
