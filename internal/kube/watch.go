package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	sigsjson "sigs.k8s.io/json"
)

const (
	// openTimeout bounds the wait for the head of a watch's answer.
	openTimeout = 15 * time.Second
	// A watch lasts watchLeast to twice that, at random. The API server authorises a watch only
	// when it begins, so this bounds how long a revoked token goes on: after 5 min the watch is
	// gone, even if the server does not end it and we wait for overdue.
	watchLeast = 135 * time.Second
	// overdue is how much longer than agreed a watch may last before we end it.
	overdue = 30 * time.Second
	// steady is how long a watch must live to count as a success. A success makes the next backoff
	// short again.
	steady = 10 * time.Second
)

var (
	errSilent  = errors.New("no answer within 15 s")
	errOverdue = errors.New("the server did not end the watch when it should")
)

// Watch observes the object until ctx ends, and returns why it ended. notify gets the first
// observation, every change, every error, and the end of errors. It may get the same observation
// twice, and is never called twice at a time. It should return soon, because events queue behind
// it.
//
// The server ends a watch every 135 to 270 seconds, and a watch may break. It is then opened again
// from where it was, and notify hears nothing of it. The backoff has full jitter: it begins at 1 s
// and doubles with each failure, up to a ceiling by class.
func (c *Client) Watch(ctx context.Context, notify func(Observation)) error {
	wait := backoff{jitter: c.jitter}
	var (
		version string
		current Observation
		told    bool // notify knows current
	)
	tell := func(o Observation) {
		told = o.Err == nil || ClassOf(o.Err) == Malformed
		if told {
			current = o
		}
		notify(c.observed(o))
	}
	for ctx.Err() == nil {
		began, opened := c.now(), false
		err := func() error {
			if version == "" {
				o, from, err := c.list(ctx)
				if err != nil {
					return err
				}
				version = from
				tell(o)
			}
			return c.follow(ctx, &version, func() {
				opened = true
				if !told {
					tell(current)
				}
			}, tell)
		}()
		if ctx.Err() != nil {
			break
		}
		if opened && c.now().Sub(began) >= steady {
			wait = backoff{jitter: c.jitter}
		}
		switch class := ClassOf(err); {
		case err == nil, opened && class == Unreachable:
		case class == Expired:
			version = ""
		case class == Unexpected:
			version = ""
			tell(Observation{Err: err})
		default:
			tell(Observation{Err: err})
		}
		if err != nil {
			c.log.Debug("watch ended", "node", c.opts.Node, "err", err)
		}
		if !c.pause(ctx, wait.next(err), ClassOf(err)) {
			break
		}
	}
	return context.Cause(ctx)
}

// follow opens one watch from *version, moves *version on, and reads the watch to its end. nil
// means that the server ended it in good order.
func (c *Client) follow(ctx context.Context, version *string, opened func(), tell func(Observation)) error {
	op := c.op("watching")
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	rt, err := c.roundTripper()
	if err != nil {
		return &Error{Class: Credential, Op: op, Err: err}
	}
	lasts := watchLeast + time.Duration(c.jitter()*float64(watchLeast))
	query := c.selector()
	query.Set("watch", "true")
	query.Set("allowWatchBookmarks", "true")
	query.Set("resourceVersion", *version)
	query.Set("timeoutSeconds", strconv.Itoa(int(lasts/time.Second)))

	deadline := time.AfterFunc(openTimeout, func() { cancel(errSilent) })
	defer deadline.Stop()
	resp, err := c.send(ctx, rt, request{op: op, method: http.MethodGet, path: c.objectPath(""), query: query})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	deadline.Stop()
	end := time.AfterFunc(lasts+overdue, func() { cancel(errOverdue) })
	defer end.Stop()
	opened()

	body := &io.LimitedReader{R: resp.Body}
	events := json.NewDecoder(body)
	for {
		body.N = answerSize
		var event struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		if err := events.Decode(&event); err != nil {
			var syntax *json.SyntaxError
			var kind *json.UnmarshalTypeError
			switch {
			case errors.Is(err, io.EOF):
				return nil
			case body.N == 0:
				return unexpected(op, fmt.Errorf("an event is larger than %d bytes", answerSize))
			case errors.As(err, &syntax) || errors.As(err, &kind):
				return unexpected(op, err)
			}
			return transportError(ctx, op, err)
		}
		c.touch()
		if err := c.event(op, event.Type, event.Object, version, tell); err != nil {
			return err
		}
	}
}

// event handles one event and moves *version on.
func (c *Client) event(op, kind string, raw []byte, version *string, tell func(Observation)) error {
	switch kind {
	case "ADDED", "MODIFIED", "DELETED":
		o, meta, err := c.read(op, raw)
		if err != nil {
			return err
		}
		if kind == "DELETED" {
			o = Observation{Absent: true}
		}
		*version = meta.ResourceVersion
		tell(o)
		return nil
	case "BOOKMARK":
		var mark struct {
			Metadata metav1.ListMeta `json:"metadata"`
		}
		if err := sigsjson.UnmarshalCaseSensitivePreserveInts(raw, &mark); err != nil {
			return unexpected(op, err)
		}
		if mark.Metadata.ResourceVersion != "" {
			*version = mark.Metadata.ResourceVersion
		}
		return nil
	case "ERROR":
		var status metav1.Status
		if err := json.Unmarshal(raw, &status); err != nil {
			return unexpected(op, err)
		}
		return statusClass(op, &status)
	}
	return unexpected(op, fmt.Errorf("an event of type %.20q", kind))
}

// touch notes that the server has just spoken.
func (c *Client) touch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.contact = c.now()
}

// backoff is a wait with full jitter.
type backoff struct {
	failures int
	jitter   func() float64
}

// next is how long to wait after err. A nil err is a watch that ended in good order.
func (b *backoff) next(err error) time.Duration {
	limit := ceiling(ClassOf(err))
	most := min(limit, time.Second<<min(b.failures, 16))
	b.failures++
	d := time.Duration(b.jitter() * float64(most))
	var e *Error
	if errors.As(err, &e) {
		// The server's wait is added. The greater of the two would not do: all nodes are told the
		// same number of seconds.
		d += e.Patience()
	}
	return d
}

// ceiling is the longest wait. As long as a server cannot be reached, our requests cost it nothing.
// Once it is back, a change must not wait long. So the ceiling is half a minute: 10,000 nodes then
// come back at about 330 a second (666 in the first). A server that answers and asks us to wait
// gets the wait.
func ceiling(class Class) time.Duration {
	switch class {
	case Throttled:
		return 5 * time.Minute
	case Unauthorized, Forbidden, NotServed, Untrusted, Unexpected:
		return time.Minute
	case Credential:
		return 5 * time.Second
	}
	return 30 * time.Second
}
