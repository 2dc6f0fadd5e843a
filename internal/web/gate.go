package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// headers of every answer. Scripts, styles and data come from this server alone, nothing stands
// inline, no page of another origin may show or read a page, and nothing is kept on the disk.
var headers = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
	"Cache-Control":                "no-store",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy":           "camera=(), geolocation=(), microphone=()",
	"Referrer-Policy":              "no-referrer",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
}

// gate lets a request in that has the secret as the first part of its path, and that does not come
// from a page of another origin. There is no cookie: a browser sends the cookies of one port of
// loopback to all ports, and so to other users of the machine.
func gate(secret string, inside http.Handler) http.Handler {
	want := sha256.Sum256([]byte(secret))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		if !isLoopback(r.Host) {
			http.Error(w, "this server is for the browser of its own machine: open it as 127.0.0.1 or localhost", http.StatusMisdirectedRequest)
			return
		}
		if !sameOrigin(r) {
			http.Error(w, "pages of other origins may not read this", http.StatusForbidden)
			return
		}
		given, rest, deeper := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if got := sha256.Sum256([]byte(given)); subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			http.Error(w, "the address lacks its secret part, or has an old one: open the address that the command has printed", http.StatusForbidden)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET: nothing is changed here", http.StatusMethodNotAllowed)
			return
		}
		if !deeper {
			target := "/" + secret + "/"
			if r.URL.RawQuery != "" {
				target += "?" + r.URL.RawQuery
			}
			http.Redirect(w, r, target, http.StatusSeeOther)
			return
		}
		inner := r.Clone(r.Context())
		inner.URL.Path, inner.URL.RawPath = "/"+rest, ""
		inside.ServeHTTP(w, inner)
	})
}

// isLoopback says that a browser which sent this Host asked for loopback, not for a name that
// somebody else's DNS answers with an address of loopback. The port may be another one: that of an
// SSH tunnel.
func isLoopback(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && addr.IsLoopback()
}

// sameOrigin is false if the browser says that a page of another origin asks. A person who opens
// the address comes from none.
func sameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return false
	}
	origin, there := r.Header["Origin"]
	return !there || len(origin) == 1 && origin[0] == "http://"+r.Host
}
