// Package docs gives programs what the pages of this folder say.
//
// In goes a reason; out comes what to do about it, from the row of that reason in reasons.md.
//
// It must not hold a second copy of anything: a page is corrected in one place.
//
// Start reading at reasons.md.
package docs

import (
	_ "embed"
	"regexp"
	"sync"
)

// Installed is the folder where the packages put the pages.
const Installed = "/usr/share/doc/multinicd/"

//go:embed reasons.md
var reasons string

var (
	row  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("(?m)^\\| `(\\w+)` \\|[^|]*\\| *([^|]*?) *\\|$") })
	link = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\[([^]]+)\]\(([a-z]+\.md)?(#[^)]*)?\)`) })
)

// WhatToDo is the advice of reasons.md about a reason, in one line. Pages that it names are given
// as the paths where the packages put them. It is "" if reasons.md does not know the reason.
func WhatToDo(reason string) string {
	for _, m := range row().FindAllStringSubmatch(reasons, -1) {
		if m[1] == reason {
			return link().ReplaceAllStringFunc(m[2], func(l string) string {
				if page := link().FindStringSubmatch(l)[2]; page != "" {
					return Installed + page
				}
				return link().FindStringSubmatch(l)[1]
			})
		}
	}
	return ""
}

// Page is the path of a page of this folder on a host.
func Page(name string) string { return Installed + name }
