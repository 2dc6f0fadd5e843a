// Package publish is the one writer of the specs of MultiNicNodeConfigs inside this tree.
//
// In go wishes: what a publisher wants of which machine, and what the cluster has: its Nodes and the
// objects as they are. Out come one result for each wish, and objects that are written, or only
// would be.
//
// The package never changes an object that somebody else owns, never gives an id a second time, and
// never writes a spec that is as wanted. It deletes nothing. It knows neither HTTP nor OpenStack.
//
// Start reading at Decide, which is pure, as Resolve is; then Writer.Publish, which is the edge.
package publish
