package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	v1 "multinicd/api/v1"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/measure"
	"multinicd/test/bed/monitor"
)

// The plots' and the text's functions are held to well-formed output; the rest to what a number would be wrong by.

func TestReplay(t *testing.T) {
	t.Parallel()
	from := link{Name: "multinic1", MTU: 1500, Addresses: []string{"192.168.100.10/24"}}
	want := link{Name: "multinic1", MTU: 1500, Addresses: []string{"192.168.100.11/24"}}
	begin := time.Unix(1000, 0)
	event := func(after int, gone bool, what, on, text string) monitor.Event {
		return monitor.Event{Time: begin.Add(time.Duration(after)), Gone: gone, What: what, Link: on, Text: text}
	}
	added := event(1, false, "address", "multinic1", "192.168.100.11/24")
	removed := event(2, true, "address", "multinic1", "192.168.100.10/24")
	for name, row := range map[string]struct {
		events        []monitor.Event
		first, became int // 0: never
		foreign       int
	}{
		"the new address alone is not enough":          {events: []monitor.Event{added}, first: 1},
		"it counts when the old one is gone":           {events: []monitor.Event{added, removed}, first: 1, became: 2},
		"routes of the link and IPv6 change nothing":   {events: []monitor.Event{added, removed, event(3, false, "route", "multinic1", "x"), event(4, false, "address", "multinic1", "fe80::1/64")}, first: 1, became: 2},
		"a flap afterwards makes it as late as it was": {events: []monitor.Event{added, removed, event(3, true, "address", "multinic1", "192.168.100.11/24"), event(4, false, "address", "multinic1", "192.168.100.11/24")}, first: 1, became: 4},
		"a wrong MTU at the end is not as wanted":      {events: []monitor.Event{added, removed, event(3, false, "link", "multinic1", "mtu 1400 state up")}, first: 1},
		"other links and rules are foreign":            {events: []monitor.Event{added, event(1, false, "link", "eth0", "mtu 1500 state up"), event(1, true, "rule", "", "priority 100"), removed}, first: 1, became: 2, foreign: 2},
		"nothing happened":                             {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, first, became, foreign := replay(from, row.events, want)
			since := func(at time.Time) int {
				if at.IsZero() {
					return 0
				}
				return int(at.Sub(begin))
			}
			if since(first) != row.first || since(became) != row.became || foreign != row.foreign {
				t.Errorf("got %d %d %d, want %d %d %d", since(first), since(became), foreign, row.first, row.became, row.foreign)
			}
		})
	}
}

func TestRenamedLinkIsFollowed(t *testing.T) {
	t.Parallel()
	to, _, became, foreign := replay(link{Name: "eth1", MTU: 1500}, []monitor.Event{
		{Time: time.Unix(1, 0), What: "link", Link: "multinic1", Text: "mtu 1500 state up flags up renamed from eth1"},
		{Time: time.Unix(2, 0), What: "link", Link: "multinic1", Text: "mtu 1400 state up flags up"},
	}, link{Name: "multinic1", MTU: 1400})
	if became != time.Unix(2, 0) || foreign != 0 {
		t.Errorf("got %s at %s, %d foreign", to, became, foreign)
	}
}

func TestNextDiffersInOneThing(t *testing.T) {
	t.Parallel()
	l := link{Name: "multinic1", MTU: 1499, Addresses: []string{"192.168.100.209/24"}}
	for range 400 {
		a, m := next(l, kindAddress), next(l, kindMTU)
		if cmp.Equal(a.Addresses, l.Addresses) || a.MTU != l.MTU || m.MTU == l.MTU || !cmp.Equal(m.Addresses, l.Addresses) || m.MTU < 1300 || m.MTU > 1500 {
			t.Fatalf("after %s: %s and %s", l, a, m)
		}
		l = link{Name: l.Name, MTU: m.MTU, Addresses: a.Addresses}
	}
}

