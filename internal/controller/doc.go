// Package controller is the bridge between nodes and objects: it makes the
// report ConfigMap and the Lease into which a node writes, and turns them into
// the status of the node's MultiNicNodeConfig.
//
// In go objects, reports and Leases from informer caches that hold nothing
// else; out go server-side applies. A change of an object costs two of them at
// most: InProgress, and how it ended. Nothing is read from the API server, and
// nothing is written that is written already.
//
// It must not believe a report: one is parsed strictly, counts for no object
// but that of the node whose report it is, and for none but the one with its
// uid and generation. It writes no spec.
//
// Start reading at Status, which decides, then statusLoop, which gathers and
// writes; Run starts both.
package controller
