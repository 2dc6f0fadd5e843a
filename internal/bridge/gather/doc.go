// Package gather reads what the loops of the bridge decide from, and wakes the loops.
//
// In go the caches of Nodes, objects, reports, Leases, Jobs and runs. Out come the values of one
// node, the pulses of all nodes, the requests that wake a loop, and the one answer by which a loop
// asks to be run again.
//
// The package decides nothing, writes nothing and imports no loop. It parses a report strictly. A
// report counts only for its own node.
//
// Start reading at Report, Pulse and Again.
package gather
