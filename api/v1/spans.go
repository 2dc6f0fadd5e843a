package v1

import "time"

// Spans of time that the node and the bridge both use.
const (
	// SilentAfter is how long a renewed Lease counts. The bridge measures by its own clock: a node
	// whose Lease has not moved for that long counts as silent. It is three renewals of 2 min.
	SilentAfter = 6 * time.Minute

	// TokenLife is the life of every token of a node: of the token that the bridge asks for, and of
	// those by which the node renews it.
	TokenLife = time.Hour
)
