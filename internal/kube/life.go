package kube

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// life is what a token says about itself. Nothing is checked: the token is our own, and only the
// API server judges it. Times are by the API server's clock.
type life struct {
	issued    time.Time
	span      time.Duration // from its beginning to its end; 0: it does not end, or does not say so
	nodeBound bool          // it ends when a Node ends
}

// lifeOf reads the claims of a JWT. For a token that is no JWT it knows nothing.
func lifeOf(t token) life {
	if t.reveal == nil {
		return life{}
	}
	parts := strings.Split(t.reveal(), ".")
	if len(parts) != 3 {
		return life{}
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return life{}
	}
	var claims struct {
		Issued int64 `json:"iat"`
		Ends   int64 `json:"exp"`
		Bound  struct {
			Node *struct{} `json:"node"`
		} `json:"kubernetes.io"`
	}
	if json.Unmarshal(text, &claims) != nil || claims.Issued <= 0 || claims.Ends <= claims.Issued || claims.Ends-claims.Issued > int64(maxLife/time.Second) {
		return life{}
	}
	return life{
		issued:    time.Unix(claims.Issued, 0),
		span:      time.Duration(claims.Ends-claims.Issued) * time.Second,
		nodeBound: claims.Bound.Node != nil,
	}
}

// maxLife bounds what is counted down: a token that says that it lives longer is not.
const maxLife = 10 * 365 * 24 * time.Hour

// ends is when the token ends, by the API server's clock. It is zero if that is not known.
func (l life) ends() time.Time {
	if l.span == 0 {
		return time.Time{}
	}
	return l.issued.Add(l.span)
}
