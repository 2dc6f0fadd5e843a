// Command bench measures what a user waits for, and what it costs: one real host with multinicd under its unit, a real control plane, the bridge.
//
// Over many changes of one object it takes the times from the API server's answer to the kernel as wanted and to the status Configured, and
// counts requests and what happens to other links; then what the idle daemon uses; then the same change by others: `multinicd apply`, ip, and
// netplan apply. Text, data and plots go to docs/performance.
//
// It must not judge by the product's own words: times come from a monitor of the kernel and a watch of its own, requests from the audit log.
//
// It needs root and what `go run ./test/cmd/setup` makes. Start reading at bench.run, then change.go.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"multinicd/test/bed/artifact"
	"multinicd/test/bed/sandbox"
)

func main() {
	log.SetLogger(logr.Discard()) // what the client's library would say
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{begin: time.Now()}
	flag.IntVar(&b.changes, "changes", 100, "changes in each series")
	flag.IntVar(&b.tries, "methods", 20, "changes by each other method")
	flag.DurationVar(&b.idle, "idle", time.Minute, "how long the daemon idles before memory and processor are read; a full run takes 10m")
	flag.DurationVar(&b.pause, "pause", 300*time.Millisecond, "rest after each change, give or take a third")
	flag.BoolVar(&b.only, "only-backends", false, "measure nothing but what a change costs with each backend")
	flag.BoolVar(&b.onlyDrift, "only-drift", false, "measure nothing but how long what is plugged in, or changed by hand, takes to be as wanted")
	flag.StringVar(&b.out, "out", "docs/performance", "`folder` for text, data and plots, from the top of the repository; empty: only print")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: takes no arguments, got %q\n", flag.Arg(0))
		os.Exit(2)
	}
	err := b.run(ctx)
	if b.stand != nil {
		if cerr := b.stand.close(); err == nil {
			err = cerr
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct {
	changes, tries int
	idle, pause    time.Duration
	out            string
	only           bool // backends
	onlyDrift      bool

	begin time.Time
	stand *stand
}

func (b *bench) logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench %6.1f s: %s\n", time.Since(b.begin).Seconds(), fmt.Sprintf(format, args...))
}

func (b *bench) run(ctx context.Context) error {
	root, err := artifact.RepositoryRoot()
	if err != nil {
		return err
	}
	if !filepath.IsAbs(b.out) && b.out != "" {
		b.out = filepath.Join(root, b.out)
	}
	if !b.onlyDrift {
		b.logf("the same change with each backend and by others, %d times each", b.tries)
		table, err := b.backends(ctx)
		if err != nil {
			return err
		}
		fmt.Print(table)
		if b.out != "" {
			if err := writePage(b.out, "backends", table); err != nil {
				return err
			}
		}
	}
	if b.only {
		return nil
	}
	res := results{Date: b.begin.UTC().Truncate(time.Second), Changes: b.changes, LoadBefore: sandbox.Load()}
	b.stand = &stand{logf: b.logf, root: root}
	if err := b.stand.start(ctx); err != nil {
		return err
	}
	if err := b.drift(ctx); err != nil {
		return fmt.Errorf("measuring drift: %w", err)
	}
	if b.onlyDrift {
		return nil
	}
	for _, s := range []struct{ dad, kind string }{{"off", kindAddress}, {"off", kindMTU}, {"fast", kindAddress}, {"fast", kindMTU}} {
		b.logf("%d changes of %s, dad = %q", b.changes, s.kind, s.dad)
		series, err := b.series(ctx, s.dad, s.kind)
		if err != nil {
			return fmt.Errorf("changing %s with dad = %q: %w", s.kind, s.dad, err)
		}
		res.Series = append(res.Series, series)
		if s.dad == "off" && s.kind == kindMTU {
			b.logf("idling for %s", b.idle)
			if res.Idle, err = b.stand.idle(ctx, b.idle); err != nil {
				return fmt.Errorf("measuring the idle daemon: %w", err)
			}
		}
	}
	b.logf("the same change by others, %d times each", b.tries)
	if res.Methods, err = b.stand.methods(ctx, b.tries); err != nil {
		return fmt.Errorf("measuring other methods: %w", err)
	}
	res.LoadAfter = sandbox.Load()
	if res.Machine, err = b.stand.describe(ctx); err != nil {
		return fmt.Errorf("describing the machine: %w", err)
	}
	fmt.Print(res.text())
	if b.out == "" {
		return nil
	}
	return res.write(b.out)
}
