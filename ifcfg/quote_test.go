package ifcfg

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestQuoteShellAsThePlugin(t *testing.T) {
	for value, want := range map[string]string{
		"plain": "plain", "": "", "a b": `"a b"`, `a"b`: `"a\"b"`, "a$(id)": `"a\$(id)"`, "a`b": "\"a\\`b\"", `a\b`: `"a\\b"`, "it's": `"it's"`, "a\nb": `$'a\012b'`, "a\tb'": `$'a\011b\''`, "02:00": "02:00",
	} {
		if got := quoteShell(value); got != want {
			t.Errorf("%q: got %s, want %s", value, got, want)
		}
	}
	for _, bad := range []string{`"a`, `"a"b`, `$'a`, `$'a'b`, "a b", "a;b", "$x"} {
		if got, err := unquoteShell(bad); err == nil {
			t.Errorf("%s was read as %q", bad, got)
		}
	}
}

func FuzzQuoteShell(f *testing.F) {
	for _, s := range []string{"", "a b", "$(touch x)", "`id`", "a'b\"c\\d", "\x01\x7f\n", "é", "!x", "~", "#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsRune(s, 0) || !utf8.ValidString(s) {
			t.Skip("the plugin takes UTF-8 only")
		}
		word := quoteShell(s)
		if strings.Contains(word, "\n") {
			t.Fatalf("%q became %q, which is no line", s, word)
		}
		if got, err := unquoteShell(word); err != nil || got != s {
			t.Fatalf("%q became %s, which became %q, %v", s, word, got, err)
		}
	})
}
