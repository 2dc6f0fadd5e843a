// Package status writes into the object of a node how the node is.
//
// In go the object, the node's report, its Lease, its Jobs and its runs. Out comes the status. It
// also carries the next run that the node is asked for, and the generation that the node may act
// on. Out come also Events about news in the status.
//
// The package must not believe a report that speaks of another object or another generation. It
// does not write a status that is already written. A change of an object that the node reports within
// a second costs one write, and another costs two: one for InProgress and one for how the change
// ended. It releases nothing by itself.
//
// Start reading at Judge, which is pure. Then read finding.go, which says what a report tells of each
// NIC, conditions.go, which has the words, and Loop.
package status
