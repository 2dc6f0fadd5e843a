// Command bench measures what a user waits for, and what it costs, and writes every page of docs/performance, all of one commit: one real host with
// multinicd under its unit, a real control plane, the bridge; and then, by test/cmd/fleet, what many nodes cost.
//
// Over many changes of one object it takes the times from the API server's answer to the kernel as wanted and to the status Configured, and
// counts requests and what happens to other links; then what the idle daemon uses; then the same change by others: `multinicd apply`, ip, and
// netplan apply. Each page is written as soon as it is measured, with its figures in the history. With -compare it measures nothing, and compares.
//
// It must not judge by the product's own words: times come from a monitor of the kernel and a watch of its own, requests from the audit log.
//
// It needs root and what `go run ./test/cmd/setup openstack` makes. Start reading at bench.run, then change.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"multinicd/test/bed/artifact"
	"multinicd/test/bed/measure"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{begin: time.Now()}
	b.Run = measure.Flags(b.logf)
	flag.IntVar(&b.changes, "changes", 100, "changes in each series")
	flag.IntVar(&b.tries, "methods", 20, "changes by each other method")
	flag.DurationVar(&b.idle, "idle", time.Minute, "how long the daemon idles before memory and processor are read; a full run takes 10m")
	flag.DurationVar(&b.pause, "pause", 300*time.Millisecond, "rest after each change, give or take a third")
	flag.IntVar(&b.nodes, "nodes", 2000, "how many nodes the pages about many of them are of: as many are held, half as many polled and weighed, five times as many published")
	only := flag.String("only", "", "measure only these `pages`, with commas: "+strings.Join(pages(b.steps()), ","))
	compare := flag.Bool("compare", false, "measure nothing: compare the last two releases of the history, or the last with a run's results.json or history.csv, named as an argument")
	flag.BoolVar(&b.check, "check", false, "measure nothing: say what is missing, except what setup makes")
	flag.Parse()
	if flag.NArg() > 1 || flag.NArg() == 1 && !*compare {
		fmt.Fprintf(os.Stderr, "bench: takes no arguments, except one file with -compare, got %q\n", flag.Args())
		os.Exit(2)
	}
	b.only = strings.FieldsFunc(*only, func(r rune) bool { return r == ',' })
	for _, page := range b.only {
		if !slices.Contains(pages(b.steps()), page) {
			fmt.Fprintf(os.Stderr, "bench: there is no page %q; there are %s\n", page, strings.Join(pages(b.steps()), ", "))
			os.Exit(2)
		}
	}
	var err error
	if *compare {
		err = b.compare(flag.Arg(0))
	} else {
		err = errors.Join(b.run(ctx), b.end(), b.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct {
	*measure.Run
	changes, tries int
	idle, pause    time.Duration
	nodes          int
	only           []string
	check          bool

	begin time.Time
	stand *stand
}

func (b *bench) logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench %6.1f s: %s\n", time.Since(b.begin).Seconds(), fmt.Sprintf(format, args...))
}

// step measures one page, and writes it.
type step struct {
	page string
	do   func(context.Context) error
}

func (b *bench) steps() []step {
	fleet := func(page string, nodes int, args ...string) step {
		return step{page, func(ctx context.Context) error {
			return b.fleet(ctx, append(args, "-nodes", fmt.Sprint(max(nodes, 10)))...)
		}}
	}
	return []step{
		{"backends", b.backends}, {"drift", b.drift}, {"README", b.changesAndRest},
		fleet("scale", b.nodes/2, "-scale"), fleet("flood", 10, "-flood"), fleet("openstack", b.nodes/2, "-openstack"), fleet("intake", 5*b.nodes, "-door"), fleet("rights", 5*b.nodes, "-rights"),
		fleet("fleet", b.nodes),
	}
}

func pages(steps []step) (names []string) {
	for _, s := range steps {
		names = append(names, s.page)
	}
	return names
}

// run makes one page after the other. A page that fails keeps none of the others from being written.
func (b *bench) run(ctx context.Context) error {
	needs := measure.Needs{Memory: 2 + float64(b.nodes)/1000, Disk: 4, Setup: b.check}
	if b.check {
		return b.Look(ctx, needs)
	}
	if err := b.Prepare(ctx, needs); err != nil {
		return err
	}
	for _, command := range []string{"./cmd/multinicd", "./cmd/bridge", "./test/cmd/fleet"} { // the tree may change later
		if _, err := artifact.BuildCommand(ctx, b.Logf, command); err != nil {
			return err
		}
	}
	var failed []error
	for _, s := range b.steps() {
		if len(b.only) > 0 && !slices.Contains(b.only, s.page) {
			continue
		}
		b.logf("measuring for %s.md", s.page)
		if err := s.do(ctx); err != nil {
			failed = append(failed, fmt.Errorf("%s.md is as it was: %w", s.page, err))
			b.logf("%v", failed[len(failed)-1])
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

// fleet runs the command that measures many nodes, of the same commit.
func (b *bench) fleet(ctx context.Context, args ...string) error {
	if err := b.end(); err != nil {
		return err
	}
	binary, err := artifact.BuildCommand(ctx, b.Logf, "./test/cmd/fleet")
	if err != nil {
		return err
	}
	args = append(args, "-out", b.Out, "-patience", b.Patience.String())
	if b.Out != "" {
		args = append(args, "-of", b.Commit)
	}
	c := exec.CommandContext(ctx, binary, args...)
	c.Dir, c.Stdout, c.Stderr = b.Root, os.Stdout, os.Stderr
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) } // it clears up
	if err := c.Run(); err != nil {
		return fmt.Errorf("running fleet %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// standing gives the host with its control plane, which is started where it does not run.
func (b *bench) standing(ctx context.Context) (*stand, error) {
	if b.stand == nil {
		b.stand = &stand{logf: b.logf, root: b.Root}
		if err := b.stand.start(ctx); err != nil {
			return nil, errors.Join(err, b.end())
		}
	}
	return b.stand, nil
}

func (b *bench) end() error {
	s := b.stand
	b.stand = nil
	if s == nil {
		return nil
	}
	return s.close()
}

// changesAndRest is what README.md is of.
func (b *bench) changesAndRest(ctx context.Context) error {
	s, err := b.standing(ctx)
	if err != nil {
		return err
	}
	if err := b.Begin(ctx); err != nil {
		return err
	}
	res := results{Changes: b.changes}
	for _, x := range []struct{ dad, kind string }{{"off", kindAddress}, {"off", kindMTU}, {"fast", kindAddress}, {"fast", kindMTU}} {
		b.logf("%d changes of %s, dad = %q", b.changes, x.kind, x.dad)
		series, err := b.series(ctx, x.dad, x.kind)
		if err != nil {
			return fmt.Errorf("changing %s with dad = %q: %w", x.kind, x.dad, err)
		}
		res.Series = append(res.Series, series)
		if x.dad == "off" && x.kind == kindMTU {
			b.logf("idling for %s", b.idle)
			if res.Idle, err = s.idle(ctx, b.idle); err != nil {
				return fmt.Errorf("measuring the idle daemon: %w", err)
			}
		}
	}
	b.logf("the same change by others, %d times each", b.tries)
	if res.Methods, err = s.methods(ctx, b.tries); err != nil {
		return fmt.Errorf("measuring other methods: %w", err)
	}
	if res.Stamp, err = b.End(); err != nil {
		return err
	}
	if res.Machine, err = s.describe(ctx); err != nil {
		return fmt.Errorf("describing the machine: %w", err)
	}
	return b.Write(ctx, res.Stamp, res.page())
}
