// Package gather reads what the loops of the bridge decide from, and wakes them.
//
// In go the caches of Nodes, objects, reports, Leases, Jobs and runs. Out come the values
// of one node, the pulses of all nodes, the requests that wake a loop, and the one answer
// by which a loop asks to be run again.
//
// The package decides nothing and writes nothing. It imports no loop. A report is parsed
// strictly, counts for its own node only, and is believed nowhere else.
//
// Start reading at Report, Pulse and Again.
package gather
