package kube

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Class says what can be done about an error.
type Class string

// The classes.
const (
	// Unreachable: no answer came. DNS, routes, a firewall, a server that is down, a deadline.
	Unreachable Class = "Unreachable"
	// Untrusted: the certificate of the server that answered is not from the CA that we know.
	Untrusted Class = "Untrusted"
	// Credential: our own token or CA cannot be read from the disk.
	Credential Class = "Credential"
	// Unauthorized: the token was refused (401).
	Unauthorized Class = "Unauthorized"
	// Forbidden: the token is good, but does not permit this (403).
	Forbidden Class = "Forbidden"
	// NotFound: what the request names is not there. For the node's object this is no error but
	// Absent.
	NotFound Class = "NotFound"
	// Exists: what was to be made is already there (409).
	Exists Class = "Exists"
	// NotServed: a 404 that names no object. The CRD is not installed, or this is another server.
	NotServed Class = "NotServed"
	// Throttled: the server asks us to wait (429).
	Throttled Class = "Throttled"
	// Expired: what we knew is too old to continue from (410). The loop reads everything anew.
	Expired Class = "Expired"
	// Server: the server failed (5xx).
	Server Class = "Server"
	// Malformed: the object is there but cannot be read. Error.UID and Error.Generation say which
	// object.
	Malformed Class = "Malformed"
	// Unexpected: an answer that no API server should give, such as the HTML of a proxy.
	Unexpected Class = "Unexpected"
)

// ErrNotFound: the report or the Lease is not there, because the bridge has not made it yet.
var ErrNotFound = errors.New("not there yet")

// Error is returned by every method of Client, except when the context ends.
type Error struct {
	Class      Class
	Op         string        // "watching multinicnodeconfig worker-node-01"
	RetryAfter time.Duration // what the server asked for, else 0
	UID        types.UID     // uid of the object, if Class is Malformed
	Generation int64         // generation of the object, if Class is Malformed
	Kind       string        // the plural resource that is not there, if Class is NotFound
	Err        error
}

// Error gives Op and Err.
func (e *Error) Error() string { return e.Op + ": " + e.Err.Error() }

// Patience is how long to leave the server alone: RetryAfter, but at most a quarter of an hour.
func (e *Error) Patience() time.Duration { return min(e.RetryAfter, maxPatience) }

// maxPatience is the longest wait that we grant a server.
const maxPatience = 15 * time.Minute

// Unwrap gives Err.
func (e *Error) Unwrap() error { return e.Err }

// ClassOf is the class of an error of this package. It is "" for any other error.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return ""
}

// transportError gives a class to an error that came instead of an answer.
func transportError(ctx context.Context, op string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(cause, context.Canceled) {
			return cause
		}
		// "no answer within 10s" says more than the "context deadline exceeded" that it caused.
		err = cause
	}
	class := Unreachable
	var e *Error
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &e):
		class = e.Class
	case errors.As(err, &untrusted):
		class = Untrusted
	}
	return &Error{Class: class, Op: op, Err: err}
}

// statusError gives a class to an answer that is not a success. body may be cut off.
func statusError(op string, resp *http.Response, body []byte) error {
	var status metav1.Status
	if json.Unmarshal(body, &status) != nil || status.Kind != "Status" {
		status = metav1.Status{}
	}
	if status.Message == "" {
		status.Message = "the server answered " + resp.Status
	}
	status.Code = int32(resp.StatusCode)
	e := statusClass(op, &status)
	e.RetryAfter = max(e.RetryAfter, retryAfter(resp.Header, time.Now()))
	return e
}

// retryAfter reads a Retry-After header: seconds, or a date (RFC 9110, 10.2.3). A date is compared
// with the date of the answer, because the host's clock may be wrong; now is used if the answer has
// no date. 0 means that there is no such header, or that its time has passed.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if s, err := strconv.Atoi(value); err == nil {
		return time.Duration(max(0, min(s, 1<<30))) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return max(0, at.Sub(now))
}

// statusClass gives a class to a Status. A Status also comes as the object of an ERROR event in a
// watch.
func statusClass(op string, status *metav1.Status) *Error {
	e := &Error{Class: Unexpected, Op: op, Err: errors.New(status.Message)}
	switch code := status.Code; {
	case code == http.StatusUnauthorized:
		e.Class = Unauthorized
	case code == http.StatusForbidden:
		e.Class = Forbidden
	case code == http.StatusNotFound:
		// The 404 of a path that is not served has no Status, or one without a name.
		e.Class = NotServed
		if status.Reason == metav1.StatusReasonNotFound && status.Details != nil && status.Details.Name != "" {
			e.Class, e.Kind = NotFound, status.Details.Kind
			e.Err = fmt.Errorf("%w: %s", ErrNotFound, status.Message)
		}
	case code == http.StatusConflict && status.Reason == metav1.StatusReasonAlreadyExists:
		e.Class = Exists
	case code == http.StatusGone:
		e.Class = Expired
	case code == http.StatusTooManyRequests:
		e.Class = Throttled
	case code == http.StatusGatewayTimeout && tooLarge(status):
		e.Class = Expired
	case code >= 500:
		e.Class = Server
	}
	if d := status.Details; d != nil && d.RetryAfterSeconds > 0 {
		e.RetryAfter = time.Duration(d.RetryAfterSeconds) * time.Second
	}
	return e
}

// tooLarge recognises a resource version that the server has not reached yet. Such a server was
// restored from a backup: what we knew is in a future that never came.
func tooLarge(status *metav1.Status) bool {
	if status.Details == nil {
		return false
	}
	for _, cause := range status.Details.Causes {
		if cause.Type == metav1.CauseTypeResourceVersionTooLarge {
			return true
		}
	}
	return false
}
