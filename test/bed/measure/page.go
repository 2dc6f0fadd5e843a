package measure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What stands between these lines of a page is written here, and nothing else of it.
const (
	resultsBegin = "<!-- results: written by make bench -->\n"
	resultsEnd   = "<!-- end of results -->\n"
)

// Result is what was measured for one page.
type Result struct {
	Page    string // its name without .md
	Data    any    // for the file of that name with .json; nil: none
	Text    string // Markdown
	Files   map[string]string
	Figures []Figure // for the history
	// Anywhere is for what does not depend on how busy the machine is.
	Anywhere bool
}

// Write prints a result, and writes it at once: what fails later loses nothing.
func (r *Run) Write(ctx context.Context, s Stamp, x Result) error {
	fmt.Print(x.Text)
	if r.Out == "" {
		return nil
	}
	if err := s.quiet(); err != nil && !x.Anywhere {
		return err
	}
	was := r.Commit
	if err := r.look(ctx); err != nil {
		return err
	}
	if r.Commit != was {
		return fmt.Errorf("the tree was of commit %s and is of %s now: nobody knows what was measured", was, r.Commit)
	}
	if err := r.write(x); err != nil {
		return err
	}
	return r.remember(s, x)
}

// write puts text, data and more files into the folder. A page that is not there is made after that of the repository.
func (r *Run) write(x Result) error {
	name := x.Page + ".md"
	page, err := os.ReadFile(filepath.Join(r.Out, name))
	if errors.Is(err, fs.ErrNotExist) {
		page, err = os.ReadFile(filepath.Join(r.Root, Folder, name))
	}
	if err != nil {
		return fmt.Errorf("reading the page: %w", err)
	}
	head, rest, ok := strings.Cut(string(page), resultsBegin)
	_, tail, ok2 := strings.Cut(rest, resultsEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s in %s has lost its markers %q and %q", name, r.Out, resultsBegin, resultsEnd)
	}
	files := maps.Clone(x.Files)
	if files == nil {
		files = map[string]string{}
	}
	if x.Data != nil {
		data, err := json.MarshalIndent(x.Data, "", " ")
		if err != nil {
			return fmt.Errorf("encoding the results: %w", err)
		}
		data = append(data, '\n')
		if x.Page == "README" {
			files["results.json"] = string(data)
		} else {
			files[x.Page+".json"] = string(data)
		}
	}
	files[name] = head + resultsBegin + "\n" + strings.TrimSpace(x.Text) + "\n\n" + resultsEnd + tail
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(r.Out, name), []byte(files[name]), 0o644); err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
	}
	return nil
}
