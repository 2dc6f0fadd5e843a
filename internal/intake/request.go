package intake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"
	"unicode"

	v1 "multinicd/api/v1"
	"multinicd/internal/publish"
	"multinicd/internal/terminal"
)

const (
	// maxBody bounds a request in bytes, as the publishers in the field know it.
	maxBody = 4 << 20
	// maxEntry bounds one node of a request in bytes: 64 NICs with everything take half of it.
	maxEntry = 256 << 10
	// maxNICs bounds the NICs of all nodes of a request, because each takes more memory than "{}".
	maxNICs = 100_000
	// providerHeader names the provider to which the nodes of a request belong.
	providerHeader = "X-Provider-Id"
)

// providerForm is what a provider may be called: it stands in rights, and in objects.
var providerForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._:-]{0,251}[A-Za-z0-9])?$`)

// request is what a publisher asks for.
type request struct {
	provider string
	dry      bool
	wishes   []publish.Wish
}

// refusal is an answer to a request of which nothing was done.
type refusal struct {
	status        int
	code, message string
	header        map[string]string
}

func (r *refusal) Error() string { return r.message }

func refuse(status int, code, format string, args ...any) *refusal {
	return &refusal{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

// onlyOnce refuses a request with two values in a header that counts: who stands before the door, and
// has let the request pass, may have read the other one.
func onlyOnce(r *http.Request) error {
	for _, name := range []string{"Authorization", providerHeader, "Content-Type", "Content-Encoding"} {
		if n := len(r.Header.Values(name)); n > 1 {
			return refuse(http.StatusBadRequest, "HeaderTwice", "the header %s is there %d times", name, n)
		}
	}
	return nil
}

// readHeader reads all of a request except its body. Of a request that is not taken no body is read.
func readHeader(r *http.Request) (request, error) {
	out := request{provider: r.Header.Get(providerHeader)}
	switch {
	case out.provider == "":
		return out, refuse(http.StatusBadRequest, "ProviderMissing", "the header %s is missing: give the id of your provider, which owns the nodes", providerHeader)
	case !providerForm.MatchString(out.provider):
		return out, refuse(http.StatusBadRequest, "ProviderInvalid", "the header %s has %q: letters, digits and . _ : - are taken, 253 at most", providerHeader, terminal.Line(out.provider, maxLogged))
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return out, refuse(http.StatusUnsupportedMediaType, "NotJSON", "the header Content-Type has %q: application/json is taken", terminal.Line(r.Header.Get("Content-Type"), maxLogged))
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return out, refuse(http.StatusUnsupportedMediaType, "Encoded", "the body is encoded (%q): send it as it is", terminal.Line(coding, maxLogged))
	}
	// A dry run that is written wrongly must not become a real one.
	query, err := url.ParseQuery(r.URL.RawQuery)
	dry := query["dryRun"]
	delete(query, "dryRun")
	switch {
	case err != nil || len(query) > 0:
		return out, refuse(http.StatusBadRequest, "QueryInvalid", "the only parameter is dryRun=All")
	case len(dry) == 1 && dry[0] == "All":
		out.dry = true
	case len(dry) > 0:
		return out, refuse(http.StatusBadRequest, "DryRunInvalid", "dryRun is All, or is left out")
	}
	return out, nil
}

// tooLarge refuses a body. A client that is in the midst of sending reads the answer when it has
// sent all, so that as much as may be taken is read once more, and thrown away.
func tooLarge(r *http.Request) error {
	_, _ = io.CopyN(io.Discard, r.Body, maxBody) // a client that sends even more has no answer
	return refuse(http.StatusRequestEntityTooLarge, "TooLarge", "the body has more than %d bytes: send fewer nodes at a time", maxBody)
}

// readBody reads the body until a deadline.
func readBody(w http.ResponseWriter, r *http.Request, until time.Time) ([]byte, error) {
	deadline := http.NewResponseController(w).SetReadDeadline
	if err := deadline(until); err != nil {
		return nil, fmt.Errorf("setting a deadline for the body: %w", err)
	}
	if r.ContentLength > maxBody {
		return nil, tooLarge(r)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case err == nil:
		// The server goes on to read, in order to notice a client that goes away. It would take the
		// deadline for one (net/http, 1.26).
		if err := deadline(time.Time{}); err != nil {
			return nil, fmt.Errorf("ending the deadline for the body: %w", err)
		}
	case errors.As(err, &large):
		return nil, tooLarge(r)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, refuse(http.StatusRequestTimeout, "TooSlow", "the body did not come in time")
	default:
		return nil, refuse(http.StatusBadRequest, "BodyUnread", "the body cannot be read: %v", err)
	}
	return body, nil
}

// parse reads the list of nodes. A node that cannot be read is a wish that says so; what is no list,
// or too long, is an error.
func (r *request) parse(body []byte, most int) error {
	bad := func(format string, args ...any) error {
		return refuse(http.StatusBadRequest, "NotAList", "the body is no list of nodes: "+format, args...)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if begin, err := dec.Token(); err != nil {
		return bad("%v", err)
	} else if begin != json.Delim('[') {
		return bad("it begins with %q", fmt.Sprint(begin))
	}
	nics := 0
	for dec.More() {
		if len(r.wishes) == most {
			return refuse(http.StatusRequestEntityTooLarge, "TooMany", "the list has more than %d nodes: send fewer at a time", most)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return bad("node %d: %v", len(r.wishes), err)
		}
		w := r.wish(raw)
		if nics += len(w.NICs); nics > maxNICs {
			return refuse(http.StatusRequestEntityTooLarge, "TooMany", "the list has more than %d NICs: send fewer nodes at a time", maxNICs)
		}
		r.wishes = append(r.wishes, w)
	}
	if _, err := dec.Token(); err != nil {
		return bad("%v", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return bad("something follows it")
	}
	if len(r.wishes) == 0 {
		return refuse(http.StatusBadRequest, "Empty", "empty payload: the list has no node")
	}
	return nil
}

// wish reads one node. Its fields are those of an object's spec; what the spec does not know is
// dropped, as the API server does.
func (r *request) wish(raw json.RawMessage) publish.Wish {
	w := publish.Wish{Provider: r.provider}
	if len(raw) > maxEntry {
		w.Unread = fmt.Errorf("it has %d bytes, at most %d are taken", len(raw), maxEntry)
		return w
	}
	var name struct {
		NodeName any `json:"nodeName"`
	}
	if json.Unmarshal(raw, &name) == nil {
		w.Node, _ = name.NodeName.(string)
	}
	if key := twice(raw); key != "" {
		w.Unread = fmt.Errorf("the key %q stands twice in one object", terminal.Line(key, maxLogged))
		return w
	}
	o, err := v1.ParseNodeConfig(fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,"spec":%s}`, v1.GroupVersion, v1.NodeConfigKind, raw))
	if err != nil {
		w.Unread = err
		return w
	}
	s := o.Spec
	w.Node, w.InstanceID, w.SpecHash, w.NICs = s.NodeName, s.InstanceID, s.SpecHash, s.Interfaces
	switch {
	case s.NodeName == "" && s.InstanceID == "":
		w.Unread = errors.New("nodeName is required")
	case s.ProviderID != "" && s.ProviderID != r.provider:
		w.Unread = fmt.Errorf("providerId is %q, and the header %s has %q", s.ProviderID, providerHeader, r.provider)
	case len(s.Interfaces) > v1.MaxInterfaces:
		w.NICs, w.Unread = nil, fmt.Errorf("there are %d interfaces, at most %d are taken", len(s.Interfaces), v1.MaxInterfaces)
	}
	return w
}

