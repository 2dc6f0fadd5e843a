// Package bridge is the cluster's side of the product. It wires the loops of the rooms below it.
//
// In go the options of the command, and a way to the API server. Out comes a manager with its
// caches, the loops, the metrics, and the log of the libraries. The caches hold only what the loops
// read.
//
// The package decides nothing about a node. No loop knows another loop. If a loop needs what
// another has decided, it gets it here, as a value, a function or a small interface.
//
// Start reading at bridge.wire, which leads to every loop: a process has those of one Duty. Then take a room: judge.go decides, and
// loop.go gathers and writes.
package bridge
