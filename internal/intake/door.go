package intake

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"

	"multinicd/internal/publish"
	"multinicd/internal/terminal"
)

// API describes the door, as it is served under /openapi.yaml.
//
//go:embed openapi.yaml
var API []byte

const (
	configsPath = "/v1/k8s/multinic/node-configs"

	// maxLogged bounds each text of a client in the log, in bytes.
	maxLogged = 256
	// toldNodes is how many refused nodes of one request are logged one by one.
	toldNodes = 20
)

// publisher is the one writer.
type publisher interface {
	Publish(ctx context.Context, wishes []publish.Wish, dry bool) ([]publish.Result, error)
}

// guard says who somebody is, and what they may do. The errors are refusals, or wrap one.
type guard interface {
	who(context.Context, *http.Request) (caller, error)
	may(ctx context.Context, c caller, provider string) error
}

// door is the handler.
type door struct {
	log       *slog.Logger
	guard     guard
	publisher publisher
	rates     *rates
	places    *places
	meters    *meters
	most      int           // nodes of a request
	body      time.Duration // how long a body may take
	whole     time.Duration // how long a request may take
}

// audit is what is said about a request in the log.
type audit struct {
	user, provider string
	dry            bool
	nodes          int
	counts
	err error
}

// ServeHTTP answers one request.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if len(r.TransferEncoding) > 0 {
		// Where the body ends, a proxy in front of the door may see otherwise, if the request gives a
		// length as well: net/http drops it. What follows the body is then no request of its own.
		w.Header().Set("Connection", "close")
	}
	switch at := path(r); {
	case at == configsPath && r.Method == http.MethodPost:
		d.configs(w, r)
	case at == "/healthz" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		send(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok"))
	case at == "/openapi.yaml" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		send(w, http.StatusOK, "application/yaml", API)
	case at == configsPath:
		d.refuse(w, r, http.StatusMethodNotAllowed, "POST")
	case at == "/healthz", at == "/openapi.yaml":
		d.refuse(w, r, http.StatusMethodNotAllowed, "GET, HEAD")
	default:
		d.refuse(w, r, http.StatusNotFound, "")
	}
}

// refuse answers a request for which there is no place.
func (d *door) refuse(w http.ResponseWriter, r *http.Request, status int, allow string) {
	no := refuse(status, "NotFound", "there is nothing here; nodes are posted to %s", configsPath)
	if allow != "" {
		no = refuse(status, "MethodNotAllowed", "only %s is taken here", allow)
		w.Header().Set("Allow", allow)
	}
	write(w, status, no.answer())
	d.told(r, status, string(uuid.NewUUID()), time.Now(), &audit{err: no})
}

// configs answers a request about nodes.
func (d *door) configs(w http.ResponseWriter, r *http.Request) {
	begun, id := time.Now(), string(uuid.NewUUID())
	w.Header().Set("X-Request-Id", id)
	ctx, cancel := context.WithDeadline(r.Context(), begun.Add(d.whole))
	defer cancel()
	var says audit
	a, status := d.answer(ctx, w, r, begun, &says)
	write(w, status, a)
	d.told(r, status, id, begun, &says)
}

// answer does what a request asks for.
func (d *door) answer(ctx context.Context, w http.ResponseWriter, r *http.Request, begun time.Time, says *audit) (answer, int) {
	no := func(err error) (answer, int) {
		says.err = err
		var why *refusal
		if !errors.As(err, &why) {
			why = refuse(http.StatusServiceUnavailable, "NotNow", "the cluster cannot be asked now")
		}
		for name, value := range why.header {
			w.Header().Set(name, value)
		}
		return why.answer(), why.status
	}
	if err := onlyOnce(r); err != nil {
		return no(err)
	}
	c, err := d.guard.who(ctx, r)
	if err != nil {
		return no(err)
	}
	says.user = c.user.Username
	name := c.user.Username
	if c.access { // of those who do not say who they are, each address is somebody else
		name += " " + remote(r)
	}
	if !d.rates.allow(name) {
		return no(tooFast("too many requests: send more nodes in each, or wait"))
	}
	leave := d.places.take(name)
	if leave == nil {
		return no(tooFast("too many requests at a time: wait for the answer to the last one"))
	}
	defer leave()
	asked, err := readHeader(r)
	if err != nil {
		return no(err)
	}
	says.provider, says.dry = asked.provider, asked.dry
	if err := d.guard.may(ctx, c, asked.provider); err != nil {
		return no(err)
	}
	body, err := readBody(w, r, begun.Add(d.body))
	if err != nil {
		return no(err)
	}
	if err := asked.parse(body, d.most); err != nil {
		return no(err)
	}
	says.nodes = len(asked.wishes)
	results, err := d.publisher.Publish(ctx, asked.wishes, asked.dry)
	if err != nil {
		return no(err)
	}
	a, status, n := answered(asked, results)
	says.counts = n
	d.tellRefused(asked, results)
	return a, status
}

// answer is the body of a refusal.
func (r *refusal) answer() answer {
	return answer{Errors: []wrong{{Code: r.code, Message: r.message}}}
}

// tellRefused logs the nodes that were refused, since the clients in the field throw the answer away.
func (d *door) tellRefused(r request, results []publish.Result) {
	told := 0
	for i, is := range results {
		if is.Action != publish.Refused {
			continue
		}
		if told++; told > toldNodes {
			continue
		}
		d.log.Warn("a node was refused", "node", shown(r.wishes[i].Node), "object", is.Node, "provider", r.provider,
			"reason", string(is.Reason), "err", terminal.Line(is.Message, 4*maxLogged))
	}
	if told > toldNodes {
		d.log.Warn("more nodes were refused", "nodes", told-toldNodes)
	}
}

// told logs and counts a request that was answered.
func (d *door) told(r *http.Request, status int, id string, begun time.Time, says *audit) {
	took := time.Since(begun)
	facts := []any{
		"status", status, "user", shown(says.user), "provider", shown(says.provider), "remote", shown(remote(r)),
		"method", shown(r.Method), "path", shown(r.URL.Path), "agent", shown(r.UserAgent()), "id", id, "seconds", took.Seconds(),
	}
	if says.nodes > 0 {
		facts = append(facts, "nodes", says.nodes, "created", says.created, "changed", says.changed, "unchanged", says.unchanged,
			"refused", says.refused, "waiting", says.waiting, "dry", says.dry)
	}
	if says.err != nil {
		facts = append(facts, "err", terminal.Line(says.err.Error(), 4*maxLogged))
	}
	d.log.Info("request", facts...)
	d.meters.count(status, took, says)
}

// shown is a text of a client, for the log.
func shown(s string) string { return terminal.Line(s, maxLogged) }

var errNotReady = errors.New("the Nodes are not read yet")
