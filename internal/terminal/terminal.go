// Package terminal makes text that somebody else wrote fit to be shown to a person. The texts of
// objects, reports, processes and links are chosen by others: an escape sequence in one of them
// would act on the terminal of whoever looks, and a line break would make a line that looks like
// ours.
//
// In go values, errors and bytes; out come the same with everything that cannot be printed written
// as an escape, \u001b. Nothing is lost.
//
// It must not know what the texts mean. It stands at the edges: where a command prints, where a log
// is written, and where systemd is told a line.
//
// Start reading at Writer and Plain. Writer keeps escape sequences away, but cannot know which line
// breaks are ours: Plain, Line and Text do that, before a text is put together. Print makes the
// colours; Watch shows a text again when it changes, and Progress how far something has come.
package terminal

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxLine bounds each string of Plain, in bytes.
const MaxLine = 4096

// Writer is w for text that is to be printed. What cannot be printed is written as an escape of
// JSON, except line breaks and tabs. JSON stays the same JSON. It is not for several goroutines at
// once.
func Writer(w io.Writer) io.Writer {
	if own, ok := w.(*writer); ok {
		return own
	}
	return &writer{to: w}
}

type writer struct {
	to   io.Writer
	rest []byte // the beginning of a rune that is not complete yet
}

func (w *writer) Write(p []byte) (int, error) {
	text := append(w.rest, p...)
	whole := len(text)
	for i := range min(utf8.UTFMax, len(text)) {
		if at := len(text) - 1 - i; utf8.RuneStart(text[at]) {
			if !utf8.FullRune(text[at:]) {
				whole = at
			}
			break
		}
	}
	w.rest = append([]byte(nil), text[whole:]...)
	if _, err := io.WriteString(w.to, escaped(string(text[:whole]), "\n\t")); err != nil {
		return 0, err
	}
	return len(p), nil
}

// escaped is s with an escape in place of each rune that cannot be printed, except those in keep.
func escaped(s, keep string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !shown(r, keep) }) {
		return s
	}
	var b strings.Builder
	for _, r := range s { // an invalid byte comes as utf8.RuneError
		switch {
		case shown(r, keep):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func shown(r rune, keep string) bool {
	return unicode.IsPrint(r) && r != utf8.RuneError || strings.ContainsRune(keep, r) && r != utf8.RuneError
}

// Line is s in one line of at most so many bytes. White space becomes one space. What is cut off is
// marked by "...".
func Line(s string, most int) string {
	s = escaped(strings.Join(strings.FieldsFunc(s, unicode.IsSpace), " "), "")
	if len(s) <= most {
		return s
	}
	const mark = "..."
	end := max(0, most-len(mark))
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}

// Lines is s with its line breaks and tabs.
func Lines(s string) string { return escaped(s, "\n\t") }

// Plain is a copy of v in which every string that can be reached by exported fields is one line
// (Line). A string with the tag `terminal:"lines"` keeps its line breaks.
func Plain[T any](v T) T {
	out := v
	plain(reflect.ValueOf(&out).Elem(), false)
	return out
}

// plain makes v plain. v may be set; what it points to is copied first.
func plain(v reflect.Value, lines bool) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(plainText(v.String(), lines))
	case reflect.Pointer:
		if !v.IsNil() {
			next := reflect.New(v.Type().Elem())
			next.Elem().Set(v.Elem())
			plain(next.Elem(), lines)
			v.Set(next)
		}
	case reflect.Interface:
		if !v.IsNil() {
			next := reflect.New(v.Elem().Type()).Elem()
			next.Set(v.Elem())
			plain(next, lines)
			v.Set(next)
		}
	case reflect.Slice:
		if !v.IsNil() {
			next := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			reflect.Copy(next, v)
			v.Set(next)
		}
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			plain(v.Index(i), lines)
		}
	case reflect.Map:
		plainMap(v, lines)
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				plain(v.Field(i), field.Tag.Get("terminal") == "lines")
			}
		}
	}
}

func plainMap(v reflect.Value, lines bool) {
	if v.IsNil() {
		return
	}
	next := reflect.MakeMapWithSize(v.Type(), v.Len())
	for i := v.MapRange(); i.Next(); {
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		key.Set(i.Key())
		value.Set(i.Value())
		plain(key, lines)
		plain(value, lines)
		next.SetMapIndex(key, value)
	}
	v.Set(next)
}

func plainText(s string, lines bool) string {
	if lines {
		return Lines(s)
	}
	return Line(s, MaxLine)
}
