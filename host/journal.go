package host

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/journal"

	"multinicd/internal/terminal"
)

// LogHandler is the handler for the logger of the whole program. If standard error is the journal,
// as under systemd, entries go there with their attributes as fields: `journalctl NIC=multinic1`
// finds them (systemd.exec(5), $JOURNAL_STREAM). If not, entries are lines of text on stderr.
func LogHandler(stderr io.Writer, level slog.Leveler) slog.Handler {
	text := slog.NewTextHandler(terminal.Writer(stderr), &slog.HandlerOptions{Level: level, ReplaceAttr: saying})
	if is, err := journal.StderrIsJournalStream(); err != nil || !is {
		return text
	}
	return newJournalHandler(journal.Send, text, level)
}

// journalHandler sends entries to journald in its native protocol. The message also carries the
// attributes, because journalctl shows no fields by itself.
type journalHandler struct {
	level    slog.Leveler
	send     func(message string, priority journal.Priority, fields map[string]string) error
	fallback slog.Handler // gets what journald does not take

	line   *line
	text   slog.Handler // writes the attributes of an entry to line
	fields map[string]string
	prefix string // of fields in groups
}

// line is where the text of an entry is put together, one entry at a time. All handlers of a logger
// share it.
type line struct {
	mu sync.Mutex
	bytes.Buffer
}

func newJournalHandler(send func(string, journal.Priority, map[string]string) error, fallback slog.Handler, level slog.Leveler) *journalHandler {
	l := &line{}
	attributesOnly := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			return slog.Attr{}
		}
		return saying(groups, a)
	}
	return &journalHandler{level: level, send: send, fallback: fallback, line: l,
		text: slog.NewTextHandler(l, &slog.HandlerOptions{Level: level, ReplaceAttr: attributesOnly})}
}

// saying leaves an attribute out that says nothing: an empty text, or no error.
func saying(_ []string, a slog.Attr) slog.Attr {
	if v := a.Value.Resolve(); v.Kind() == slog.KindString && v.String() == "" || v.Kind() == slog.KindAny && v.Any() == nil {
		return slog.Attr{}
	}
	return a
}

// Enabled is part of slog.Handler.
func (h *journalHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

// Handle is part of slog.Handler.
func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	message, err := h.message(ctx, r)
	if err != nil {
		return fmt.Errorf("writing a log entry: %w", err)
	}
	fields := maps.Clone(h.fields)
	if fields == nil {
		fields = map[string]string{}
	}
	r.Attrs(func(a slog.Attr) bool {
		addField(fields, h.prefix, a)
		return true
	})
	if err := h.send(message, priority(r.Level), fields); err != nil {
		return h.fallback.Handle(ctx, r)
	}
	return nil
}

func (h *journalHandler) message(ctx context.Context, r slog.Record) (string, error) {
	h.line.mu.Lock()
	defer h.line.mu.Unlock()
	h.line.Reset()
	if err := h.text.Handle(ctx, r); err != nil {
		return "", err
	}
	return terminal.Lines(strings.TrimSpace(r.Message + " " + h.line.String())), nil // slog lets a DEL through
}

// WithAttrs is part of slog.Handler.
func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.text, with.fallback = h.text.WithAttrs(attrs), h.fallback.WithAttrs(attrs)
	with.fields = maps.Clone(h.fields)
	if with.fields == nil {
		with.fields = map[string]string{}
	}
	for _, a := range attrs {
		addField(with.fields, h.prefix, a)
	}
	return &with
}

// WithGroup is part of slog.Handler.
func (h *journalHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.text, with.fallback, with.prefix = h.text.WithGroup(name), h.fallback.WithGroup(name), h.prefix+name+"_"
	return &with
}

func addField(fields map[string]string, prefix string, a slog.Attr) {
	if a = saying(nil, a); a.Equal(slog.Attr{}) {
		return
	}
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "_"
		}
		for _, member := range value.Group() {
			addField(fields, prefix, member)
		}
		return
	}
	name := fieldName(prefix + a.Key)
	if name == "" {
		return
	}
	if value.Kind() == slog.KindTime {
		fields[name] = value.Time().Format(time.RFC3339Nano)
		return
	}
	fields[name] = terminal.Lines(value.String())
}

// fieldName turns a key into the form of systemd.journal-fields(7): A-Z, 0-9 and '_', at most 64
// bytes, no leading '_' or digit. It is empty for a key that cannot be a field, or that means
// something to journald itself. Such an attribute is only in the message.
func fieldName(key string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, key)
	name = strings.TrimLeft(name, "_0123456789")
	switch {
	case len(name) > 64, name == "MESSAGE", name == "MESSAGE_ID", name == "PRIORITY", name == "ERRNO", name == "TID", name == "UNIT", name == "USER_UNIT",
		strings.HasPrefix(name, "SYSLOG_"), strings.HasPrefix(name, "CODE_"), strings.HasPrefix(name, "OBJECT_"), strings.HasPrefix(name, "COREDUMP_"):
		return ""
	}
	return name
}

func priority(level slog.Level) journal.Priority {
	switch {
	case level >= slog.LevelError:
		return journal.PriErr
	case level >= slog.LevelWarn:
		return journal.PriWarning
	case level >= slog.LevelInfo:
		return journal.PriInfo
	}
	return journal.PriDebug
}
