// Package runs reports on each MultiNicNodeRun, and deletes it an hour after its end.
//
// In go the run, the object of its node and the node's report. Out come the status of the run, and
// an Event about its end.
//
// The package asks no node for anything: the status loop does that, in the node's object. A run
// that has ended never changes again.
//
// Start reading at Judge, which is pure; then Loop.
package runs
