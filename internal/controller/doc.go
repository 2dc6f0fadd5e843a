// Package controller is the bridge between nodes and objects: it turns reports
// and Leases into the status of the node's MultiNicNodeConfig, gives each node
// an identity that reaches what is that node's and nothing else, and hands out
// its first token.
//
// In go Nodes (their metadata), objects, reports, Leases and NodeTokenRequests
// from informer caches that hold nothing else; out go server-side applies and
// sealed tokens. A change of an object costs two requests at most: InProgress,
// and how it ended. Nothing is written that is written already.
//
// It must not believe a report: one is parsed strictly, counts for no object
// but that of the node whose report it is, and for none but the one with its
// uid and generation. It writes no spec, reads no Secret, approves no
// certificate, and hands nothing out unless the admission policies are in force.
//
// Start reading at Status, Judge and Answer, which decide; then the loops of the
// same names, which gather and write; Run starts them.
package controller
