package networkmanager

import (
	"strings"
	"testing"
)

func TestEscapeKeyfileAsGLib(t *testing.T) {
	for value, want := range map[string]string{
		"plain": "plain", "": "", " a b": `\sa b`, "\t x": `\t\sx`, "a\tb": "a\tb", "a\nb": `a\nb`, "a\r": `a\r`, `a\b`: `a\\b`, "a;b": "a;b", "#a": "#a", "a ": "a ",
	} {
		if got := escapeKeyfile(value); got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
	for _, bad := range []string{`a\`, `\x`} {
		if got, err := unescapeKeyfile(bad); err == nil {
			t.Errorf("%q was read as %q", bad, got)
		}
	}
}

func FuzzEscapeKeyfile(f *testing.F) {
	for _, s := range []string{"", " \t\n\r\\", `\s`, "multinic1", "a=b;c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		line := escapeKeyfile(s)
		if strings.ContainsAny(line, "\n\r") || strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			t.Errorf("%q became %q, which is no value", s, line)
		}
		if got, err := unescapeKeyfile(line); err != nil || got != s {
			t.Errorf("%q became %q, which became %q, %v", s, line, got, err)
		}
	})
}
