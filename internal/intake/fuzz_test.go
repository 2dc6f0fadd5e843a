package intake

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"unicode"
)

// FuzzDoor: whatever is sent, there is an answer that a client can read, a refusal is the client's
// own fault, and neither the answer nor the log has a line or an escape of the client's.
func FuzzDoor(f *testing.F) {
	head := "POST " + configsPath + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + providerHeader + ": provider-a\r\n"
	f.Add([]byte(head+"\r\n"), []byte(oneNode))
	f.Add([]byte(head+"User-Agent: \x1b[2J\u202e\r\n\r\n"), []byte(`[{"nodeName":"a\n\u001b]0;x","interfaces":[{"id":-1,"mtu":"x"}]},5,null]`))
	f.Add([]byte("GET //healthz/ HTTP/1.1\r\nHost: x\r\n\r\n"), []byte(nil))
	f.Add([]byte("POST "+configsPath+"?dryRun=All&dryRun=All HTTP/1.0\r\n"+providerHeader+": \u009b\r\n\r\n"), []byte(`[`))
	f.Add([]byte("DELETE http://x/%0a%1b HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n\r\n"), []byte(`[{"nodeName":"a"}]{}`))
	f.Fuzz(func(t *testing.T, head, body []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
		if err != nil {
			return // net/http itself refuses it
		}
		r.Body, r.ContentLength, r.RemoteAddr = http.NoBody, int64(len(body)), "192.0.2.1:1"
		if len(body) > 0 {
			r.Body = readCloser{bytes.NewReader(body)}
		}
		var log bytes.Buffer
		w := newRecorder()
		newDoor(&played{}, letIn{}, &log).ServeHTTP(w, r)
		if w.Code != http.StatusOK && (w.Code < 400 || w.Code > 499) {
			t.Errorf("the status is %d: %s", w.Code, w.Body)
		}
		if kind := w.Header().Get("Content-Type"); kind == "application/json" {
			var a answer
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || (w.Code == http.StatusOK) != (a.Applied > 0) || w.Code != http.StatusOK && len(a.Errors) == 0 {
				t.Errorf("%d with %s: %v", w.Code, w.Body, err)
			}
			if strings.ContainsFunc(strings.TrimSuffix(w.Body.String(), "\n"), hidden) {
				t.Errorf("the answer is %q", w.Body)
			}
		}
		for line := range strings.Lines(log.String()) {
			if !strings.HasPrefix(line, "time=") || strings.ContainsFunc(strings.TrimSuffix(line, "\n"), hidden) {
				t.Errorf("the log has %q", line)
			}
		}
	})
}

// hidden is what acts on a terminal, or cannot be seen there.
func hidden(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

// FuzzParse: each entry of a list is one wish, in order: it can be read, or it says why not.
func FuzzParse(f *testing.F) {
	f.Add([]byte(oneNode))
	f.Add([]byte(`[{"nodeName":"a","interfaces":[{"id":1e9}]},{"nodeName":5},[],"x",null,{"nodeName":"b","providerId":"other"}]`))
	f.Add([]byte(`[{"nodeName":"a","nodename":"b","NODENAME":"c","interfaces":null}] `))
	f.Add([]byte("[\xff{}]"))
	f.Fuzz(func(t *testing.T, body []byte) {
		const most = 5
		r := request{provider: "provider-a"}
		err := r.parse(body, most)
		var no *refusal
		if err != nil && (!errors.As(err, &no) || no.status < 400 || no.status > 499) {
			t.Errorf("refused with %v", err)
		}
		var all []json.RawMessage
		if list := json.Unmarshal(body, &all) == nil && len(all) > 0 && len(all) <= most; list != (err == nil) || list && len(all) != len(r.wishes) {
			t.Fatalf("%d entries are %d wishes, and %v", len(all), len(r.wishes), err)
		}
		for i, w := range r.wishes {
			if w.Provider != "provider-a" || w.Unread == nil && w.Node == "" && w.InstanceID == "" || len(w.NICs) > 64 {
				t.Errorf("wish %d is %+v", i, w)
			}
		}
	})
}