// twice gives a key that stands twice in one object of a JSON value, "" if none does. Readers of JSON
// do not agree on which of the two counts, and encoding/json, which reads here, takes keys in any case.
func twice(raw []byte) string {
	type level struct {
		keys  map[string]bool // nil in a list
		value bool            // what comes next is the value of a key
	}
	var open []level
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	for {
		token, err := dec.Token()
		if err != nil { // raw is one value: this is its end
			return ""
		}
		delim, _ := token.(json.Delim)
		if delim == '}' || delim == ']' {
			open = open[:len(open)-1]
			continue
		}
		if n := len(open) - 1; n >= 0 && open[n].keys != nil {
			key, _ := token.(string)
			if open[n].value = !open[n].value; open[n].value {
				if open[n].keys[folded(key)] {
					return key
				}
				open[n].keys[folded(key)] = true
				continue
			}
		}
		switch delim {
		case '{':
			open = append(open, level{keys: map[string]bool{}})
		case '[':
			open = append(open, level{})
		}
	}
}

// folded is the same for two keys that are the same to encoding/json.
func folded(key string) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, key)
}

// path is the path of a request without doubled slashes. The field's client makes one: it puts the
// path behind a base that may end with a slash.
func path(r *http.Request) string {
	var parts []string
	for part := range strings.SplitSeq(r.URL.Path, "/") {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return "/" + strings.Join(parts, "/")
}
