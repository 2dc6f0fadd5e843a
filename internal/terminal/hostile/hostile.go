// Package hostile makes values whose texts were chosen by somebody who means harm, and says whether
// something that was printed from them does any. It is for tests only.
//
// Start reading at Fill.
package hostile

import (
	"reflect"
	"strings"
	"testing"
	"unicode"
)

// forged begins a line that looks like one of ours.
const forged = "FORGED"

// Text does harm to a terminal that shows it as it is: it sets the title, clears the screen (in the
// form with one byte, too), turns the direction of writing, goes to the beginning of the line, and
// makes lines of its own.
const Text = "x\x1b]0;pwned\a\x1b[2J\u009b2J\x9b2J\u202e\r" + forged + "\n" + forged + "\v" + forged + "\u2028" + forged + "\u0085" + forged + "\x7f\t."

// Fill puts Text into every string that can be reached from v by exported fields. Slices and maps
// get an entry, pointers something to point to, numbers a one. v is a pointer.
func Fill(v any) { fill(reflect.ValueOf(v).Elem(), 0) }

// deep enough for every value that is printed.
const deepest = 12

func fill(v reflect.Value, depth int) {
	if depth > deepest || !v.CanSet() {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(Text)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth+1)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, depth+1)
		fill(value, depth+1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), depth+1)
		}
	}
}

// Check says what a terminal would suffer from what was printed.
func Check(t *testing.T, printed string) {
	t.Helper()
	if !strings.Contains(printed, forged) {
		t.Errorf("nothing of the text is in it: the test shows nothing:\n%q", printed)
	}
	for _, r := range printed {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			t.Errorf("%U is printed:\n%q", r, printed)
			break
		}
	}
	for line := range strings.SplitSeq(printed, "\n") {
		if strings.HasPrefix(strings.TrimLeft(line, " \t"), forged) {
			t.Errorf("a line is forged:\n%s", printed)
			return
		}
	}
}

// CheckWrapped is Check of a text that was wrapped. There a line may go on with any word, but it is
// indented more than the line that it goes on with, and so more than a line of ours would be.
func CheckWrapped(t *testing.T, printed string) {
	t.Helper()
	lines := strings.Split(printed, "\n")
	indent := func(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }
	for i, line := range lines {
		if !strings.HasPrefix(strings.TrimLeft(line, " \t"), forged) {
			continue
		}
		before := i - 1
		for before >= 0 && indent(lines[before]) == indent(line) {
			before--
		}
		if before < 0 || indent(lines[before]) > indent(line) {
			t.Errorf("line %d is forged:\n%s", i+1, printed)
			return
		}
		lines[i] = "."
	}
	Check(t, strings.Join(lines, "\n"))
}
