package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"multinicd/test/bed/artifact"
	"multinicd/test/bed/measure"
)

// compare prints a table of the last two releases of the history, or of the last one and a run.
func (b *bench) compare(run string) error {
	root, err := artifact.RepositoryRoot()
	if err != nil {
		return err
	}
	h, err := measure.ReadHistory(filepath.Join(root, measure.Folder))
	if err != nil {
		return err
	}
	text, err := comparison(h, run)
	if err != nil {
		return err
	}
	fmt.Println(text)
	return nil
}

func comparison(h measure.History, run string) (string, error) {
	versions := h.Versions()
	if run == "" {
		if len(versions) < 2 {
			return "", errors.New("the history has fewer than two releases: name the results.json of a run (make bench-compare RUN=FILE)")
		}
		return measure.Compare(h.Of(versions[len(versions)-2]), h.Of(versions[len(versions)-1])), nil
	}
	text, err := os.ReadFile(run)
	if err != nil {
		return "", fmt.Errorf("reading the run: %w", err)
	}
	var now measure.History
	if strings.HasSuffix(run, ".csv") {
		if now, err = measure.ParseHistory(text); err != nil {
			return "", err
		}
		if all := now.Versions(); len(all) > 0 {
			now = now.Of(all[len(all)-1])
		}
	} else {
		var r results
		if err := json.Unmarshal(text, &r); err != nil {
			return "", fmt.Errorf("reading the run: %w", err)
		}
		for _, f := range r.figures() {
			now = append(now, measure.Entry{Version: r.Version, Commit: r.Commit, Figure: f})
		}
	}
	if len(now) == 0 {
		return "", fmt.Errorf("%s has no figures", run)
	}
	// A run of a version that is in the history already is compared with the one before it.
	versions = slices.DeleteFunc(versions, func(v string) bool { return v == now[0].Version })
	if len(versions) == 0 {
		return "", errors.New("the history has no other release")
	}
	return measure.Compare(h.Of(versions[len(versions)-1]), now), nil
}
