package intake

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"multinicd/internal/publish"
	"multinicd/internal/terminal"
)

// answer is the body of every answer about nodes. openapi.yaml describes it.
type answer struct {
	// Applied counts the nodes whose objects are as wished.
	Applied int     `json:"applied"`
	Results []taken `json:"results,omitempty"`
	Errors  []wrong `json:"errors,omitempty"`
}

// taken is a node whose object is as wished.
type taken struct {
	NodeName        string   `json:"nodeName"`
	Object          string   `json:"object"`
	Status          string   `json:"status"`
	Message         string   `json:"message,omitempty"`
	ResourceVersion string   `json:"resourceVersion,omitempty"`
	Generation      int64    `json:"generation,omitempty"`
	Kept            []string `json:"kept,omitempty"`
	Diff            []string `json:"diff,omitempty"`
}

// wrong is a node that was refused, or what is wrong with the whole request.
type wrong struct {
	NodeName string `json:"nodeName,omitempty"`
	Object   string `json:"object,omitempty"`
	Code     string `json:"code"`
	Message  string `json:"message"`
}

// retryAfter is for how long a client should wait, in seconds.
const retryAfter = "30"

// counts are how many nodes of a request ended how.
type counts struct{ created, changed, unchanged, refused, waiting int }

// answered puts results into an answer, with its HTTP status.
//
// The clients in the field know 200, and send everything again after anything else. So 200 says
// that to send the same again would change nothing: each node is stored, or was refused for good.
// If none was taken, or if one may be taken later, the status is another one.
func answered(r request, results []publish.Result) (answer, int, counts) {
	var a answer
	var n counts
	for i, is := range results {
		w := r.wishes[i]
		if is.Action == publish.Refused {
			a.Errors = append(a.Errors, wrong{w.Node, is.Node, string(is.Reason), is.Message})
			if is.Reason.Temporary() {
				n.waiting++
			} else {
				n.refused++
			}
			continue
		}
		row := taken{
			NodeName: w.Node, Object: is.Node, Status: string(is.Action), Kept: is.Kept,
			ResourceVersion: is.ResourceVersion, Generation: is.Generation,
		}
		if len(is.Kept) > 0 {
			row.Message = "NICs that the list has not got stay in the object"
		}
		if r.dry {
			row.Diff = is.Diff
		}
		a.Applied++
		a.Results = append(a.Results, row)
		switch is.Action {
		case publish.Created:
			n.created++
		case publish.Changed:
			n.changed++
		default:
			n.unchanged++
		}
	}
	switch {
	case n.waiting > 0:
		return a, http.StatusServiceUnavailable, n
	case a.Applied == 0:
		return a, http.StatusUnprocessableEntity, n
	}
	return a, http.StatusOK, n
}

// write sends an answer, made fit for a terminal.
func write(w http.ResponseWriter, status int, a answer) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if enc.Encode(terminal.Plain(a)) != nil {
		status = http.StatusInternalServerError
	}
	if status == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", retryAfter)
	}
	send(w, status, "application/json", body.Bytes())
}

// send sends a body. An error is the client's: it has gone away.
func send(w http.ResponseWriter, status int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
