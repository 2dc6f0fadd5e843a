package house

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// A newcomer reads these files in an hour. A file that has grown, or a comment that runs out of the
// window, costs each newcomer again.
func TestFilesOfTheReadingListsAreShort(t *testing.T) {
	const lines, columns, fewest = 200, 100, 13
	files := readingLists(t)
	if len(files) < fewest {
		t.Fatalf("the reading lists name %d files, want %d or more: %v", len(files), fewest, files)
	}
	for _, file := range files {
		text := strings.Split(strings.TrimSuffix(read(t, file), "\n"), "\n")
		if len(text) >= lines {
			t.Errorf("%s has %d lines, want fewer than %d", file, len(text), lines)
		}
		for _, n := range commented(t, file) {
			if utf8.RuneCountInString(text[n-1]) > columns {
				t.Errorf("%s:%d: a comment goes beyond column %d", file, n, columns)
			}
		}
	}
}

// readingLists gives the Go files that the reading lists of CONTRIBUTING.md lead to.
func readingLists(t *testing.T) (files []string) {
	t.Helper()
	_, section, ok := strings.Cut(read(t, "CONTRIBUTING.md"), "\n## An hour of reading\n")
	if !ok {
		t.Fatal("CONTRIBUTING.md has lost its reading lists")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, m := range regexp.MustCompile(`\]\(([^)]+\.go)\)`).FindAllStringSubmatch(section, -1) {
		files = append(files, m[1])
	}
	return files
}

// commented gives the numbers of the lines of a file on which a comment stands.
func commented(t *testing.T, file string) (lines []int) {
	t.Helper()
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, filepath.Join(root, file), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range parsed.Comments {
		for _, c := range group.List {
			for n := set.Position(c.Pos()).Line; n <= set.Position(c.End()).Line; n++ {
				lines = append(lines, n)
			}
		}
	}
	return lines
}

// A row for a room that is not there reads as if it were.
func TestEveryRoomOfTheTablesIsThere(t *testing.T) {
	r := readRules(t)
	there := func(room string) {
		if found, err := os.Stat(filepath.Join(root, room)); err != nil || !found.IsDir() {
			t.Errorf("CONTRIBUTING.md has a room %s, and there is no such folder", room)
		}
	}
	for room, may := range r.rooms {
		there(room)
		for _, other := range may {
			if other != "anything" {
				there(other)
			}
		}
	}
	for _, rooms := range r.libraries {
		for _, room := range rooms {
			if room != "test files" {
				there(room)
			}
		}
	}
}
