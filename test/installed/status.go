package installed

import (
	"fmt"

	v1 "multinicd/api/v1"
)

// Backwards says what the status of an object took back from before to now, two states of it in order: an older generation, an earlier time, less than
// Configured of a generation that had been, a release. "" where it took back nothing.
func Backwards(before, now v1.MultiNicNodeConfig) string {
	was, is := before.Status, now.Status
	if before.UID != now.UID {
		return ""
	}
	switch {
	case is.ObservedGeneration < was.ObservedGeneration:
		return fmt.Sprintf("generation %d after %d", is.ObservedGeneration, was.ObservedGeneration)
	case is.ObservedGeneration > now.Generation:
		return fmt.Sprintf("generation %d of %d", is.ObservedGeneration, now.Generation)
	case is.ObservedGeneration == was.ObservedGeneration && was.State == v1.StateConfigured && is.State != v1.StateConfigured:
		return fmt.Sprintf("%s after Configured", is.State)
	case was.LastProcessed != nil && (is.LastProcessed == nil || is.LastProcessed.Before(was.LastProcessed)):
		return fmt.Sprintf("last processed %v after %v", is.LastProcessed, was.LastProcessed)
	case was.ReleasedGeneration > 0 && is.ReleasedGeneration < was.ReleasedGeneration:
		return fmt.Sprintf("released up to %d after %d", is.ReleasedGeneration, was.ReleasedGeneration)
	}
	return ""
}
