package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"multinicd/internal/terminal/hostile"
)

func TestLine(t *testing.T) {
	for name, tt := range map[string]struct {
		in   string
		most int
		want string
	}{
		"what can be printed stays":        {"multinic1: naïve 日本 🙂", 100, "multinic1: naïve 日本 🙂"},
		"white space becomes one space":    {" a\r\n\t b\u2028c\u0085d\u00a0e ", 100, "a b c d e"},
		"an escape sequence is seen":       {"a\x1b[2Jb", 100, `a\u001b[2Jb`},
		"so is one of a single byte":       {"a\u009b2J", 100, `a\u009b2J`},
		"and a change of direction":        {"a\u202eb", 100, `a\u202eb`},
		"a byte that is no text":           {"a\xffb", 100, `a\ufffdb`},
		"beyond sixteen bits as JSON does": {"a\U000e0041b", 100, `a\udb40\udc41b`},
		"what is too long is cut":          {"0123456789", 8, "01234..."},
		"at a rune":                        {"日本日本", 10, "日本..."},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Line(tt.in, tt.most); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPlainReachesEveryString(t *testing.T) {
	type inner struct {
		Text  string
		Lines string `terminal:"lines"`
		Any   any
		Where netip.Prefix
		At    time.Time
	}
	type outer struct {
		Kind     json.Number // a string by another name
		Pointer  *inner
		None     *inner
		List     []inner
		Fixed    [1]string
		Map      map[string][]string
		internal string
	}
	var v outer
	hostile.Fill(&v)
	v.internal, v.List[0].Where, v.List[0].Any = "kept", netip.MustParsePrefix("192.0.2.1/24"), hostile.Text
	before := fmt.Sprintf("%#v %#v", v, *v.Pointer)
	got := Plain(v)
	hostile.Check(t, fmt.Sprint(got.Kind, got.Pointer.Text, got.List[0].Text, got.List[0].Any, got.Fixed, got.Map))
	if !strings.Contains(got.List[0].Lines, "\n") || strings.Contains(got.List[0].Lines, "\x1b") {
		t.Errorf("lines became %q", got.List[0].Lines)
	}
	if got.internal != "kept" || got.List[0].Where != v.List[0].Where || got.None != nil && got.None == v.None {
		t.Errorf("it became %+v", got)
	}
	if after := fmt.Sprintf("%#v %#v", v, *v.Pointer); after != before {
		t.Error("the value itself was changed")
	}
	type empty struct {
		List []string
		Map  map[string]string
	}
	if diff := cmp.Diff(empty{}, Plain(empty{})); diff != "" {
		t.Errorf("nil is nil still: %s", diff)
	}
}

func TestTheWriterKeepsJSONAsItIs(t *testing.T) {
	type doc struct {
		Text string            `json:"text"`
		Map  map[string]string `json:"map"`
	}
	want := doc{"a\x1b\u009b\u202e\x7f\U000e0041\n\tz", map[string]string{"k\x7f\u2066": "v\u0085"}}
	var out bytes.Buffer
	enc := json.NewEncoder(Writer(&out))
	enc.SetIndent("", "  ")
	if err := enc.Encode(want); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\u009b\u202e\x7f\U000e0041\u0085\u2066") {
		t.Errorf("it prints %q", out.String())
	}
	var got doc
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAnErrorKeepsOnlyTheLineBreaksOfJoin(t *testing.T) {
	bad := errors.New(hostile.Text)
	for name, err := range map[string]error{
		"alone":              bad,
		"wrapped":            fmt.Errorf("reading: %w", bad),
		"joined":             errors.Join(bad, errors.New("second"), bad),
		"joined and wrapped": fmt.Errorf("two: %w; that is all", errors.Join(bad, fmt.Errorf("%w: %w", bad, bad))),
		"quoted":             fmt.Errorf("the file %s is none: %w", hostile.Text, errors.New("why")),
	} {
		t.Run(name, func(t *testing.T) { hostile.Check(t, Text(err)) })
	}
	for want, err := range map[string]error{
		"reading a: b":            fmt.Errorf("reading %s: %w", "a", errors.New("b")),
		"two: a\nb: c; and so on": fmt.Errorf("two: %w; and so on", errors.Join(errors.New("a"), fmt.Errorf("b: %w", errors.New("c")))),
		"a: b: c":                 fmt.Errorf("%w: %w: %w", errors.New("a"), errors.New("b"), errors.New("c")),
		"a (b)":                   fmt.Errorf("%w (%w)", errors.New("a"), errors.New("b")),
	} {
		if got := Text(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := Text(fmt.Errorf("x: %w", &json.SyntaxError{})); got != "x: " {
		t.Errorf("an error without a text: %q", got)
	}
}

func FuzzWriterTakesTextInPieces(f *testing.F) {
	f.Add(hostile.Text, 3)
	f.Add("日本\xe6", 1)
	f.Add("\xf0\x9f\x99\x82", 2)
	f.Fuzz(func(t *testing.T, text string, at int) {
		var whole, pieces bytes.Buffer
		cut := 0
		if len(text) > 0 {
			cut = ((at % len(text)) + len(text)) % len(text)
		}
		for _, w := range []struct {
			to    *bytes.Buffer
			parts []string
		}{{&whole, []string{text, "|"}}, {&pieces, []string{text[:cut], text[cut:], "|"}}} {
			out := Writer(w.to)
			for _, part := range w.parts {
				if n, err := out.Write([]byte(part)); n != len(part) || err != nil {
					t.Fatal(n, err)
				}
			}
		}
		if diff := cmp.Diff(whole.String(), pieces.String(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("in pieces it is another text (-whole +pieces)\n%s", diff)
		}
		if got := escaped(whole.String(), "\n\t"); got != whole.String() {
			t.Errorf("it prints %q", whole.String())
		}
	})
}
