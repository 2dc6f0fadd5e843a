package main

import (
	"strings"
	"testing"
)

// What is piped on is what came, and without a terminal nothing else is said.
func TestLinesPassAsTheyAre(t *testing.T) {
	for _, in := range []string{"", "dist/a.deb\ndist/b.deb\n", "signing with X:\n\n  a  b\n"} {
		var out, screen strings.Builder
		if err := pass(strings.NewReader(in), &out, &screen, 2, "packages"); err != nil || out.String() != in || screen.Len() > 0 {
			t.Errorf("%q becomes %q, and the screen has %q: %v", in, out.String(), screen.String(), err)
		}
	}
}
