package terminal

import (
	"errors"
	"strings"
)

// Text is an error for a person. Errors that were joined (errors.Join) stand in a line each; every
// other line break comes from a text that the error quotes, and becomes a space.
func Text(err error) string {
	text := err.Error()
	var out strings.Builder
	for _, part := range parts(err) {
		before, after, found := strings.Cut(text, part.Error())
		if !found {
			continue
		}
		out.WriteString(between(before))
		out.WriteString(Text(part))
		text = after
	}
	out.WriteString(between(text))
	return out.String()
}

// parts are the errors that an error wraps, in the order of its text.
func parts(err error) []error {
	if several, ok := err.(interface{ Unwrap() []error }); ok { // one level at a time
		return several.Unwrap()
	}
	if one := errors.Unwrap(err); one != nil && one.Error() != "" {
		return []error{one}
	}
	return nil
}

// between is what stands around the parts of an error. A line break alone joins two of them.
func between(s string) string {
	if s == "\n" || s == "" {
		return s
	}
	line := Line(s, MaxLine)
	// Line trims; what separates two words must stay.
	if strings.HasPrefix(s, " ") {
		line = " " + line
	}
	if strings.HasSuffix(s, " ") && line != " " {
		line += " "
	}
	return line
}
