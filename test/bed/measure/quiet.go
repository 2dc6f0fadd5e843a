package measure

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"multinicd/test/bed/sandbox"
)

const (
	quietLoad   = 0.5 // of the last minute, before anything of ours runs
	quietShare  = 5.0 // percent of all processors, which others may have
	quietWindow = 10 * time.Second
	// userHertz are the ticks of a second in /proc/stat.
	userHertz = 100
)

// stat is a moment of /proc/stat, with what of it was our own doing: all in seconds of one processor.
type stat struct {
	at               time.Time
	busy, total, own float64
}

// parseStat reads the first line of /proc/stat, proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal. Interrupts are nobody's: the
// kernel charges them to no process, and ours are not told from others'. What the hypervisor gave to others is theirs.
func parseStat(text string) (busy, total float64, err error) {
	var t [8]float64
	_, err = fmt.Sscanf(text, "cpu %f %f %f %f %f %f %f %f", &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7])
	if err != nil {
		return 0, 0, fmt.Errorf("reading /proc/stat: %w", err)
	}
	for _, v := range t {
		total += v / userHertz
	}
	return (t[0] + t[1] + t[2] + t[7]) / userHertz, total, nil
}

func (r *Run) stat() (s stat, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return s, fmt.Errorf("reading what processors do: %w", err)
	}
	s.at = time.Now()
	if s.busy, s.total, err = parseStat(string(text)); err != nil {
		return s, err
	}
	s.own, err = r.account.Spent()
	return s, err
}

// others is the share of all processors that others have had since before, in percent.
func (s stat) others(before stat) float64 {
	if s.total <= before.total {
		return 0
	}
	return max(0, (s.busy-before.busy)-(s.own-before.own)) * 100 / (s.total - before.total)
}

// seen is a look at the machine over some seconds.
type seen struct{ load, others float64 }

// await waits until the machine is quiet: others use little, and, before anything of ours runs, the load is low.
func (r *Run) await(ctx context.Context, first bool) error {
	wanted := math.Inf(1)
	if first {
		wanted = quietLoad
	}
	return awaitQuiet(ctx, r.Patience, wanted, r.Logf, func() (s seen, err error) {
		before, err := r.stat()
		if err != nil {
			return s, err
		}
		select {
		case <-ctx.Done():
			return s, context.Cause(ctx)
		case <-time.After(quietWindow):
		}
		now, err := r.stat()
		if err != nil {
			return s, err
		}
		s.others = now.others(before)
		_, err = fmt.Sscan(sandbox.Load(), &s.load)
		return s, err
	})
}

// errBusy is a machine that did not become quiet.
var errBusy = errors.New("the machine is not quiet")

// awaitQuiet looks again and again, and says once a minute what it waits for.
func awaitQuiet(ctx context.Context, patience time.Duration, load float64, logf func(string, ...any), look func() (seen, error)) error {
	begin, said := time.Now(), time.Time{}
	for {
		s, err := look()
		if err != nil {
			return err
		}
		if s.load < load && s.others < quietShare {
			return nil
		}
		var is []string
		if s.load >= load {
			is = append(is, fmt.Sprintf("load %.1f, wanted below %.1f", s.load, load))
		}
		if s.others >= quietShare {
			is = append(is, fmt.Sprintf("others use %.0f %% of the processors, wanted below %.0f %%", s.others, quietShare))
		}
		waited := time.Since(begin)
		if waited >= patience {
			return fmt.Errorf("%w after %s: %s; try when nothing else runs, wait longer (-patience), or only print (-out \"\")", errBusy, waited.Round(time.Second), strings.Join(is, "; "))
		}
		if time.Since(said) >= time.Minute {
			logf("waiting for a quiet machine: %s; giving up in %s", strings.Join(is, "; "), (patience - waited).Round(time.Second))
			said = time.Now()
		}
	}
}

// Begin begins a measurement, on a quiet machine where results are to be written.
func (r *Run) Begin(ctx context.Context) (err error) {
	if r.Out != "" {
		if err := r.await(ctx, false); err != nil {
			return err
		}
	}
	return r.mark()
}

// Anywhere begins one whose results do not depend on how busy the machine is.
func (r *Run) Anywhere() error { return r.mark() }

func (r *Run) mark() (err error) {
	r.load = sandbox.Load()
	r.begin, err = r.stat()
	return err
}

// Stamp says when, of what and beside what something was measured. It stands in each file of results.
type Stamp struct {
	Date       time.Time `json:"date"`
	Version    string    `json:"version"`
	Commit     string    `json:"commit"`
	LoadBefore string    `json:"loadBefore"`
	LoadAfter  string    `json:"loadAfter"`
	Others     float64   `json:"othersPercent"` // of all processors, that others had meanwhile
}

// End ends what Begin has begun.
func (r *Run) End() (Stamp, error) {
	now, err := r.stat()
	return Stamp{Date: r.begin.at.UTC().Truncate(time.Second), Version: r.Version, Commit: r.Commit, LoadBefore: r.load, LoadAfter: sandbox.Load(), Others: now.others(r.begin)}, err
}

// String is the line that each page begins with, without its end.
func (s Stamp) String() string {
	if s.Commit == "" { // of before a run had to know its commit
		return fmt.Sprintf("Measured on %s, of an older commit. Load before and after: %s, %s", s.Date.Format("2006-01-02 15:04 UTC"), s.LoadBefore, s.LoadAfter)
	}
	return fmt.Sprintf("Measured on %s, multinicd %s, commit %s. Load before and after: %s, %s; others used %.1f %% of the processors meanwhile",
		s.Date.Format("2006-01-02 15:04 UTC"), s.Version, s.Commit, s.LoadBefore, s.LoadAfter, s.Others)
}

// quiet says why results must not be written, if so.
func (s Stamp) quiet() error {
	if s.Others >= quietShare {
		return fmt.Errorf("%w: others used %.1f %% of the processors while this was measured, at most %.0f %% may be; it is printed, and not written", errBusy, s.Others, quietShare)
	}
	return nil
}
