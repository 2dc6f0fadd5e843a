package measure

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAwaitQuiet(t *testing.T) {
	for name, row := range map[string]struct {
		looks  []seen // the last one goes on
		load   float64
		errs   bool
		waited time.Duration
		said   []string
	}{
		"a quiet machine is not waited for": {looks: []seen{{0.1, 1}}, load: 0.5, waited: 10 * time.Second},
		"load and others, each with what is wanted, once a minute": {
			looks: []seen{{4.1, 87}, {4, 80}, {3, 60}, {2, 9}, {1, 2}, {0.6, 1}, {0.6, 1}, {0.4, 1}}, load: 0.5, waited: 80 * time.Second,
			said: []string{
				"waiting for a quiet machine: load 4.1, wanted below 0.5; others use 87 % of the processors, wanted below 5 %; giving up in 4m50s",
				"waiting for a quiet machine: load 0.6, wanted below 0.5; giving up in 3m50s",
			}},
		"the load does not count once our own things run": {looks: []seen{{7, 1}}, load: math.Inf(1), waited: 10 * time.Second},
		"it is given up": {looks: []seen{{7, 50}}, load: 0.5, errs: true, waited: 5 * time.Minute, said: []string{"giving up in 4m50s", "3m50s", "2m50s", "1m50s", "50s"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				var said []string
				i := -1
				err := awaitQuiet(t.Context(), 5*time.Minute, row.load, func(f string, args ...any) { said = append(said, fmt.Sprintf(f, args...)) }, func() (seen, error) {
					time.Sleep(quietWindow) // on the bubble's clock
					i = min(i+1, len(row.looks)-1)
					return row.looks[i], nil
				})
				if errors.Is(err, errBusy) != row.errs || time.Since(begin) != row.waited || len(said) != len(row.said) {
					t.Fatalf("%v after %s, said %q", err, time.Since(begin), said)
				}
				for i, want := range row.said {
					if !strings.Contains(said[i], want) {
						t.Errorf("said %q, want %q", said[i], want)
					}
				}
			})
		})
	}
}

func TestOthersAreWhatIsBusyAndNotOurs(t *testing.T) {
	busy, total, err := parseStat("cpu  1000 200 300 5000 100 50 60 70 5 5\ncpu0 1 2 3\n")
	if err != nil || math.Abs(busy-15.7) > 1e-9 || math.Abs(total-67.8) > 1e-9 {
		t.Errorf("busy %v, total %v, %v", busy, total, err)
	}
	if _, _, err := parseStat("intr 5\n"); err == nil {
		t.Error("a text without processors was read")
	}
	before := stat{busy: 10, total: 100, own: 5}
	for name, row := range map[string]struct {
		now  stat
		want float64
	}{
		"half of what is busy is ours":                      {stat{busy: 30, total: 200, own: 15}, 10},
		"all is ours, and rounding makes it more than that": {stat{busy: 30, total: 200, own: 25.1}, 0},
		"no time has passed":                                {before, 0},
	} {
		if got := row.now.others(before); math.Abs(got-row.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", name, got, row.want)
		}
	}
}

