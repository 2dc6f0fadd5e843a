package daemon

import "time"

// half says when a change that is half way is tried to be put right again: after pauses that grow, or when another link has, or lets go of, a name
// that is needed for it, but never twice within a second.
type half struct {
	tried time.Time
	pause time.Duration
	names string // who had them then
	news  bool   // another has by now, or somebody asks for it to be tried
}

const (
	resumeMin = waitMin
	resumeMax = 5 * time.Minute
)

// due is when it is to be tried.
func (h *half) due() time.Time {
	if h.news {
		return h.tried.Add(resumeMin)
	}
	return h.tried.Add(h.pause)
}

// newHalf is of a change whose undo was tried right now; names is who had the names then.
func newHalf(now time.Time, names string) *half {
	return &half{tried: now, pause: resumeMin, names: names}
}

// look notes who has the names by now.
func (h *half) look(names string) { h.news = h.news || names != h.names }

// again notes that it was tried now, and is half way still.
func (h *half) again(now time.Time, names string) {
	h.tried, h.pause, h.names, h.news = now, min(2*h.pause, resumeMax), names, false
}
