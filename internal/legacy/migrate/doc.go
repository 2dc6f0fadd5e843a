// Package migrate takes the objects of nodes out of the hands of the older object's publisher, and
// gives them back.
//
// In go a client with the rights of whoever runs the command, and the name of the later owner. Out
// come one Outcome for each node, and objects that are handed over. Nothing is remembered but in the
// objects themselves and in one Lease: each call looks at the cluster anew, and does what is left.
//
// The package must not change a NIC that is as its entry says, and never overwrites a file or an
// object of somebody else. It holds the Lease while it changes anything.
//
// Start reading at Steps, which is pure, as Verify is; then Migration.Run.
package migrate
