package kube

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	v1 "multinicd/api/v1"
)

// FuzzEvent: whatever a watch says, it is the node's own object, that there is none, a reason why it
// is malformed, or an error with a class; and the version never becomes none.
func FuzzEvent(f *testing.F) {
	f.Add("ADDED", []byte(object(3, "")))
	f.Add("DELETED", []byte(object(3, `"interfaces":5`)))
	f.Add("MODIFIED", []byte(`{"metadata":{"name":"node-b","resourceVersion":"1"}}`))
	f.Add("BOOKMARK", []byte(`{"metadata":{"resourceVersion":""}}`))
	f.Add("BOOKMARK", []byte(`{"metadata":{"resourceVersion":5}}`))
	f.Add("ERROR", []byte(`{"kind":"Status","code":410,"message":"\u001b[2J","details":{"retryAfterSeconds":2147483647}}`))
	f.Add("\x1b", []byte(nil))
	c := &Client{opts: Options{Node: "node-a"}}
	f.Fuzz(func(t *testing.T, kind string, raw []byte) {
		version, told := "7", 0
		err := c.event("watching", kind, raw, &version, func(o Observation) {
			told++
			switch {
			case o.Err == nil && o.Object != nil && o.Object.Name == "node-a" && !o.Absent:
			case o.Err == nil && o.Object == nil && o.Absent && kind == "DELETED":
			case o.Object == nil && ClassOf(o.Err) == Malformed:
			default:
				t.Errorf("told %+v", o)
			}
		})
		if err != nil && (ClassOf(err) == "" || told > 0 || version != "7") || version == "" || told > 1 {
			t.Errorf("got %v, version %q, told %d times", err, version, told)
		}
	})
}

// FuzzRefusal: whatever an answer that is no success holds, there is a class, no wait is longer than
// we grant, and a request for a token that has no uid is none.
func FuzzRefusal(f *testing.F) {
	f.Add(404, "", []byte(`{"kind":"Status","reason":"NotFound","details":{"name":"n","kind":"nodes"}}`))
	f.Add(429, "9223372036854775807", []byte(`{"kind":"Status","details":{"retryAfterSeconds":-1}}`))
	f.Add(504, "Fri, 31 Dec 9999 23:59:59 GMT", []byte(`{"kind":"Status","details":{"causes":[{"reason":"ResourceVersionTooLarge"}]}}`))
	f.Add(409, "-1", []byte(`<html>`))
	f.Add(301, "0", []byte(`{"metadata":{"uid":""},"spec":{"publicKey":"x"}}`))
	f.Fuzz(func(t *testing.T, code int, wait string, body []byte) {
		err := statusError("asking", &http.Response{StatusCode: code, Status: http.StatusText(code), Header: http.Header{"Retry-After": {wait}}}, body)
		var e *Error
		if !errors.As(err, &e) || e.Class == "" || e.Patience() < 0 || e.Patience() > maxPatience {
			t.Errorf("got %v", err)
		}
		if e.Class == NotFound != errors.Is(err, ErrNotFound) {
			t.Errorf("class %s, and %v", e.Class, err)
		}
		var r v1.NodeTokenRequest
		if err := decodeRequest("asking", body, &r); err != nil && ClassOf(err) != Unexpected || err == nil && r.UID == "" {
			t.Errorf("the request is %+v, %v", r, err)
		}
		if json.Valid(body) && r.UID != "" {
			if said := refusal(r).Error(); strings.ContainsFunc(said, func(c rune) bool { return c < ' ' || c == 0x7f }) {
				t.Errorf("the refusal is %q", said)
			}
		}
	})
}
