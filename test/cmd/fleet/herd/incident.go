package herd

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	clientrest "k8s.io/client-go/rest"

	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/measure"
	"multinicd/test/bed/sandbox"
)

// Incident is what the nodes made of a time without an API server, or with a slow one. Seconds count from when it answered again, or was no longer slow.
type Incident struct {
	What  string  `json:"what"`
	Lasts float64 `json:"seconds"`
	Kept  int     `json:"watchesKept"`
	Cut   int     `json:"watchesCut"`
	Never int     `json:"watchesNotOpenAgain"`
	// How long until a watch that was cut is open again, in s.
	First float64 `json:"firstS"`
	P50   float64 `json:"p50S"`
	P99   float64 `json:"p99S"`
	Last  float64 `json:"lastS"`
	Peak  int     `json:"mostWatchesOpenInASecond"`
	Anew  int     `json:"nodesThatListedAnew"`
	Again int     `json:"nodesThatTriedTwice"`
	// Requests of everybody.
	PerTen     []int `json:"requestsPer10s"`
	PeakSecond int   `json:"mostRequestsInASecond"`
	Throttled  int   `json:"answered429"`
	Refused    int   `json:"answered401or403"` // of nodes
	Failed     int   `json:"answered5xx"`
	// Back is until the API server uses no more of a processor than at rest, -1: it did not while it was watched.
	Back     float64 `json:"backAtRestS"`
	Used     float64 `json:"apiServerCPUSeconds"` // until the end
	Troubles Trouble `json:"troubles"`
	Leases   Step    `json:"leases"` // from 20 s after it on
}

// kind is a kind of incident. do returns when its process was gone, if so, and when it answered again.
type kind struct {
	what   string
	settle time.Duration
	do     func(context.Context) (killed, again time.Time, err error)
}

func (b Bed) incidents() []kind {
	away := func(gone time.Duration) func(context.Context) (time.Time, time.Time, error) {
		return func(ctx context.Context) (time.Time, time.Time, error) { return b.away(ctx, gone) }
	}
	return []kind{
		{"is killed and started at once", b.Away * 4 / 3, away(0)},
		{fmt.Sprintf("is away for %s", b.Away), b.Away * 5 / 2, away(b.Away)},
		{fmt.Sprintf("runs for %s of each %s, for %s", runs, turn, b.Away), b.Away * 5 / 6, b.slow},
	}
}

const (
	turn  = 200 * time.Millisecond
	runs  = 20 * time.Millisecond
	after = 20 * time.Second // what could not be renewed meanwhile is, until then
)

// away kills the API server, and starts it again after a while.
func (b Bed) away(ctx context.Context, gone time.Duration) (killed, again time.Time, err error) {
	killed = time.Now()
	if err := b.Cluster.APIServer.Kill(); err != nil {
		return killed, again, err
	}
	if err := measure.Rest(ctx, gone); err != nil {
		return killed, again, err
	}
	answers := make(chan time.Time, 1)
	looking, stop := context.WithCancel(ctx)
	defer stop()
	go func() { answers <- b.answers(looking) }()
	if err := b.Cluster.Restart(ctx, b.Cluster.APIServer); err != nil {
		return killed, again, err
	}
	return killed, <-answers, nil
}

// answers is when the API server answers something, whatever it is: before it is ready.
func (b Bed) answers(ctx context.Context) time.Time {
	for {
		client, err := clientrest.HTTPClientFor(b.Cluster.Config())
		if err == nil {
			client.Timeout = time.Second
			var resp *http.Response
			if resp, err = client.Get(b.Cluster.URL + "/version"); err == nil {
				_ = resp.Body.Close()
				return time.Now()
			}
		}
		if measure.Rest(ctx, turn/10) != nil {
			return time.Now()
		}
	}
}

