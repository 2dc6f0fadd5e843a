package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"multinicd/host"
	"multinicd/internal/config"
	"multinicd/internal/daemon/asked"
)

func TestAnIdleServiceSaysWhatIsWrongWithACredentialThatIsThere(t *testing.T) {
	root := t.TempDir()
	h, err := host.New(root)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	w := &wired{cfg: cfg, node: "n1", log: slog.New(slog.DiscardHandler), host: h}
	if err := w.wireAPI(); err != nil || !strings.Contains(w.idle, "multinicd join makes it") {
		t.Fatalf("without a credential: %v, idle %q", err, w.idle)
	}
	dir := filepath.Join(root, cfg.CredentialDir())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"server": "https://192.0.2.1:6443\n", "ca.crt": "no certificate\n", "token": "t\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var said []string
	err = idleSource{w, func() { t.Error("it has found a way") }}.Run(ctx, func(wish asked.Wish) {
		said = append(said, wish.Idle)
		if len(said) == 2 {
			cancel()
		}
	})
	if err != nil || len(said) != 2 || said[0] != w.idle || !strings.Contains(said[1], "reading the credential: ") {
		t.Errorf("it says %q, %v", said, err)
	}
}
