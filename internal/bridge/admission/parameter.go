package admission

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// Parameter is a value that policies are told: a key of a ConfigMap of v1.SystemNamespace. Who may
// change the ConfigMap changes what the policies let through, and no comparison of policies shows
// it.
type Parameter struct {
	ConfigMap, Key string
	// Fixed: the policies count as in force only if the value is Want. Otherwise the value is the
	// administrator's to choose.
	Fixed bool
	Want  string
}

// listen reads what the policies are told. It logs a value at the first look and when the value has
// changed, and fails if a value is not the one that the bridge was started with. If a ConfigMap is
// missing, its values are empty. Only one look at a time listens.
func (g *PolicyGuard) listen(ctx context.Context) error {
	for _, p := range g.told {
		cm := &corev1.ConfigMap{}
		err := g.reader.Get(ctx, client.ObjectKey{Namespace: v1.SystemNamespace, Name: p.ConfigMap}, cm)
		if err != nil && !apierrors.IsNotFound(err) {
			return p.fault(cm, fmt.Errorf("reading ConfigMap %s: %w", p.ConfigMap, err))
		}
		value := cm.Data[p.Key]
		if last, known := g.heard[p]; !known || last != value {
			g.log.Info("what the admission policies are told", "configmap", p.ConfigMap, "key", p.Key, "value", v1.Printable(value, maxValue), "before", v1.Printable(last, maxValue))
			g.heard[p] = value
		}
		if p.Fixed && value != p.Want {
			return p.fault(cm, fmt.Errorf("ConfigMap %s says that the %s is %q, but the bridge was started with %q",
				p.ConfigMap, p.Key, v1.Printable(value, maxValue), p.Want))
		}
	}
	return nil
}

// fault is what is wrong with a ConfigMap as it was read.
func (p Parameter) fault(cm *corev1.ConfigMap, err error) error {
	return &fault{about: corev1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: v1.SystemNamespace, Name: p.ConfigMap, UID: cm.UID, ResourceVersion: cm.ResourceVersion}, err: err}
}

// maxValue bounds what is logged of a value, in bytes.
const maxValue = 512
