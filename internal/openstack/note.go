package openstack

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	v1 "multinicd/api/v1"
	"multinicd/internal/publish"
)

// maxNote bounds a note, in bytes; the bridge says less of it.
const maxNote = 1000

// note is what the condition Published of the node's object shall say: the first reason for which a
// person has to look, else AsPublished; then why each port is left out. What passes by itself in the
// next walk is not in it. "" says that nothing is known that is worth a note.
func (n NodeVerdict) note(result *publish.Result) string {
	reason, loud, quiet := "", []string(nil), []string(nil)
	switch {
	case n.Frozen == NotOfCloud:
		return ""
	case n.Frozen != "":
		reason, loud = string(n.Frozen), []string{n.Message}
	case result != nil && result.Action == publish.Refused && (result.Reason == publish.Outdated || result.Reason == publish.NotWritten):
		return ""
	case result != nil && result.Action == publish.Refused:
		reason, loud = string(result.Reason), []string{result.Message}
	}
	for _, r := range n.Remarks {
		switch {
		case !r.Reason.quiet():
			reason, loud = cmp.Or(reason, string(r.Reason)), append(loud, r.String())
		case r.Reason != RemovalPending:
			quiet = append(quiet, r.String())
		}
	}
	text := cmp.Or(reason, v1.ReasonAsPublished)
	if words := slices.Concat(loud, quiet); len(words) > 0 {
		text += ": " + strings.Join(words, "; ")
	}
	return v1.Printable(text, maxNote)
}

// with gives each node with the result of its wish; nil if there was none.
func (v Verdict) with(results []publish.Result) iter.Seq2[NodeVerdict, *publish.Result] {
	return func(yield func(NodeVerdict, *publish.Result) bool) {
		i := 0
		for _, n := range v.Nodes {
			var result *publish.Result
			if n.Wish != nil {
				result = &results[i]
				i++
			}
			if !yield(n, result) {
				return
			}
		}
	}
}

// notes are those of a verdict that its objects do not have yet. An object of somebody else gets
// none: for that there are Events.
func (v Verdict) notes(results []publish.Result, objects []*v1.MultiNicNodeConfig) []publish.Note {
	byName := map[string]*v1.MultiNicNodeConfig{}
	for _, o := range objects {
		byName[o.Name] = o
	}
	var out []publish.Note
	for n, result := range v.with(results) {
		o, version, was := byName[n.Node], "", ""
		if o != nil && o.Labels[v1.PublisherLabel] == v1.PublisherOpenStack && o.Annotations[v1.HandOverAnnotation] == "" {
			version, was = o.ResourceVersion, o.Annotations[v1.PublisherNoteAnnotation]
		}
		if result != nil && result.Action != publish.Refused {
			version = result.ResourceVersion
		}
		if text := n.note(result); text != "" && text != was && version != "" {
			out = append(out, publish.Note{Node: n.Node, Version: version, Text: text})
		}
	}
	return out
}