// repository is one with a page and a version.
func repository(t *testing.T) *Run {
	t.Helper()
	r := &Run{Root: t.TempDir(), Version: "1.2.3"}
	r.Out = filepath.Join(r.Root, "new", "folder")
	for name, text := range map[string]string{"VERSION": "1.2.3\n", Folder + "/page.md": "# Page\n\n" + resultsBegin + "old\n" + resultsEnd + "\nthe end\n", Folder + "/bare.md": "no markers\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(r.Root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.Root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git(t, r, "init", "--quiet")
	commit(t, r)
	if err := r.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := writable(r.Out); err != nil {
		t.Fatal(err)
	}
	return r
}

func git(t *testing.T, r *Run, args ...string) {
	t.Helper()
	c := exec.Command("git", append([]string{"-c", "user.name=test", "-c", "user.email=test@example.org", "-C", r.Root}, args...)...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}

func commit(t *testing.T, r *Run) {
	t.Helper()
	git(t, r, "add", "--all")
	git(t, r, "commit", "--quiet", "--allow-empty", "--message", "test")
}

// A folder that is not there yet gets the whole page, and a second run replaces the results of the first and nothing else.
func TestWriteKeepsThePageAroundTheResults(t *testing.T) {
	r := repository(t)
	r.Out = filepath.Join(r.Root, Folder, "new") // below it, what is written makes no tree another one
	if err := writable(r.Out); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"first\n", "second\n"} {
		x := Result{Page: "page", Data: map[string]int{"n": 1}, Text: text, Files: map[string]string{"more.csv": "a\n"}, Figures: []Figure{{"f", 1, "ms"}}}
		if err := r.Write(t.Context(), Stamp{Others: 1}, x); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, name := range []string{"page.md", "page.json", "more.csv", historyFile} {
			b, err := os.ReadFile(filepath.Join(r.Out, name))
			if err != nil {
				t.Fatal(err)
			}
			got[name] = string(b)
		}
		want := map[string]string{"page.md": "# Page\n\n" + resultsBegin + "\n" + text + "\n" + resultsEnd + "\nthe end\n", "page.json": "{\n \"n\": 1\n}\n", "more.csv": "a\n",
			historyFile: "version,commit,date,figure,value,unit,machine\n1.2.3," + r.Commit + ",0001-01-01,f,1,ms,quiet\n"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	for name, row := range map[string]struct {
		stamp     Stamp
		page      string
		anywhere  bool
		meanwhile func(t *testing.T, r *Run)
		want      string // of the error; empty: it is written
	}{
		"what was measured beside others":     {stamp: Stamp{Others: 12}, page: "page", want: "others used 12.0 %"},
		"not what does not depend on others":  {stamp: Stamp{Others: 12}, page: "page", anywhere: true},
		"a page that has lost its markers":    {page: "bare", want: "lost its markers"},
		"a page that nobody has":              {page: "none", want: "reading the page"},
		"a tree that was changed meanwhile":   {page: "page", want: "not that of a commit", meanwhile: func(t *testing.T, r *Run) { change(t, r, "VERSION") }},
		"a commit that was made meanwhile":    {page: "page", want: "nobody knows", meanwhile: func(t *testing.T, r *Run) { change(t, r, "VERSION"); commit(t, r) }},
		"not where only results were written": {page: "page", meanwhile: func(t *testing.T, r *Run) { change(t, r, Folder+"/bare.md") }},
	} {
		t.Run(name, func(t *testing.T) {
			r := repository(t)
			git(t, r, "clean", "-qfd") // the folder for results
			r.Out = t.TempDir()
			if row.meanwhile != nil {
				row.meanwhile(t, r)
			}
			err := r.Write(t.Context(), row.stamp, Result{Page: row.page, Text: "x", Anywhere: row.anywhere})
			_, there := os.Stat(filepath.Join(r.Out, row.page+".md"))
			if row.want == "" && (err != nil || there != nil) || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want) || there == nil) {
				t.Errorf("got %v, the page: %v; want %q", err, there, row.want)
			}
		})
	}
}

func change(t *testing.T, r *Run, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.Root, name), []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAFolderThatCannotBeWrittenIsToldBefore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writable(filepath.Join(file, "folder")); err == nil {
		t.Error("a folder below a file was taken")
	}
}

