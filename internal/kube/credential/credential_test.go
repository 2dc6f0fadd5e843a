package credential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
)

func TestNothingPrintsTheToken(t *testing.T) {
	const secret = "eyJhbGciOi"
	tok := NewToken(secret)
	source := Fixed(tok)
	c := Credential{Server: &url.URL{}, Token: source}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, value := range []any{tok, &tok, source, source.last, c, &c, []Token{tok}, map[string]Token{"a": tok}} {
			_, _ = fmt.Fprintf(&out, verb+"\n", value)
		}
	}
	for _, value := range []any{tok, map[string]any{"token": tok}, struct{ Token Token }{tok}} {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "token", tok, "credential", c, "source", source)
	}
	_, _ = fmt.Fprint(&out, tok.String(), tok.GoString())
	hex := fmt.Sprintf("%x", secret)
	if s := out.String(); strings.Contains(s, secret) || strings.Contains(s, hex) || !strings.Contains(s, redacted) {
		t.Errorf("the token is in:\n%s", s)
	}
	if tok.Reveal() != secret {
		t.Error("the token is lost")
	}
}

func FuzzLifeOf(f *testing.F) {
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJSUzI1NiJ9.eyJpYXQiOjEsImV4cCI6MzYwMX0.x")
	f.Add("a.eyJpYXQiOi0xLCJleHAiOjkyMjMzNzIwMzY4NTQ3NzU4MDd9.c")
	f.Add("a.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6bXVsdGluaWMtbm9kZXM6bXVsdGluaWMtbm9kZS1hIn0.c")
	f.Fuzz(func(t *testing.T, text string) {
		TokenNode(text)
		if l := LifeOf(NewToken(text)); l.Span < 0 || l.Span > maxLife {
			t.Errorf("a life of %s", l.Span)
		}
	})
}