func TestCountFindsConfiguredThatWasWrittenEarly(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1000, 0)
	request := func(after int, user, resource, sub string) controlplane.Request {
		var r controlplane.Request
		r.Received, r.User.Username = begin.Add(time.Duration(after)*time.Millisecond), user
		r.ObjectRef.Resource, r.ObjectRef.Subresource = resource, sub
		return r
	}
	changes := []change{
		{Accepted: begin, Sent: -1, Kernel: 20, Configured: 50},
		{Accepted: begin.Add(time.Second), Sent: -1, Kernel: 40, Configured: 50},
	}
	count(changes, []controlplane.Request{
		request(2, bridgeUser, "multinicnodeconfigs", "status"), // InProgress
		request(30, daemonUser, "configmaps", ""),
		request(35, bridgeUser, "multinicnodeconfigs", "status"),
		request(36, "admin", "multinicnodeconfigs", ""),
		request(400, daemonUser, "leases", ""),
		request(1030, bridgeUser, "multinicnodeconfigs", "status"),
	})
	want := []change{
		{Accepted: begin, Sent: -1, Kernel: 20, Reported: 30, Stated: 35, Configured: 50, Daemon: 2, Bridge: 2},
		{Accepted: begin.Add(time.Second), Sent: -1, Kernel: 40, Stated: 30, Configured: 50, Bridge: 1, Early: true},
	}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLostCountsWhatIsNoMore(t *testing.T) {
	t.Parallel()
	if got := lost([]string{"a", "b", "c"}, []string{"c", "d", "a"}); got != 1 {
		t.Errorf("got %d, want 1", got)
	}
}

