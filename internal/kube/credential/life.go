package credential

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// Life is what a token says about itself. Nothing is checked: the token is our own, and only the
// API server judges it. Times are by the API server's clock.
type Life struct {
	Issued    time.Time
	Span      time.Duration // from its beginning to its end; 0: it does not end, or does not say so
	NodeBound bool          // it ends when a Node ends
}

// LifeOf reads the claims of a JWT. For a token that is no JWT it knows nothing.
func LifeOf(t Token) Life {
	if t.IsZero() {
		return Life{}
	}
	parts := strings.Split(t.Reveal(), ".")
	if len(parts) != 3 {
		return Life{}
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Life{}
	}
	var claims struct {
		Issued int64 `json:"iat"`
		Ends   int64 `json:"exp"`
		Bound  struct {
			Node *struct{} `json:"node"`
		} `json:"kubernetes.io"`
	}
	if json.Unmarshal(text, &claims) != nil || claims.Issued <= 0 || claims.Ends <= claims.Issued || claims.Ends-claims.Issued > int64(maxLife/time.Second) {
		return Life{}
	}
	return Life{
		Issued:    time.Unix(claims.Issued, 0),
		Span:      time.Duration(claims.Ends-claims.Issued) * time.Second,
		NodeBound: claims.Bound.Node != nil,
	}
}

// maxLife bounds what is counted down: a token that says that it lives longer is not.
const maxLife = 10 * 365 * 24 * time.Hour

// Ends is when the token ends, by the API server's clock. It is zero if that is not known.
func (l Life) Ends() time.Time {
	if l.Span == 0 {
		return time.Time{}
	}
	return l.Issued.Add(l.Span)
}
