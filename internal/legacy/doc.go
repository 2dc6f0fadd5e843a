// Package legacy is the publisher of the older, cluster-wide object, MultiNicBizConfig. Each of its
// entries becomes the object of one node, by internal/publish. What the nodes say becomes the status
// of the older object.
//
// In go older objects, Nodes, and the objects of nodes. Out come one Entry for each entry, and the
// status.
//
// The package must not take a NIC away because an older object, or an entry, is gone. It deletes no
// object. Whoever else wrote last into the object of a node wins, and the status says so.
//
// Start reading at World.Judge, which is pure, as all of split.go, aggregate.go and plan.go is.
package legacy