func TestReadUsage(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"/p/status": "Name:\tmultinicd\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\nRssAnon:\t    5120 kB\nThreads:\t8\n",
		"/p/stat":   "12 (a ) b) S 1 12 12 0 -1 4194560 2000 0 0 0 150 50 0 0 20 0 8 0\n",
	}
	got, err := readUsage("/p", func(name string) ([]byte, error) { return []byte(files[name]), nil })
	if want := (usage{RSS: 10, Anon: 5, Peak: 20, CPU: 2, Threads: 8}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

// sample is results as a run of two changes would give.
func sample() results {
	changes := []change{{Number: 1, Kernel: 20, Touched: 19, Reported: 40, Stated: 45, Configured: 50, Daemon: 2, Bridge: 2, Persisted: true}, {Number: 2, Kernel: 900, Configured: 2000, Early: true}}
	return results{Changes: 2, Series: []series{{"off", kindAddress, changes, 0}, {"off", kindMTU, changes, 0}, {"fast", kindAddress, changes, 1}},
		Methods: []method{{Name: "ip <&>", Lasts: "no", Kernel: []float64{1}, Ended: []float64{2}, Foreign: []int{3}, Lost: []int{4}}, {Name: "never", Missed: 1}}}
}

func TestPagesHaveNumbers(t *testing.T) {
	t.Parallel()
	page := sample().page()
	for _, name := range []string{latencyPlot, methodsPlot} {
		if text := page.Files[name]; !strings.Contains(text, "<path") || strings.Contains(text, "Inf") {
			t.Errorf("%s has no line:\n%s", name, text)
		}
	}
	if lines := strings.Count(page.Files[changesFile], "\n"); lines != 7 {
		t.Errorf("%s has %d lines, want 7", changesFile, lines)
	}
	var values []float64
	for _, f := range page.Figures {
		values = append(values, f.Value)
	}
	if diff := cmp.Diff([]float64{20, 50, 2000, 2, 0, 0, 0}, values); diff != "" {
		t.Errorf("figures (-want +got):\n%s", diff)
	}
}

func TestComparisonTakesTheReleaseBefore(t *testing.T) {
	t.Parallel()
	of := func(version string, v float64) measure.Entry {
		return measure.Entry{Version: version, Commit: "c" + version, Figure: measure.Figure{Name: "requests per change", Value: v, Unit: "requests"}}
	}
	h := measure.History{of("1", 8), of("2", 4), of("3", 2)}
	file := func(name string, v any) string {
		path := filepath.Join(t.TempDir(), name)
		text, err := json.Marshal(v)
		if s, ok := v.(string); ok {
			text = []byte(s)
		}
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	run := sample()
	run.Version, run.Commit = "4", "c4"
	for name, row := range map[string]struct {
		history   measure.History
		run, want string // want empty: an error
	}{
		"the last two releases":                         {h, "", "| requests per change | requests | 4 | 2 | 0.50 | better |"},
		"a run and the last release":                    {h, file("results.json", run), "| requests per change | requests | 2 | 2 | 1.00 | same |"},
		"the history of a run":                          {h, file("history.csv", append(h, of("4", 3)).String()), "| requests per change | requests | 2 | 3 | 1.50 | **worse** |"},
		"a run of the last release, and the one before": {h, file("history.csv", h.String()), "| requests per change | requests | 4 | 2 | 0.50 | better |"},
		"one release, and no run":                       {h[:1], "", ""},
		"a run that is not there":                       {h, "nowhere.json", ""},
		"no history at all":                             {nil, file("results.json", run), ""},
		"a file without figures":                        {h, file("history.csv", "version,commit,date,figure,value,unit,machine\n"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := comparison(row.history, row.run)
			if row.want == "" && err == nil || !strings.Contains(got, row.want) {
				t.Errorf("got %v\n%s\nwant %s", err, got, row.want)
			}
		})
	}
}

// Each page of the folder that says it is written by make bench has a step that writes it, and each step has its page. That of beyond.md is fleet and scale, that of herd.md fleet.
func TestEveryPageHasAStep(t *testing.T) {
	t.Parallel()
	const dir = "../../../docs/performance/"
	files, err := filepath.Glob(dir + "*.md")
	if err != nil {
		t.Fatal(err)
	}
	var written []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "<!-- results: written by make bench -->") && !slices.Contains([]string{"beyond.md", "herd.md"}, filepath.Base(file)) {
			written = append(written, strings.TrimSuffix(filepath.Base(file), ".md"))
		}
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(pages((&bench{}).steps()))), slices.Sorted(slices.Values(written))); diff != "" {
		t.Errorf("-steps +pages:\n%s", diff)
	}
}

func TestDriftSaysWhetherTheAimIsMet(t *testing.T) {
	t.Parallel()
	waits := []wait{{"soon", "off", []float64{1, 2}}, {"late", "fast", []float64{10, 1000.5}}}
	text := driftText(waits, measure.Stamp{LoadBefore: "1.0", LoadAfter: "2.0"}, machine{})
	for _, want := range []string{"| soon | off | 2 | 1 | 2 | 2 | 2 | yes |", "| late | fast | 2 | 10 | 1000 | 1000 | 1000 | **no** |", "1.0, 2.0"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if got, want := driftCSV(waits), "what,dad,try,ms\n\"soon\",off,1,1.000\n\"soon\",off,2,2.000\n\"late\",fast,1,10.000\n\"late\",fast,2,1000.500\n"; got != want {
		t.Errorf("got\n%s", got)
	}
}

// An object may have 64 NICs, so each way is measured with as many, whose scripts and object name each of them once.
func TestBackendsAreMeasuredWithAsManyNICsAsAnObjectMayHave(t *testing.T) {
	t.Parallel()
	most := howMany[len(howMany)-1].nics
	if most != v1.MaxInterfaces {
		t.Errorf("measured with %d NICs at most, and an object may have %d", most, v1.MaxInterfaces)
	}
	for _, w := range []way{plainIP, byNetplan, byNmcli, {"object", addressesObject}} {
		if got := strings.Count(w.script(most, 3), "10.100.64.13/24"); got != 1 {
			t.Errorf("%s gives the last NIC its address %d times", w.name, got)
		}
	}
}
