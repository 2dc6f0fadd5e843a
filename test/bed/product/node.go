package product

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// Folder is a credential folder on this machine (kube.Store), for a client of the product that runs in this process. It locks nothing and
// syncs nothing: one process writes it, and it is gone at the end.
type Folder string

// Lock takes no lock.
func (f Folder) Lock(context.Context) (release func(), err error) { return func() {}, nil }

// Write writes a file of the folder, which only its owner may read.
func (f Folder) Write(name string, data []byte) error {
	return os.WriteFile(filepath.Join(string(f), name), data, 0o600)
}

// Remove removes a file of the folder.
func (f Folder) Remove(name string) error { return os.Remove(filepath.Join(string(f), name)) }

// rights is what the bridge gives a node, without what it needs to join and to renew its token.
const rights = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: multinic-node-NODE, namespace: multinic-nodes}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: multinic-node-NODE, namespace: multinic-system}
rules:
- {apiGroups: [multinic.io], resources: [multinicnodeconfigs], resourceNames: [NODE], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: multinic-node-NODE, namespace: multinic-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: multinic-node-NODE}
subjects: [{kind: ServiceAccount, name: multinic-node-NODE, namespace: multinic-nodes}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: multinic-node-NODE, namespace: multinic-nodes}
rules:
- {apiGroups: [""], resources: [configmaps], resourceNames: [multinic-report-NODE], verbs: [get, patch, update]}
- {apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [multinic-NODE], verbs: [get, patch, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: multinic-node-NODE, namespace: multinic-nodes}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: multinic-node-NODE}
subjects: [{kind: ServiceAccount, name: multinic-node-NODE, namespace: multinic-nodes}]
`

// Rights are manifests of a node's ServiceAccount with the rights that the bridge gives it, for tests without a bridge, or before the bridge
// has seen the node. Those to join, and to renew its token, are left out.
func Rights(node string) string { return strings.ReplaceAll(rights, "NODE", node) }
