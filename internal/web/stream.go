package web

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"
)

//go:embed page
var files embed.FS

const (
	// pause between two messages to one page: a person sees no more than five changes a second.
	pause = 200 * time.Millisecond
	// beat is how often a page hears that the server still lives.
	beat = 15 * time.Second
	// slow is how long a browser may take to read one message.
	slow = 20 * time.Second
	// chunk is how many rows one message has: the first ones are shown while others are on their way.
	chunk = 500
	// mostPages bounds the streams. A browser itself has six to one server at most.
	mostPages = 64
)

// handler serves the files of the page, and its streams.
func handler(h *hub) http.Handler {
	page, err := fs.Sub(files, "page")
	if err != nil {
		panic(err) // the folder is in the program
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(page))
	mux.HandleFunc("GET /stream", h.stream)
	return mux
}

// message is one of the table's: some rows, and the names of nodes that have gone.
type message struct {
	// Reset: what the page has is void.
	Reset bool              `json:"reset,omitempty"`
	Rows  []json.RawMessage `json:"rows,omitempty"`
	Gone  []string          `json:"gone,omitempty"`
	// More: the next message belongs to this one.
	More bool `json:"more,omitempty"`
}

// stream tells one page what changes, as Server-Sent Events: "notices", and either "fleet", the
// table, or "node", about the node that the query names. The last message of the table has a mark as
// its id. A page that comes back with the mark gets what has changed since then.
func (h *hub) stream(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		return
	}
	s := &stream{h: h, w: w, to: http.NewResponseController(w), node: r.URL.Query().Get("node")}
	s.resume(r)
	h.enter()
	defer h.leave()
	h.mu.Lock()
	many := h.pages > mostPages
	h.mu.Unlock()
	if many {
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	beats := time.NewTicker(beat)
	defer beats.Stop()
	for {
		changed, err := s.tell()
		if err != nil {
			return // the browser has gone
		}
		select {
		case <-r.Context().Done():
			_ = s.send("bye", "", struct{}{}) // it has gone, or the command ends
			return
		case <-time.After(pause):
		}
		for waiting := true; waiting; {
			select {
			case <-r.Context().Done():
				_ = s.send("bye", "", struct{}{})
				return
			case <-beats.C:
				if err := s.write([]byte(":\n\n")); err != nil {
					return
				}
			case <-changed:
				waiting = false
			}
		}
	}
}

// stream is what one page knows.
type stream struct {
	h    *hub
	w    http.ResponseWriter
	to   *http.ResponseController
	node string // "": the table

	known   bool   // the page has rows, up to since
	since   uint64 // a number of the hub
	notices []byte // as last sent
	detail  []byte
	touched uint64
	common  uint64
}

// resume reads the mark that the page comes with.
func (s *stream) resume(r *http.Request) {
	mark := r.Header.Get("Last-Event-ID")
	if mark == "" {
		mark = r.URL.Query().Get("since")
	}
	epoch, number, ok := strings.Cut(mark, ".")
	since, err := strconv.ParseUint(number, 10, 64)
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if ok && err == nil && epoch == s.h.epoch && since <= s.h.seq && since >= s.h.forgot {
		s.known, s.since = true, since
	}
}

// tell sends what the page does not know yet. The channel is closed when there may be more.
func (s *stream) tell() (<-chan struct{}, error) {
	h := s.h
	h.mu.Lock()
	changed, notices := h.changed, h.notices()
	var rows []json.RawMessage
	var gone []string
	var detail *Detail
	settled, seq, news := h.settled(), h.seq, false
	switch {
	case !settled:
	case s.node == "":
		if s.known && s.since < h.forgot {
			s.known, s.since = false, 0
		}
		if news = !s.known || s.since < seq; news {
			rows, gone = h.news(s.since)
		}
	case s.detail == nil || s.touched != h.touched[s.node] || s.common != h.common:
		s.touched, s.common = h.touched[s.node], h.common
		d := h.detailOf(s.node)
		detail = &d
	}
	h.mu.Unlock()

	if data, err := json.Marshal(notices); err != nil {
		return nil, err
	} else if !bytes.Equal(data, s.notices) {
		s.notices = data
		if err := s.send("notices", "", json.RawMessage(data)); err != nil {
			return nil, err
		}
	}
	switch {
	case news:
		if err := s.tellRows(rows, gone, seq); err != nil {
			return nil, err
		}
	case detail != nil:
		data, err := json.Marshal(detail)
		if err != nil || bytes.Equal(data, s.detail) {
			return changed, err
		}
		s.detail = data
		return changed, s.send("node", "", json.RawMessage(data))
	}
	return changed, nil
}

// tellRows sends rows in several messages. Only the last one has a mark.
func (s *stream) tellRows(rows []json.RawMessage, gone []string, seq uint64) error {
	m := message{Reset: !s.known, Gone: gone}
	for {
		m.Rows = rows[:min(chunk, len(rows))]
		rows = rows[len(m.Rows):]
		m.More = len(rows) > 0
		mark := ""
		if !m.More {
			mark = s.h.epoch + "." + strconv.FormatUint(seq, 10)
		}
		if err := s.send("fleet", mark, m); err != nil {
			return err
		}
		if !m.More {
			s.known, s.since = true, seq
			return nil
		}
		m = message{}
	}
}

// send writes one message. JSON has no line breaks.
func (s *stream) send(event, mark string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding for a page: %w", err)
	}
	var b bytes.Buffer
	if mark != "" {
		fmt.Fprintf(&b, "id: %s\n", mark)
	}
	fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", event, data)
	return s.write(b.Bytes())
}

func (s *stream) write(data []byte) error {
	if err := s.to.SetWriteDeadline(time.Now().Add(slow)); err != nil {
		return fmt.Errorf("writing to a page: %w", err)
	}
	if _, err := s.w.Write(data); err != nil {
		return fmt.Errorf("writing to a page: %w", err)
	}
	return s.to.Flush()
}
