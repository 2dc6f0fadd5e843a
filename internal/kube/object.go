package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	sigsjson "sigs.k8s.io/json"

	v1 "multinicd/api/v1"
)

// Get observes the object once.
func (c *Client) Get(ctx context.Context) Observation {
	o, _ := c.get(ctx, "")
	return c.observed(o)
}

// Poll observes the object every interval, varied at random by up to 10 %, until ctx ends. It
// returns why it ended. notify gets each answer, even if it equals the one before, and is never
// called twice at a time. After an error the next request waits by the same backoff as in Watch.
func (c *Client) Poll(ctx context.Context, interval time.Duration, notify func(Observation)) error {
	wait := backoff{jitter: c.jitter}
	version := ""
	for ctx.Err() == nil {
		o, next := c.get(ctx, version)
		if ctx.Err() != nil {
			break
		}
		notify(c.observed(o))
		version = next
		delay := time.Duration(float64(interval) * (0.9 + 0.2*c.jitter()))
		if class := ClassOf(o.Err); class != "" && class != Malformed {
			delay = wait.next(o.Err)
		} else {
			wait = backoff{jitter: c.jitter}
		}
		if !c.pause(ctx, delay, ClassOf(o.Err)) {
			break
		}
	}
	return context.Cause(ctx)
}

// get reads the object. With the resource version of an earlier answer, the answer may come from
// the API server's cache, if the cache is not older than that version: such an answer costs no
// request to etcd. The second result is the version for the next call.
func (c *Client) get(ctx context.Context, version string) (Observation, string) {
	r := request{op: c.op("getting"), method: http.MethodGet, path: c.objectPath(c.opts.Node)}
	if version != "" {
		r.query = url.Values{"resourceVersion": {version}}
	}
	body, err := c.call(ctx, r)
	switch class := ClassOf(err); {
	case err == nil:
		o, meta, err := c.read(r.op, body)
		if err != nil {
			return Observation{Err: err}, ""
		}
		return o, meta.ResourceVersion
	case version != "" && (class == NotFound || class == Expired):
		// This answer may come from a cache that lags behind. Absence is believed only from the
		// store itself.
		return c.get(ctx, "")
	case class == NotFound:
		return Observation{Absent: true}, ""
	}
	return Observation{Err: err}, version
}

// list reads the object, and the resource version from which a watch may follow.
func (c *Client) list(ctx context.Context) (Observation, string, error) {
	r := request{op: c.op("listing"), method: http.MethodGet, path: c.objectPath(""), query: c.selector()}
	body, err := c.call(ctx, r)
	if err != nil {
		return Observation{}, "", err
	}
	var found struct {
		Metadata metav1.ListMeta   `json:"metadata"`
		Items    []json.RawMessage `json:"items"`
	}
	if err := sigsjson.UnmarshalCaseSensitivePreserveInts(body, &found); err != nil {
		return Observation{}, "", unexpected(r.op, err)
	}
	version := found.Metadata.ResourceVersion
	if version == "" {
		return Observation{}, "", unexpected(r.op, fmt.Errorf("the list has no resourceVersion"))
	}
	if len(found.Items) == 0 {
		// An empty list is no evidence. A field selector that something on the way drops or
		// misreads also gives one.
		o, _ := c.get(ctx, "")
		if ClassOf(o.Err) != "" && ClassOf(o.Err) != Malformed {
			return Observation{}, "", o.Err
		}
		return o, version, nil
	}
	o, _, err := c.read(r.op, found.Items[0])
	return o, version, err
}

func (c *Client) op(gerund string) string {
	return gerund + " multinicnodeconfig " + c.opts.Node
}

// selector asks for the one object. A Role with resourceNames permits list and watch only so, and
// the API server can serve such a watch without a look at the watches of other nodes.
func (c *Client) selector() url.Values {
	return url.Values{"fieldSelector": {"metadata.name=" + c.opts.Node}}
}

// read decodes the object. An object that cannot be decoded is an Observation too: its Err says
// which object it was and which field is wrong. An error means that this is no object of ours at
// all.
func (c *Client) read(op string, raw []byte) (Observation, metav1.ObjectMeta, error) {
	var bare struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
	}
	if err := sigsjson.UnmarshalCaseSensitivePreserveInts(raw, &bare); err != nil {
		return Observation{}, metav1.ObjectMeta{}, unexpected(op, err)
	}
	meta := bare.Metadata
	if meta.Name != c.opts.Node || meta.ResourceVersion == "" {
		return Observation{}, meta, unexpected(op, fmt.Errorf("got an object named %.80q, version %.40q", meta.Name, meta.ResourceVersion))
	}
	object, err := v1.ParseNodeConfig(raw)
	if err != nil {
		return Observation{Err: &Error{Class: Malformed, Op: op, UID: meta.UID, Generation: meta.Generation, Err: err}}, meta, nil
	}
	// The one long part of an object that nobody here reads.
	object.ManagedFields = nil
	return Observation{Object: object}, meta, nil
}

// unexpected is an error for an answer that makes no sense. What a decoder says about HTML is of
// little use, hence the hint.
func unexpected(op string, err error) error {
	return &Error{Class: Unexpected, Op: op, Err: fmt.Errorf("this is not the answer of an API server: %w", err)}
}

// mergePatch sends a patch. It gets back only the metadata of the result.
func (c *Client) mergePatch(ctx context.Context, op, path string, patch any) error {
	var body bytes.Buffer
	if err := json.NewEncoder(&body).Encode(patch); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	_, err := c.call(ctx, request{
		op: op, method: http.MethodPatch, path: path, body: body.Bytes(),
		accept: "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
	})
	return err
}

// PutReport writes the report in one request. Once it returns nil, the report is stored. The error
// wraps ErrNotFound if the bridge has not made the ConfigMap yet.
func (c *Client) PutReport(ctx context.Context, report []byte) error {
	op := "writing the report of " + c.opts.Node
	if len(report) > v1.MaxReportSize {
		return fmt.Errorf("%s: it has %d bytes, at most %d are taken", op, len(report), v1.MaxReportSize)
	}
	path := "/api/v1/namespaces/" + url.PathEscape(c.opts.ReportNamespace) + "/configmaps/" + url.PathEscape(v1.ReportName(c.opts.Node))
	return c.mergePatch(ctx, op, path, map[string]any{"data": map[string]string{v1.ReportKey: string(report)}})
}

// RenewLease says in one request that holder lives. The error wraps ErrNotFound if the bridge has
// not made the Lease yet. The time in the Lease is ours and is for people: the bridge goes by the
// moment at which it sees the Lease change.
func (c *Client) RenewLease(ctx context.Context, holder string) error {
	path := "/apis/coordination.k8s.io/v1/namespaces/" + url.PathEscape(c.opts.ReportNamespace) + "/leases/" + url.PathEscape(v1.LeaseName(c.opts.Node))
	return c.mergePatch(ctx, "renewing the lease of "+c.opts.Node, path, map[string]any{"spec": map[string]any{
		"holderIdentity":       holder,
		"leaseDurationSeconds": int(v1.SilentAfter / time.Second),
		"renewTime":            metav1.NewMicroTime(c.now()),
	}})
}
