package v1

import "time"

// Spans that the node and the bridge both go by.
const (
	// SilentAfter is how long a node's Lease counts after it was renewed, and may
	// stand still, by the bridge's own clock, until the node counts as silent:
	// three renewals of 2 min.
	SilentAfter = 6 * time.Minute

	// TokenLife is the life of every token of a node: that which the bridge asks
	// for, and the one by which the node renews it.
	TokenLife = time.Hour
)
