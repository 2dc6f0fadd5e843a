package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	applycoordination "k8s.io/client-go/applyconfigurations/coordination/v1"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// remake is how long a mailbox that was made may be missing from the cache
// until it is made again.
const remake = 10 * time.Second

// mailboxes makes what a node writes into: its report ConfigMap and its Lease.
// Neither is owned by the object: a node whose object is gone must still be able
// to say so.
type mailboxes struct {
	client client.Client // reads from the caches
	now    func() time.Time

	mu   sync.Mutex
	made map[string]time.Time // by kind and name
}

// open gives what stands in the node's report, "" where nothing does, and makes
// what is missing.
func (m *mailboxes) open(ctx context.Context, node string) (string, error) {
	labels := func(component string) map[string]string {
		l := map[string]string{v1.ComponentLabel: component}
		if len(node) <= 63 {
			l[v1.NodeNameLabel] = node
		}
		return l
	}
	note := map[string]string{v1.NodeNameAnnotation: node}
	key := client.ObjectKey{Namespace: v1.NodesNamespace}

	key.Name = v1.ReportName(node)
	var report corev1.ConfigMap
	if err := m.client.Get(ctx, key, &report); apierrors.IsNotFound(err) {
		err = m.make(ctx, "report "+node, applycore.ConfigMap(key.Name, key.Namespace).
			WithLabels(labels(v1.ComponentReport)).WithAnnotations(note))
		if err != nil {
			return "", fmt.Errorf("making report of %s: %w", node, err)
		}
	} else if err != nil {
		return "", fmt.Errorf("reading report of %s: %w", node, err)
	}

	key.Name = v1.LeaseName(node)
	var lease coordinationv1.Lease
	if err := m.client.Get(ctx, key, &lease); apierrors.IsNotFound(err) {
		err = m.make(ctx, "lease "+node, applycoordination.Lease(key.Name, key.Namespace).
			WithLabels(labels(v1.ComponentLease)).WithAnnotations(note))
		if err != nil {
			return "", fmt.Errorf("making Lease of %s: %w", node, err)
		}
	} else if err != nil {
		return "", fmt.Errorf("reading Lease of %s: %w", node, err)
	}
	return report.Data[v1.ReportKey], nil
}

// make applies one object, unless it did so a moment ago. To apply rather than
// to create also gives the label to an object that somebody else made: without
// the label the caches do not hold it.
func (m *mailboxes) make(ctx context.Context, what string, obj applyConfiguration) error {
	now := m.now()
	m.mu.Lock()
	at, ok := m.made[what]
	m.mu.Unlock()
	if ok && now.Before(at.Add(remake)) {
		return nil
	}
	if err := m.client.Apply(ctx, obj, client.FieldOwner(v1.BridgeFieldOwner), client.ForceOwnership); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for old, at := range m.made {
		if now.Sub(at) > remake {
			delete(m.made, old)
		}
	}
	m.made[what] = now
	return nil
}

// applyConfiguration is what client.Apply takes.
type applyConfiguration interface{ IsApplyConfiguration() }
