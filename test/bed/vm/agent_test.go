package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeAgent answers on a socket, as qemu's does, what answers has for a command. To the first call it says before what somebody else had asked for.
func fakeAgent(t *testing.T, answers map[string]string) *agent {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { listener.Close(); <-done })
	go func() {
		defer close(done)
		for calls := 1; ; calls++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(conn, "{\"return\": 7}\n\xff{\"return\": 99}\n")
			for lines := bufio.NewScanner(conn); lines.Scan(); {
				if strings.Contains(lines.Text(), "guest-sync-delimited") {
					fmt.Fprintf(conn, "\xff{\"return\": %d}\n", calls)
				}
				for command, answer := range answers {
					if strings.Contains(lines.Text(), command) {
						fmt.Fprintln(conn, answer)
					}
				}
			}
			conn.Close()
		}
	}()
	return &agent{path: path, exited: make(chan struct{})}
}

func TestAnAnswerBelongsToItsQuestion(t *testing.T) {
	a := fakeAgent(t, map[string]string{"right": `{"return": {"pid": 5}}`, "wrong": `{"error": {"class": "GenericError", "desc": "no such command"}}`})
	defer a.close()
	var got struct {
		PID int `json:"pid"`
	}
	for range 2 {
		if err := a.ask(t.Context(), "right", nil, &got); err != nil || got.PID != 5 {
			t.Errorf("got %+v, %v, want process 5", got, err)
		}
		var refused *agentError
		if err := a.ask(t.Context(), "wrong", nil, &got); !errors.As(err, &refused) || refused.Text != "no such command" {
			t.Errorf("got %v, want what the agent says", err)
		}
		a.hangUp() // the next one has to call again
	}
}

func TestAnAgentThatDoesNotAnswer(t *testing.T) {
	a := fakeAgent(t, nil)
	defer a.close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := a.ask(ctx, "silence", nil, nil); err == nil || !strings.Contains(err.Error(), "silence") {
		t.Errorf("got %v, want an error that names the question", err)
	}
	if a.conn != nil {
		t.Error("what is answered later would be taken for the next answer")
	}
}
