// Package docs gives programs what the pages of this folder say.
//
// In goes a reason; out comes what to do about it, as the row of reasons.md has it.
//
// It must not hold a second copy of anything: a page is mended in one place.
//
// Start reading at reasons.md.
package docs

import (
	_ "embed"
	"regexp"
)

// Installed is the folder where the packages put the pages.
const Installed = "/usr/share/doc/multinicd/"

//go:embed reasons.md
var reasons string

var (
	row  = regexp.MustCompile("(?m)^\\| `(\\w+)` \\|[^|]*\\| *([^|]*?) *\\|$")
	link = regexp.MustCompile(`\[([^]]+)\]\(([a-z]+\.md)?(#[^)]*)?\)`)
)

// WhatToDo is what reasons.md advises about a reason, in one line, with the pages that it names where the packages have put them; "" where it
// knows no such reason.
func WhatToDo(reason string) string {
	for _, m := range row.FindAllStringSubmatch(reasons, -1) {
		if m[1] == reason {
			return link.ReplaceAllStringFunc(m[2], func(l string) string {
				if page := link.FindStringSubmatch(l)[2]; page != "" {
					return Installed + page
				}
				return link.FindStringSubmatch(l)[1]
			})
		}
	}
	return ""
}

// Page is where a page of this folder is on a host.
func Page(name string) string { return Installed + name }
