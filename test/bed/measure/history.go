package measure

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Figure is one number of a result, of which less is better.
type Figure struct {
	Name  string
	Value float64
	Unit  string
}

// Entry is a line of the history: a figure of a release.
type Entry struct {
	Version, Commit, Date string
	Figure
	// Machine is "quiet", "busy" where figures of time say little, or "any" where they are bytes and counts.
	Machine string
}

const (
	historyFile = "history.csv"
	historyPlot = "history.svg"
)

var historyHead = []string{"version", "commit", "date", "figure", "value", "unit", "machine"}

// History is in the order of the file: versions as they came, and in each the figures as they were measured.
type History []Entry

// ParseHistory reads history.csv.
func ParseHistory(text []byte) (History, error) {
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("reading the history: %w", err)
	}
	var h History
	for i, row := range rows {
		if i == 0 {
			if !slices.Equal(row, historyHead) {
				return nil, fmt.Errorf("reading the history: its columns are %q, want %q", row, historyHead)
			}
			continue
		}
		v, err := strconv.ParseFloat(row[4], 64)
		if err != nil {
			return nil, fmt.Errorf("reading line %d of the history: %w", i+1, err)
		}
		h = append(h, Entry{row[0], row[1], row[2], Figure{row[3], v, row[5]}, row[6]})
	}
	return h, nil
}

// String is history.csv.
func (h History) String() string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write(historyHead) // into memory
	for _, e := range h {
		_ = w.Write([]string{e.Version, e.Commit, e.Date, e.Name, digits(e.Value), e.Unit, e.Machine})
	}
	w.Flush()
	return b.String()
}

// digits are five that count, or all before the point.
func digits(v float64) string {
	if math.Abs(v) >= 1e5 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 5, 64)
}

// With has new entries in the place of those of the same version and figure. A version that is not there comes last.
func (h History) With(entries ...Entry) History {
	out := slices.Clone(h)
	for _, e := range entries {
		at, last := -1, -1
		for i, o := range out {
			if o.Version == e.Version {
				last = i
				if o.Name == e.Name {
					at = i
				}
			}
		}
		switch {
		case at >= 0:
			out[at] = e
		case last >= 0:
			out = slices.Insert(out, last+1, e)
		default:
			out = append(out, e)
		}
	}
	return out
}

// Versions are the releases, the oldest first.
func (h History) Versions() (versions []string) {
	for _, e := range h {
		if !slices.Contains(versions, e.Version) {
			versions = append(versions, e.Version)
		}
	}
	return versions
}

// Of has the entries of a version.
func (h History) Of(version string) (out History) {
	for _, e := range h {
		if e.Version == version {
			out = append(out, e)
		}
	}
	return out
}

func (h History) figure(name string) (Entry, bool) {
	for _, e := range h {
		if e.Name == name {
			return e, true
		}
	}
	return Entry{}, false
}

// apart is by how much two figures may differ and still say the same: runs of one tree differ by as much.
const apart = 0.1

// Compare is a table of two releases: each figure, then and now.
func Compare(then, now History) string {
	rows := [][]string{{"figure", "unit", title(then), title(now), "ratio", ""}}
	for _, n := range now {
		t, ok := then.figure(n.Name)
		if !ok {
			rows = append(rows, []string{n.Name, n.Unit, "-", Number(n.Value), "-", "new"})
			continue
		}
		rows = append(rows, []string{n.Name, n.Unit, Number(t.Value), Number(n.Value), ratio(t, n), verdict(t, n)})
	}
	for _, t := range then {
		if _, ok := now.figure(t.Name); !ok {
			rows = append(rows, []string{t.Name, t.Unit, Number(t.Value), "-", "-", "not measured"})
		}
	}
	return Table(rows)
}

func ratio(t, n Entry) string {
	if t.Value == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", n.Value/t.Value)
}

func verdict(t, n Entry) string {
	word := "same"
	if math.Abs(n.Value-t.Value) > apart*max(math.Abs(t.Value), math.Abs(n.Value)) {
		word = "better"
		if n.Value > t.Value {
			word = "**worse**"
		}
	}
	if t.Machine == "busy" || n.Machine == "busy" {
		word += " (one was of a busy machine)"
	}
	return word
}

func title(h History) string {
	var commits []string
	for _, e := range h {
		if !slices.Contains(commits, e.Commit) {
			commits = append(commits, e.Commit)
		}
	}
	if len(h) == 0 {
		return "-"
	}
	return h[0].Version + " (" + strings.Join(commits, ", ") + ")"
}

// ReadHistory reads that of a folder. Where there is none it has nothing in it.
func ReadHistory(dir string) (History, error) {
	text, err := os.ReadFile(filepath.Join(dir, historyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the history: %w", err)
	}
	return ParseHistory(text)
}

// WriteHistory writes it into a folder, with its plot.
func WriteHistory(dir string, h History) error {
	for name, text := range map[string]string{historyFile: h.String(), historyPlot: h.Plot().SVG()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing the history: %w", err)
		}
	}
	return nil
}

// remember puts figures into the history of the run's folder, which begins as that of the repository.
func (r *Run) remember(s Stamp, x Result) error {
	if len(x.Figures) == 0 {
		return nil
	}
	h, err := ReadHistory(r.Out)
	if err == nil && h == nil {
		h, err = ReadHistory(filepath.Join(r.Root, Folder))
	}
	if err != nil {
		return err
	}
	machine := "quiet"
	if x.Anywhere {
		machine = "any"
	}
	for _, f := range x.Figures {
		h = h.With(Entry{r.Version, r.Commit, s.Date.Format("2006-01-02"), f, machine})
	}
	return WriteHistory(r.Out, h)
}

// Plot has each figure that more than one release has, as its ratio to the first.
func (h History) Plot() Plot {
	versions := h.Versions()
	p := Plot{Title: "Figures from release to release", Subtitle: "ratio to the first release that has the figure; less is better", Y: Axis{Log: true, Name: "ratio"}, X: Axis{Labels: versions}}
	var names []string
	for _, e := range h {
		if !slices.Contains(names, e.Name) {
			names = append(names, e.Name)
		}
	}
	for _, name := range names {
		l := Line{Name: name, Colour: Colours[len(p.Lines)%len(Colours)], Dashed: len(p.Lines)/len(Colours)%2 == 1}
		first := 0.0
		for i, v := range versions {
			if e, ok := h.Of(v).figure(name); ok && e.Value > 0 {
				if first == 0 {
					first = e.Value
				}
				l.X, l.Y = append(l.X, float64(i)), append(l.Y, e.Value/first)
			}
		}
		if len(l.X) > 1 {
			l.Note = fmt.Sprintf("%.2f", l.Y[len(l.Y)-1])
			p.Lines = append(p.Lines, l)
		}
	}
	return p
}
