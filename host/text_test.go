package host

import (
	"strings"
	"testing"
)

func TestJoined(t *testing.T) {
	for title, test := range map[string]struct{ text, want string }{
		"nothing":                          {"", ""},
		"two lines":                        {"a\n b\n", "a|b"},
		"two that are one":                 {"a \\\n\tb\nc\n", "a  b|c"},
		"a comment between two":            {"a\\\n# x\\\nb\n", "a b"},
		"a backslash on the last line":     {"a\\", "a"},
		"comments, and an empty line":      {"; x\n\na\n#b\n", "|a"},
		"a backslash in the middle of one": {`a\b`, `a\b`},
	} {
		if got := strings.Join(Joined([]byte(test.text)), "|"); got != test.want {
			t.Errorf("%s: got %q, want %q", title, got, test.want)
		}
	}
}
