package bridge

import (
	"context"
	"log/slog"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// LogLibraries sends to log what client-go and controller-runtime say through their process-wide
// loggers. Call it once, before Run.
func LogLibraries(log *slog.Logger) {
	ctrl.SetLogger(libraryLog(log))
	klog.SetLogger(libraryLog(log))
}

func libraryLog(log *slog.Logger) logr.Logger { return logr.FromSlogHandler(demoted{log.Handler()}) }

// demoted passes a library's Info on as Debug. How controller-runtime starts and stops its parts is
// no news for the person who runs the bridge.
type demoted struct{ slog.Handler }

func (d demoted) Enabled(ctx context.Context, l slog.Level) bool {
	return d.Handler.Enabled(ctx, demote(l))
}

func (d demoted) Handle(ctx context.Context, r slog.Record) error {
	r.Level = demote(r.Level)
	return d.Handler.Handle(ctx, r)
}

func (d demoted) WithAttrs(attrs []slog.Attr) slog.Handler {
	return demoted{d.Handler.WithAttrs(attrs)}
}

func (d demoted) WithGroup(name string) slog.Handler { return demoted{d.Handler.WithGroup(name)} }

func demote(l slog.Level) slog.Level {
	if l == slog.LevelInfo {
		return slog.LevelDebug
	}
	return l
}
