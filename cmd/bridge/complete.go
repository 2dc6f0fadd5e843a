package main

import (
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/cmd/complete"
)

// How long a shell waits for the names of nodes, and for how many.
const (
	completePatience = 2 * time.Second
	mostCompleted    = 500
)

// values are what may stand behind options, and the nodes that have an object.
func values(ctx context.Context, path []string, option string) []string {
	switch option {
	case "node":
		return nodeNames(ctx)
	case "":
		if len(path) == 1 && slices.Contains([]string{"node", string(v1.ActionTrigger), string(v1.ActionCleanup)}, path[0]) {
			return nodeNames(ctx)
		}
	case "output":
		switch path[0] {
		case "fleet":
			return []string{"table", "wide", "json", "yaml"}
		case "node", "token":
			return []string{"table", "json", "yaml"}
		}
		return []string{"table", "json"}
	case "state":
		return []string{string(v1.StatePending), string(v1.StateInProgress), string(v1.StateConfigured), string(v1.StateFailed)}
	case "duty":
		return []string{"status", "credentials"}
	case "execution":
		return []string{"daemon", "job", "auto"}
	case "log-level":
		return []string{"debug", "info", "warn", "error"}
	case "log-format":
		return []string{"json", "text"}
	case "kubeconfig", "file", "folder", "output-file", "template", "tls-cert-file", "tls-key-file", "client-ca-file":
		return []string{complete.Files}
	}
	return nil
}

// nodeNames asks for no more than names, and gives none if that takes long or is not allowed.
func nodeNames(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, completePatience)
	defer cancel()
	a, err := newAdmin("")
	if err != nil {
		return nil
	}
	list := metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(v1.GroupVersion.WithKind(v1.NodeConfigKind + "List"))
	if err := a.client.List(ctx, &list, client.InNamespace(v1.SystemNamespace), client.Limit(mostCompleted)); err != nil {
		return nil
	}
	var out []string
	for _, o := range list.Items {
		out = append(out, o.Name)
	}
	return out
}
