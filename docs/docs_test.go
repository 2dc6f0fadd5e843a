package docs

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestWhatToDoIsTheCellOfThePage(t *testing.T) {
	defer func(page string) { reasons = page }(reasons)
	reasons = "text with a `Word` | in it\n\n| reason | meaning | what to do |\n|---|---|---|\n" +
		"| `Plain` | It is so. | Do it. |\n" +
		"| `Led` | It is so. | Look at once: [recovery.md](recovery.md). |\n" +
		"| `Further` | It is so. | [The page](upgrade.md#back), `[backend]`: see [below](#there). |\n"
	for reason, want := range map[string]string{
		"Plain":   "Do it.",
		"Led":     "Look at once: /usr/share/doc/multinicd/recovery.md.",
		"Further": "/usr/share/doc/multinicd/upgrade.md, `[backend]`: see below.",
		"Word":    "",
		"reason":  "",
	} {
		if got := WhatToDo(reason); got != want {
			t.Errorf("%s: got %q, want %q", reason, got, want)
		}
	}
}

// Every row of the page is read, and the pages that they name are there.
func TestEveryReasonHasSomethingToDo(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `(\\w+)` ").FindAllStringSubmatch(reasons, -1)
	if len(rows) < 40 {
		t.Fatalf("only %d rows found", len(rows))
	}
	for _, m := range rows {
		what := WhatToDo(m[1])
		if what == "" || strings.ContainsAny(what, "[]\n") && !strings.Contains(what, "`[") {
			t.Errorf("%s: %q", m[1], what)
		}
		for _, page := range regexp.MustCompile(Installed+`([a-z]+\.md)`).FindAllStringSubmatch(what, -1) {
			if _, err := os.Stat(page[1]); err != nil {
				t.Errorf("%s names %s", m[1], page[1])
			}
		}
	}
}
