// Package identity gives each node an identity, and takes it away.
//
// In go the Node, the object, the join token, the ServiceAccount, the report and the Lease of a
// node. Out come a ServiceAccount, and Roles and RoleBindings that reach only what belongs to that
// node; and, for all nodes, the rights that they share. Out come also the objects that the node writes into: its report and its Lease.
//
// The package makes no rights unless the admission policies are in force. It reads no Secret. It
// takes no identity away from a node that may still act on its object.
//
// Start reading at Judge, which is pure; then identity.go, which has the objects; then Loop, and
// shared.go for what all nodes share.
package identity
