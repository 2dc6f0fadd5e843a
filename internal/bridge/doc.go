// Package bridge is the cluster's side of the product. It wires the loops that stand in
// the rooms below it.
//
// In go the options of the command and a way to the API server. Out comes a manager with
// its caches, which hold what the loops read and nothing else, the loops, the metrics and
// the log of the libraries.
//
// The package decides nothing about a node. No loop knows another loop: what one has
// decided and another needs is handed in here, as a value, a function or a small
// interface.
//
// Start reading at bridge.wire, which names every loop. Then take a room: judge.go decides,
// loop.go gathers and writes.
package bridge
