package fault

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// asked notes when a host asked for something, by method and the last two words of the path, "watch" for a watch.
type asked struct {
	sync.Mutex
	times map[string][]time.Time
}

func (a *asked) note(r *http.Request) string {
	words := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	what := r.Method + " " + strings.Join(words[max(0, len(words)-2):], "/")
	if isWatch(r) {
		what = "watch"
	}
	a.Lock()
	defer a.Unlock()
	if a.times == nil {
		a.times = map[string][]time.Time{}
	}
	a.times[what] = append(a.times[what], time.Now())
	return what
}

func isWatch(r *http.Request) bool  { return r.URL.Query().Get("watch") != "" }
func isReport(r *http.Request) bool { return strings.Contains(r.URL.Path, "/configmaps/") }
func always(*http.Request) bool     { return true }

// least is the shortest time between two times that the same was asked for, and how often anything was asked for again.
func (a *asked) least() (gap time.Duration, again int) {
	a.Lock()
	defer a.Unlock()
	gap = time.Hour
	for _, times := range a.times {
		for i := range times[1:] {
			again++
			gap = min(gap, times[i+1].Sub(times[i]))
		}
	}
	return gap, again
}

// meddle is what the API server does to requests that a test picks; it says whether it has answered. The rest go on to the real one.
type meddle func(w http.ResponseWriter, r *http.Request, server http.Handler)

func refuse(code int, reason string, header func(http.Header)) meddle {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		if header != nil {
			header(w.Header())
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprint(w, status(code, reason))
	}
}