// slow lets the API server run for a tenth of the time. Any machine can do that, whatever its cgroups are.
func (b Bed) slow(ctx context.Context) (killed, again time.Time, err error) {
	for end := time.Now().Add(b.Away); time.Now().Before(end); {
		if err := b.Cluster.APIServer.Pause(); err != nil {
			return killed, again, err
		}
		err := measure.Rest(ctx, turn-runs)
		if resumed := b.Cluster.APIServer.Resume(); err == nil {
			err = resumed
		}
		if err == nil {
			err = measure.Rest(ctx, runs)
		}
		if err != nil {
			return killed, again, err
		}
	}
	return killed, time.Now(), nil
}

func (b Bed) incident(ctx context.Context, x kind, limit float64) (Incident, error) {
	in := Incident{What: x.what}
	b.Troubles.Take()
	place, err := b.Cluster.AuditSize()
	if err != nil {
		return in, err
	}
	s := b.sample(ctx)
	begin := time.Now()
	killed, again, err := x.do(ctx)
	if err == nil {
		err = measure.Rest(ctx, x.settle)
	}
	samples, end := s.end(), time.Now()
	if err != nil {
		return in, err
	}
	in.Lasts, in.Troubles = again.Sub(begin).Seconds(), b.Troubles.Take()
	for _, u := range samples {
		in.Used += u.cpu
	}
	in.Back = settled(samples, ten, limit, again)
	var log []controlplane.Request
	if err := b.Cluster.AuditFrom(place, func(r controlplane.Request) { log = append(log, r) }); err != nil {
		return in, err
	}
	in.read(log, b.Nodes, killed, again, end)
	return in, nil
}

// read fills in what the audit log knows.
func (in *Incident) read(log []controlplane.Request, nodes []string, killed, again, end time.Time) {
	w := watches(log, nodes, killed, again)
	in.Kept, in.Cut, in.Never, in.Anew, in.Again = w.Kept, len(w.After)+w.Never, w.Never, w.Anew, w.Again
	if len(w.After) > 0 {
		in.First, in.P50, in.P99, in.Last = slices.Min(w.After), measure.Quantile(w.After, 50), measure.Quantile(w.After, 99), slices.Max(w.After)
		seconds := map[int]int{}
		for _, s := range w.After {
			seconds[int(s)]++
			in.Peak = max(in.Peak, seconds[int(s)])
		}
	}
	seconds := perSecond(received(log), again, end)
	in.PerTen = perTen(seconds)
	if len(seconds) > 0 {
		in.PeakSecond = slices.Max(seconds)
	}
	once(log, func(r controlplane.Request) {
		code := r.ResponseStatus.Code
		switch {
		case r.StageTime.Before(killed): // what was under way
		case code == http.StatusTooManyRequests:
			in.Throttled++
		case code >= 500:
			in.Failed++
		case (code == http.StatusUnauthorized || code == http.StatusForbidden) && nodeOf(r) != "":
			in.Refused++
		case code == http.StatusUnauthorized: // nobody is known by then
			in.Refused++
		}
	})
	in.Leases = stepOf(renewals(log), again.Add(after), end)
}

// used is what the API server has used of a processor in a second.
type used struct {
	from time.Time
	cpu  float64
}

// sampler takes a sample each second, also while the process is another one or none.
type sampler struct {
	stop    context.CancelFunc
	samples chan []used
}

func (b Bed) sample(ctx context.Context) sampler {
	ctx, stop := context.WithCancel(ctx)
	s := sampler{stop, make(chan []used, 1)}
	go func() {
		var all []used
		pid := b.Cluster.APIServer.PID()
		before, _ := sandbox.Processor(pid)
		for from := time.Now(); measure.Rest(ctx, time.Second) == nil; from = time.Now() {
			is := b.Cluster.APIServer.PID()
			now, err := sandbox.Processor(is)
			if err != nil { // there is none
				now, before = 0, 0
			}
			if is != pid {
				pid, before = is, 0
			}
			all = append(all, used{from, max(0, now-before)})
			before = now
		}
		s.samples <- all
	}()
	return s
}

// end gives the samples.
func (s sampler) end() []used {
	s.stop()
	return <-s.samples
}
