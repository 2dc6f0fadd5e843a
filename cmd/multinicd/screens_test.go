package main

import (
	"flag"
	"log/slog"
	"slices"
	"testing"

	"multinicd/internal/apply"
	"multinicd/internal/daemon"
	"multinicd/internal/hosttest"
	"multinicd/netplan"
)

var update = flag.Bool("update", false, "write golden files anew")

// What `multinicd plan` shows of scenarios that all dialects share.
func TestTheScreensOfPlan(t *testing.T) {
	shown := []string{"two-new-nics", "one-has-the-default-route", "one-is-not-plugged-in", "taken-over-from-cloud-init", "address-and-mtu-changed"}
	got := map[string]string{}
	hosttest.Scenarios(t, "../../plan/testdata", func(t *testing.T, name string, s hosttest.Scenario) {
		if !slices.Contains(shown, name) {
			return
		}
		m := s.Host(t)
		w := &wired{node: "worker-node-01", daemon: &daemon.Daemon{Wiring: daemon.Wiring{Backend: "netplan"}},
			applier: &apply.Applier{Backend: netplan.New(m, m), Links: m, Files: m, Log: slog.New(slog.DiscardHandler), Dir: "/state"}}
		if err := w.applier.Open(); err != nil {
			t.Fatal(err)
		}
		would, err := w.preview(t.Context())(daemon.Foreseen{Plan: s.Plan()}, nil)
		if err != nil {
			t.Fatal(err)
		}
		hosttest.Screens(t, name, got, would.Text, "    + ", "    - ", "    ~ ", "  file ", "  link ")
	})
	hosttest.Golden(t, "testdata/screens", got, *update)
}
