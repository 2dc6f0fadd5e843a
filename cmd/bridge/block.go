package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// blockList is the list of blocked nodes. It is no annotation of the node's object: a publisher
// that replaces the object would end the block.
func blockList() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: v1.BlockedName}}
}

// blocked are the blocked nodes, with since when.
func (a *admin) blocked(ctx context.Context) (map[string]string, error) {
	list := blockList()
	if err := a.client.Get(ctx, client.ObjectKeyFromObject(list), list); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("reading which nodes are blocked: %w", err)
	}
	return list.Data, nil
}

// block puts a node on the list. The bridge refuses it from then on. A node that is on the list
// already keeps its time.
func (a *admin) block(ctx context.Context, node string, now time.Time) error {
	if blocked, err := a.blocked(ctx); err != nil {
		return err
	} else if _, is := blocked[node]; is {
		return nil
	}
	since := now.UTC().Format(time.RFC3339)
	err := a.note(ctx, node, &since)
	if apierrors.IsNotFound(err) {
		list := blockList()
		list.Data = map[string]string{node: since}
		if err = a.client.Create(ctx, list); apierrors.IsAlreadyExists(err) { // another administrator was faster
			err = a.note(ctx, node, &since)
		}
	}
	if err != nil {
		return fmt.Errorf("blocking %s: %w", node, err)
	}
	return nil
}

// note changes the entry of one node alone. nil removes it.
func (a *admin) note(ctx context.Context, node string, since *string) error {
	body, err := json.Marshal(map[string]any{"data": map[string]*string{node: since}})
	if err != nil {
		return err
	}
	return a.client.Patch(ctx, blockList(), client.RawPatch(types.MergePatchType, body))
}

func unblockNode(c *cli.Context, names []string) error {
	node, err := oneNode(c, names)
	if err != nil {
		return err
	}
	a, err := newAdmin(c.String("kubeconfig"))
	if err != nil {
		return err
	}
	blocked, err := a.blocked(c.Context)
	if err != nil {
		return err
	}
	if _, is := blocked[node]; !is {
		return fmt.Errorf("node %s is not blocked", node)
	}
	if err := a.note(c.Context, node, nil); err != nil {
		return fmt.Errorf("unblocking %s: %w", node, err)
	}
	// A request that was refused stands in the way of the next one for some minutes.
	var refused v1.NodeTokenRequest
	err = a.client.Get(c.Context, client.ObjectKey{Namespace: v1.NodesNamespace, Name: node}, &refused)
	if err == nil && refused.Status.Reason == v1.ReasonNodeBlocked {
		err = a.client.Delete(c.Context, &refused)
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing the request of %s that was refused: %w", node, err)
	}
	_, err = fmt.Fprintf(c.App.Writer, "node %s is blocked no more: a machine with a kubelet joins by itself, another by a token of %s token create\n", node, program)
	return err
}
