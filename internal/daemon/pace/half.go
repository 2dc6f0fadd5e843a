package pace

import "time"

// Half says when a change that is half way is tried to be put right again: after pauses that grow,
// or when another link has, or lets go of, a name that is needed for it, but never twice within a
// second.
type Half struct {
	tried time.Time
	pause time.Duration
	names string // who had them then
	news  bool   // another has by now, or somebody asks for it to be tried
}

// What is half way is tried again after ResumeMin, doubled each time up to ResumeMax.
const (
	ResumeMin = WaitMin
	ResumeMax = 5 * time.Minute
)

// Due is when it is to be tried.
func (h *Half) Due() time.Time {
	if h.news {
		return h.tried.Add(ResumeMin)
	}
	return h.tried.Add(h.pause)
}

// NewHalf is of a change whose undo was tried right now; names is who had the names then.
func NewHalf(now time.Time, names string) *Half {
	return &Half{tried: now, pause: ResumeMin, names: names}
}

// Look notes who has the names by now.
func (h *Half) Look(names string) { h.news = h.news || names != h.names }

// Again notes that it was tried now, and is half way still.
func (h *Half) Again(now time.Time, names string) {
	h.tried, h.pause, h.names, h.news = now, min(2*h.pause, ResumeMax), names, false
}