func status(code int, reason string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"the test says %s","reason":%q,"code":%d}`, reason, reason, code)
}

const patience = 3 * time.Second

// forSeconds and untilADate ask for patience, in both forms of RFC 9110.
func forSeconds(h http.Header) { h.Set("Retry-After", strconv.Itoa(int(patience/time.Second))) }
func untilADate(h http.Header) {
	now := time.Now().UTC()
	h.Set("Date", now.Format(http.TimeFormat))
	h.Set("Retry-After", now.Add(patience).Format(http.TimeFormat))
}

// expires ends a watch by an event that says that its resource version is too old.
func expires(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	fmt.Fprintf(w, "{\"type\":\"ERROR\",\"object\":%s}\n", status(http.StatusGone, "Expired"))
}

// breaksOff lets half of the answer's first event or, of an answer that is no watch, of its first bytes through, and resets the connection.
func breaksOff(w http.ResponseWriter, r *http.Request, server http.Handler) {
	r.Header.Set("Accept-Encoding", "identity")
	server.ServeHTTP(&half{ResponseWriter: w}, r)
}

type half struct{ http.ResponseWriter }

func (h *half) Write(b []byte) (int, error) {
	_, _ = h.ResponseWriter.Write(b[:len(b)/2]) // who listens is about to be cut off
	_ = http.NewResponseController(h.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

func (h *half) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// goesAway resets connections, as the kernel of a host does on which nobody listens.
func goesAway(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }

// answer is a fault of the API server, while the node's object changes.
type answer struct {
	name  string
	which func(r *http.Request) bool // it happens to
	times int                        // that it does; 0: until the test has seen it asked again twice
	meddle
	patient bool   // whoever was refused has to wait as long as asked
	during  string // how the host is then
}

// answers has the rows of each host: one after the other, since what failed is tried again ever later, and the patient ones last.
var answers = [][]answer{
	{{"answers 410 to a watch", isWatch, 1, refuse(http.StatusGone, "Expired", nil), false, asWanted},
		{"answers 429, `Retry-After` in seconds", always, 0, refuse(http.StatusTooManyRequests, "TooManyRequests", forSeconds), true, asBefore}},
	{{"ends a watch with 410", isWatch, 1, expires, false, asWanted},
		{"answers 429, `Retry-After` as a date", always, 0, refuse(http.StatusTooManyRequests, "TooManyRequests", untilADate), true, asBefore}},
	{{"breaks a watch off within an event", isWatch, 1, breaksOff, false, asWanted},
		{"is down", always, 0, goesAway, false, asBefore},
		{"answers 429 to the report alone", isReport, 0, refuse(http.StatusTooManyRequests, "TooManyRequests", forSeconds), true, asWanted}},
}

const hangs = "hangs from `probe` of a change on"

// The rows of the API server's faults: requests of the daemon on real hosts, and a real API server behind what goes wrong.
func TestTheAPIServerFails(t *testing.T) {
	t.Parallel()
	table := newMatrix("api", "the API server", "netplan: while it does", "netplan: once it answers, without a restart")
	for _, rows := range answers {
		for _, a := range rows {
			table.row(a.name)
		}
	}
	table.row(hangs)
	t.Run("on hosts", func(t *testing.T) {
		for i, rows := range answers {
			t.Run(rows[0].name, func(t *testing.T) {
				t.Parallel()
				answered(t, table, fmt.Sprintf("answered-%d", i), rows)
			})
		}
		t.Run(hangs, func(t *testing.T) {
			t.Parallel()
			hangsInMidChange(t, table)
		})
	})
	table.publish(t)
}

func answered(t *testing.T, table *matrix, name string, rows []answer) {
	b := bed.New(t)
	c := newCluster(t, b)
	n := c.newMember(name, testhost.Options{})
	pid, err := n.DaemonPID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Two wishes, in turns: what the host is like under each is read once. The second stands when the first row begins.
	wishes := []string{object(name, entry(1, mac1, "192.168.100.10/24", "mtu: 1400")), object(name, entry(1, mac1, "192.168.100.11/24", "mtu: 1300"))}
	const done = "Configured multinic1=Configured"
	var texts []string
	for _, w := range wishes {
		c.Want(w)
		bed.Eventually(t, "the object", done, func() string { return c.summary(name) })
		texts = append(texts, n.text())
	}
	for i, a := range rows {
		before, wanted := texts[(i+1)%2], texts[i%2]
		var log asked
		times := make(chan struct{}, 1000)
		b.API().Between(n.Host, func(server http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !a.which(r) || a.times != 0 && len(times) >= a.times {
					server.ServeHTTP(w, r)
					return
				}
				times <- struct{}{}
				log.note(r)
				a.meddle(w, r, server)
			})
		})
		c.Want(wishes[i%2])
		if a.times > 0 {
			bed.Eventually(t, a.name+": the object", done, func() string { return c.summary(name) })
		} else {
			bed.Eventually(t, a.name+": it is asked again", "twice", func() string {
				if _, again := log.least(); again < 2 {
					return "not yet"
				}
				return "twice"
			})
			if got := c.summary(name); got == done {
				t.Errorf("%s: the object's status is %q", a.name, got)
			}
		}
		bed.Eventually(t, a.name+": it does so often enough", "true", func() string { return strconv.FormatBool(len(times) >= max(1, a.times)) })
		// Dates are of whole seconds.
		if gap, _ := log.least(); a.patient && gap < patience-time.Second {
			t.Errorf("%s: it was asked again after %v", a.name, gap)
		}
		got := n.outcome(a.name, n.text(), before, wanted)
		table.set(a.name, table.columns[0], got)
		if got != a.during {
			t.Errorf("%s: the host is %s, want %s", a.name, got, a.during)
		}
		if got := n.nics(); got != "multinic1 Configured Configured" { // of what it knows
			t.Errorf("%s: the status says %q", a.name, got)
		}
		b.API().Between(n.Host, nil)
		bed.Eventually(t, a.name+": the object, once it answers", done, func() string { return c.summary(name) })
		table.set(a.name, table.columns[1], n.outcome(a.name, n.text(), before, wanted))
		if t.Failed() {
			return
		}
	}
	if now, err := n.DaemonPID(t.Context()); err != nil || now != pid {
		t.Errorf("multinicd was process %d, and is %d (%v)", pid, now, err)
	}
}

// The API server goes away in the middle of a change: what answered before it must answer after it, whoever is to blame.
func hangsInMidChange(t *testing.T, table *matrix) {
	b := bed.New(t)
	c := newCluster(t, b)
	const name = "hangs"
	n := c.newMember(name, testhost.Options{})
	n.stop()
	n.Sh("systemctl set-environment 'MULTINICD_FAILPOINT=stop probe'")
	n.start()
	before := n.text()
	kernel, err := n.MonitorKernel()
	if err != nil {
		t.Fatal(err)
	}
	defer kernel.Stop()
	c.Want(object(name, entry(1, mac1, "192.168.100.10/24")))
	n.eventually("multinicd before the probe", "T", n.DaemonState)
	b.API().Hang(n.Host)
	resumed := time.Now()
	n.resume()
	n.eventually("the host while the API server hangs", before, n.text)
	n.eventually("the status while the API server hangs", "multinic1 Failed ProbeFailed", n.nics)
	table.set(hangs, table.columns[0], asBefore)
	if _, gone := held(t, kernel, "192.168.100.10"); gone.IsZero() || gone.Sub(resumed) > undoneIn {
		t.Errorf("it was resumed at %v, and the address went at %v", resumed, gone)
	} else {
		t.Logf("undone after %v", gone.Sub(resumed))
	}
	b.API().Heal(n.Host)
	bed.Eventually(t, "the object", "Failed multinic1=ProbeFailed", func() string { return c.summary(name) })
	// The same would be tried again after a minute; another wish is at once.
	c.Want(object(name, entry(1, mac1, "192.168.100.11/24")))
	bed.Eventually(t, "the object, once the API server answers", "Configured multinic1=Configured", func() string { return c.summary(name) })
	table.set(hangs, table.columns[1], asWanted)
}
