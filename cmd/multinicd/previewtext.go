package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"multinicd/internal/terminal/layout"
	"multinicd/plan"
)

// gravity is the order of the NICs of a preview for a person: what will not be done comes first, and
// what is as wanted last.
var gravity = map[string]int{string(plan.Refuse): 0, string(plan.Wait): 1, string(plan.Remove): 2, string(plan.Configure): 3, "Nothing": 4}

// Text is the preview for a person. The evidence, by whom a NIC is configured and whose
// configuration it takes over, is there only on a verbose page. That a NIC is taken over always is.
func (p preview) Text(page layout.Page) string {
	var b strings.Builder
	if p.Note != "" {
		b.WriteString(page.Item(0, layout.Doubt(p.Note)))
	}
	if p.Refused != "" {
		b.WriteString(page.Item(0, layout.Bad("nothing: "+p.Refused)))
	}
	nics := slices.Clone(p.NICs)
	slices.SortStableFunc(nics, func(a, b nicPreview) int { return cmp.Compare(gravity[a.Action], gravity[b.Action]) })
	for _, n := range nics {
		b.WriteString(n.text(page))
	}
	if len(p.NICs) == 0 && p.Refused == "" && p.Note == "" {
		b.WriteString("no NICs are wanted, and none are owned\n")
	}
	return b.String()
}

func (n nicPreview) text(page layout.Page) string {
	var b strings.Builder
	action := strings.TrimSpace(strings.ToLower(n.Action) + " " + n.Reason)
	switch n.Action {
	case string(plan.Refuse):
		action = layout.Bad(action)
	case string(plan.Wait):
		action = layout.Doubt(action)
	case "Nothing":
		action = layout.Good(action)
	}
	fmt.Fprintf(&b, "%s (%s): %s\n", n.Name, n.MAC, action)
	if n.Message != "" {
		b.WriteString(page.Item(4, n.Message))
	}
	if n.From != "" {
		from, _, cut := strings.Cut(n.From, ": ")
		if page.Verbose || !cut {
			from = n.From
		}
		b.WriteString(page.Item(4, from))
	}
	if page.Verbose && n.Backend != "" {
		b.WriteString(page.Item(4, "by "+n.Backend))
	}
	if n.Link != nil {
		fmt.Fprintf(&b, "  link %s\n%s", n.Link.Had, changed(n.Link.String()))
	}
	for _, f := range n.Files {
		fmt.Fprintf(&b, "  file %s\n%s", f.Path, changed(f.Diff))
	}
	return b.String()
}

// changed are the lines of a change, each with its mark in the first column. They are not wrapped:
// they may be lines of a file.
func changed(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "+"):
			line = layout.Good(line)
		case strings.HasPrefix(line, "-"):
			line = layout.Bad(line)
		}
		b.WriteString("    " + line + "\n")
	}
	return b.String()
}
