// Package page reads the commands on a page for users, and what the page says they print, so that tests can follow the page.
//
// In goes the path of a Markdown page; out come its steps, and what the output of one lacks.
//
// It runs nothing: where the commands run is the test's matter.
//
// Start reading at Steps.
package page

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"multinicd/test/bed/artifact"
)

// Step is a block of commands on a page, and what the page says they print: lines in which "..." stands for
// anything. They may print more.
type Step struct{ Script, Want string }

var block = regexp.MustCompile("(?s)```(sh|text)\n(.*?)```\n")

// Steps gives those under a heading of a page of the repository: its blocks of sh, each with the block of text that follows.
func Steps(t testing.TB, path, heading string) []Step {
	t.Helper()
	root, err := artifact.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no section %q", path, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var all []Step
	for _, m := range block.FindAllStringSubmatch(section, -1) {
		if m[1] == "sh" {
			all = append(all, Step{Script: m[2]})
		} else {
			all[len(all)-1].Want = m[2]
		}
	}
	return all
}

// Lacking are the lines that the page promises, and that are not in what the step has printed, in the order of the page. Blanks count as one.
func (s Step) Lacking(out string) []string {
	var lacking []string
	for want := range strings.Lines(s.Want) {
		line := regexp.QuoteMeta(strings.Join(strings.Fields(want), " "))
		line = strings.ReplaceAll(line, regexp.QuoteMeta("..."), ".*")
		if !regexp.MustCompile(`(?m)^\s*` + strings.ReplaceAll(line, " ", `\s+`) + `\s*$`).MatchString(out) {
			lacking = append(lacking, strings.TrimSpace(want))
		}
	}
	return lacking
}
