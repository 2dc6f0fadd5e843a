// Package status says in the object of a node how the node is.
//
// In go the object, the node's report, its Lease, its Jobs and its runs. Out come the
// status, which carries the next run that the node is asked for and the generation that
// the node may act on, and Events about what is new in the status.
//
// The package must not believe a report that speaks of another object or another
// generation. It writes no status that is written already: a change of an object costs
// two writes, InProgress and how the change ended. It releases nothing by itself.
//
// Start reading at Judge, which is pure; then conditions.go, which has the words; then
// Loop.
package status
