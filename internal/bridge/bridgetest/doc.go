// Package bridgetest has what the tests of several rooms of the bridge share.
//
// Out come a node with its object and report, a client with the bridge's kinds and indexes, and two
// properties that every loop must have: LooksSeldom and DeleteMeetsConflict.
//
// The package is for tests only, and knows no loop.
//
// Start reading at Object, then at LooksSeldom.
package bridgetest
