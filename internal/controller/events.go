package controller

// Reasons of Events that tell of something done; those of refusals are the
// reasons of api/v1.
const (
	eventTokenSealed      = "TokenSealed"
	eventJoined           = "NodeJoined"
	eventTokenNotUsed     = "TokenNotUsed"
	eventAdmissionInForce = "AdmissionInForce"
	eventRolloutStopped   = "RolloutStopped"
	eventRolloutGoesOn    = "RolloutGoesOn"
	eventRolloutStuck     = "RolloutStuck"
	eventDriftEnded       = "DriftEnded"
	eventCRDsOutdated     = "CRDsOutdated"
	eventCRDsUpToDate     = "CRDsUpToDate"
)

// maxEvent in bytes; the API server takes 1,024.
const maxEvent = 1000
