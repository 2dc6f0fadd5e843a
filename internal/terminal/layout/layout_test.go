package layout

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrap(t *testing.T) {
	for name, row := range map[string]struct {
		width                int
		first, rest, s, want string
	}{
		"a pipe has no width":                 {0, "- ", "  ", "one two three", "- one two three\n"},
		"a line that fits":                    {15, "- ", "  ", "one two three", "- one two three\n"},
		"a column too few":                    {14, "- ", "  ", "one two three", "- one two\n  three\n"},
		"a word wider than a line":            {5, "", "  ", "a 2001:db8::1/64 b", "a\n  2001:db8::1/64\n  b\n"},
		"marks take no column":                {7, "", "", Bad("one") + " two", Bad("one") + " two\n"},
		"a mark does not pass a line's end":   {7, "", " ", Bad("one two three"), Bad("one two") + "\n " + Bad("three") + "\n"},
		"letters that take two columns":       {7, "", "", "한국어 a", "한국어\na\n"},
		"nothing leaves no space at the end":  {80, "name: ", "", "", "name:\n"},
		"blanks of the text stay within line": {80, "", "", "a  b", "a  b\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Page{Width: row.width}.Wrap(row.first, row.rest, row.s)
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTable(t *testing.T) {
	got := strings.Join(Table([][]string{{"NIC", "STATE", "THERE"}, {"multinic1", Good("Configured"), "x"}, {"m", ""}}), "\n")
	want := "NIC        STATE       THERE\nmultinic1  " + Good("Configured") + "  x\nm"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFit(t *testing.T) {
	words := []string{"mtu", "1400", "192.0.2.1/24"}
	for room, want := range map[int]string{21: "mtu 1400 192.0.2.1/24", 20: "mtu 1400 +1", 11: "mtu 1400 +1", 10: "mtu +2", 3: "+3"} {
		if got := (Page{Width: 80}).Fit(room, words); got != want {
			t.Errorf("%d columns: %q, want %q", room, got, want)
		}
	}
	if got := (Page{}).Fit(1, words); got != "mtu 1400 192.0.2.1/24" {
		t.Errorf("a pipe: %q", got)
	}
	if got := Cut("0123456789", 6); got != "012..." {
		t.Errorf("cut: %q", got)
	}
	if got := (Page{Width: 80}).Fit(0, make([]string, 123)); got != "+123" {
		t.Errorf("%q", got)
	}
}