// All that is missing is told at once, before anything is measured.
func TestPrepareTellsAllThatIsMissing(t *testing.T) {
	r := &Run{Out: t.TempDir(), Of: "another", Logf: t.Logf}
	err := r.Prepare(context.Background(), Needs{Memory: 1e6, Disk: 1e9})
	if err == nil {
		t.Fatal("a machine with a petabyte was found", r.Close())
	}
	for _, want := range []string{"GiB of memory are free, 1000000.0 are needed", "1000000000.0 are needed", "commit"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}

func entry(version, name string, v float64) Entry {
	return Entry{version, "c" + version, "2026-01-02", Figure{name, v, "ms"}, "quiet"}
}

func TestHistoryIsReadAsItIsWritten(t *testing.T) {
	h := History{entry("1", "a, with a comma", 1.5), entry("1", `b "quoted"`, 2), entry("2", "b", 1e-3), entry("2", "bytes", 164930)}
	if !strings.Contains(h.String(), ",164930,") {
		t.Errorf("bytes are not written as such:\n%s", h)
	}
	got, err := ParseHistory([]byte(h.String()))
	if diff := cmp.Diff(h, got); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	for _, bad := range []string{"a,b\n", "version,commit,date,figure,value,unit,machine\n1,2,3,4,five,6,7\n", "version,commit,date,figure,value,unit,machine\n1,2\n"} {
		if _, err := ParseHistory([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestARunReplacesTheFiguresOfItsVersion(t *testing.T) {
	h := History{entry("1", "a", 1), entry("1", "b", 2), entry("2", "a", 3), entry("2", "b", 4)}
	got := h.With(entry("1", "c", 5), entry("2", "a", 6), entry("3", "a", 7))
	want := History{entry("1", "a", 1), entry("1", "b", 2), entry("1", "c", 5), entry("2", "a", 6), entry("2", "b", 4), entry("3", "a", 7)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if h[2].Value != 3 {
		t.Error("the history before it was changed")
	}
}

func TestCompare(t *testing.T) {
	busy := entry("2", "busy", 1)
	busy.Machine = "busy"
	got := Compare(History{entry("1", "same", 100), entry("1", "better", 100), entry("1", "worse", 100), entry("1", "busy", 2), entry("1", "zero", 0), entry("1", "gone", 1)},
		History{entry("2", "same", 109), entry("2", "better", 80), entry("2", "worse", 120), busy, entry("2", "zero", 1), entry("2", "new", 1)})
	want := `| figure | unit | 1 (c1) | 2 (c2) | ratio |  |
|---|---|---|---|---|---|
| same | ms | 100 | 109 | 1.09 | same |
| better | ms | 100 | 80 | 0.80 | better |
| worse | ms | 100 | 120 | 1.20 | **worse** |
| busy | ms | 2 | 1 | 0.50 | better (one was of a busy machine) |
| zero | ms | 0 | 1 | - | **worse** |
| new | ms | - | 1 | - | new |
| gone | ms | 1 | - | - | not measured |`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPlotsAreWellFormed(t *testing.T) {
	times := Shares("times <&>", "")
	times.Share("none", nil, Blue, false)
	times.Share("some", []float64{0.5, 20, 3000}, Orange, true)
	times.Marks = []Mark{{"aim", 60}}
	for name, row := range map[string]struct {
		plot Plot
		want []string
	}{
		"nothing":         {Plot{}, nil},
		"shares":          {times, []string{"some: p50 20, max 3000 ms", "75 %", "5000"}},
		"from 10 to 1e6":  {Plot{X: Axis{Log: true}, Y: Axis{Log: true}, Lines: []Line{{Name: "l", X: []float64{10, 1000}, Y: []float64{7, 1e6}}}}, []string{">10<", ">1000<", "<circle"}},
		"one release":     {History{entry("1", "a", 1)}.Plot(), []string{">1<"}},
		"a regression":    {History{entry("1", "a", 1), entry("2", "a", 3), entry("2", "b", 1)}.Plot(), []string{"a: 3.00", ">2<", "<circle"}},
		"a figure of nil": {History{entry("1", "a", 0), entry("2", "a", 3)}.Plot(), nil},
	} {
		text := row.plot.SVG()
		for d := xml.NewDecoder(strings.NewReader(text)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, text)
			}
		}
		if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
			t.Errorf("%s has no numbers:\n%s", name, text)
		}
		for _, want := range row.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in\n%s", name, want, text)
			}
		}
	}
}

func TestQuantileIsAMeasuredValue(t *testing.T) {
	t.Parallel()
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for p, want := range map[float64]float64{0: 1, 50: 50, 90: 90, 99: 99, 100: 100} {
		if got := Quantile(hundred, p); got != want {
			t.Errorf("p%.0f is %v, want %v", p, got, want)
		}
	}
	if got := Quantile([]float64{7}, 50); got != 7 {
		t.Errorf("of one value: %v", got)
	}
	if got := Quantile(nil, 50); !math.IsNaN(got) {
		t.Errorf("of none: %v", got)
	}
}
