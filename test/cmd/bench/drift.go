package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/test/bed/measure"
	"multinicd/test/bed/monitor"
	"multinicd/test/bed/testhost"
)

// wait is how long one kind of thing took until all was as wanted, in milliseconds, a value for each try.
type wait struct {
	What, DAD string
	Values    []float64
}

// The bystander is the NIC that is plugged in and out: the example's second.
const (
	bystanderMAC     = "02:00:00:00:01:02"
	bystanderName    = "multinic2"
	bystanderAddress = "192.168.200.10/24"
	// drifting is the time between two tries of the same NIC: eight repairs within ten seconds would be a fight.
	drifting = 1500 * time.Millisecond
	aimDrift = 1000 // p99, in ms
)

// drift measures how long a NIC that is plugged in, and an address that is deleted, take to be as wanted, and writes the page about it.
func (b *bench) drift(ctx context.Context) error {
	s, err := b.standing(ctx)
	if err != nil {
		return err
	}
	if err := b.Begin(ctx); err != nil {
		return err
	}
	var waits []wait
	for _, dad := range []string{"off", "fast"} {
		if err := s.configure(ctx, dad); err != nil {
			return err
		}
		b.logf("a NIC is plugged in %d times, dad = %q", b.changes, dad)
		shown, configured, err := b.plugged(ctx)
		if err != nil {
			return fmt.Errorf("plugging in with dad = %q: %w\n%s", dad, err, s.host.Journal(ctx))
		}
		b.logf("an address is deleted %d times, dad = %q", b.changes, dad)
		back, err := b.deleted(ctx)
		if err != nil {
			return fmt.Errorf("deleting an address with dad = %q: %w\n%s", dad, err, s.host.Journal(ctx))
		}
		waits = append(waits, wait{"a NIC is plugged in, until the kernel is as wanted", dad, shown}, wait{"a NIC is plugged in, until the object is Configured", dad, configured},
			wait{"an address is deleted, until it is back", dad, back})
	}
	stamp, err := b.End()
	if err != nil {
		return err
	}
	machine, err := s.describe(ctx)
	if err != nil {
		return fmt.Errorf("describing the machine: %w", err)
	}
	return b.Write(ctx, stamp, measure.Result{Page: "drift", Text: driftText(waits, stamp, machine), Files: map[string]string{"drift.csv": driftCSV(waits)}, Figures: driftFigures(waits)})
}

// driftFigures are those that are kept from release to release: without the time in which neighbours are listened to.
func driftFigures(waits []wait) (out []measure.Figure) {
	for _, w := range waits {
		if w.DAD == "off" {
			out = append(out, measure.Figure{Name: w.What + ", p99", Value: measure.Quantile(w.Values, 99), Unit: "ms"})
		}
	}
	return out
}

// plugged takes the times from right before the NIC is made until its address is there, and until a watch shows the object as Configured again.
func (b *bench) plugged(ctx context.Context) (shown, configured []float64, err error) {
	s := b.stand
	kernel, err := s.host.MonitorKernel()
	if err != nil {
		return nil, nil, err
	}
	defer kernel.Stop()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	news, err := s.watch(watching)
	if err != nil {
		return nil, nil, err
	}
	for range b.changes {
		if err := s.host.Unplug(bystanderMAC); err != nil {
			return nil, nil, err
		}
		if _, err := awaitState(ctx, news, v1.StatePending); err != nil {
			return nil, nil, err
		}
		if err := measure.Rest(ctx, b.pause*2/3+rand.N(b.pause*2/3+1)); err != nil {
			return nil, nil, err
		}
		kernel.Reset()
		begin := time.Now()
		if err := s.host.Plug(testhost.NIC{MAC: bystanderMAC, Segment: "data2"}); err != nil {
			return nil, nil, err
		}
		done, err := awaitState(ctx, news, v1.StateConfigured)
		if err != nil {
			return nil, nil, err
		}
		there, err := announced(ctx, kernel, begin, bystanderName, bystanderAddress)
		if err != nil {
			return nil, nil, err
		}
		shown, configured = append(shown, ms(there.Sub(begin))), append(configured, ms(done.Sub(begin)))
		if err := measure.Rest(ctx, b.pause*2/3+rand.N(b.pause*2/3+1)); err != nil {
			return nil, nil, err
		}
	}
	return shown, configured, nil
}

// deleted takes the time from the kernel's word that an address is gone to its word that it is there again. The two NICs take turns.
func (b *bench) deleted(ctx context.Context) (back []float64, err error) {
	s := b.stand
	kernel, err := s.host.MonitorKernel()
	if err != nil {
		return nil, err
	}
	defer kernel.Stop()
	first, err := s.link(ctx)
	if err != nil {
		return nil, err
	}
	nics := []struct{ name, address string }{{nicName, first.Addresses[0]}, {bystanderName, bystanderAddress}}
	for i := range b.changes {
		n := nics[i%len(nics)]
		kernel.Reset()
		begin := time.Now()
		if _, err := s.host.Run(ctx, "ip", "address", "del", n.address, "dev", n.name); err != nil {
			return nil, err
		}
		there, err := announced(ctx, kernel, begin, n.name, n.address)
		if err != nil {
			return nil, err
		}
		events, err := kernel.Events()
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			if e.What == "address" && e.Gone && e.Link == n.name && e.Text == n.address {
				back = append(back, ms(there.Sub(e.Time)))
			}
		}
		if len(back) != i+1 {
			return nil, fmt.Errorf("try %d: the kernel announced the end of %s %d times", i+1, n.address, len(back)-i)
		}
		if err := measure.Rest(ctx, drifting/time.Duration(len(nics))+rand.N(b.pause+1)); err != nil {
			return nil, err
		}
	}
	return back, nil
}

// announced waits for the kernel's last word on an address of a link, which must be that it is there.
func announced(ctx context.Context, kernel *monitor.Kernel, since time.Time, name, address string) (time.Time, error) {
	for {
		events, err := kernel.Events()
		if err != nil {
			return time.Time{}, err
		}
		for i := len(events) - 1; i >= 0; i-- {
			if e := events[i]; e.What == "address" && e.Link == name && e.Text == address && !e.Gone {
				return e.Time, nil
			}
		}
		if time.Since(since) > patience {
			return time.Time{}, fmt.Errorf("%s has not come to %s within %s", address, name, patience)
		}
		if err := measure.Rest(ctx, 5*time.Millisecond); err != nil {
			return time.Time{}, err
		}
	}
}

// awaitState gives the time at which the watch showed the object in that state.
func awaitState(ctx context.Context, news <-chan observed, state v1.State) (time.Time, error) {
	give := time.NewTimer(patience)
	defer give.Stop()
	for {
		select {
		case o, ok := <-news:
			if !ok {
				return time.Time{}, fmt.Errorf("the watch ended")
			}
			if o.object.Status.State == state {
				return o.at, nil
			}
		case <-give.C:
			return time.Time{}, fmt.Errorf("not %s within %s", state, patience)
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}

// driftText is the page's table.
func driftText(waits []wait, stamp measure.Stamp, m machine) string {
	rows := [][]string{{"what happens", "dad", "tries", "p50", "p90", "p99", "max", "p99 of at most " + measure.Number(aimDrift) + " ms"}}
	for _, w := range waits {
		met := "yes"
		if measure.Quantile(w.Values, 99) > aimDrift {
			met = "**no**"
		}
		rows = append(rows, []string{w.What, w.DAD, fmt.Sprint(len(w.Values)), measure.Number(measure.Quantile(w.Values, 50)), measure.Number(measure.Quantile(w.Values, 90)), measure.Number(measure.Quantile(w.Values, 99)), measure.Number(measure.Quantile(w.Values, 100)), met})
	}
	return fmt.Sprintf("%s. Times are in ms.\n\n%s\n\n%s\n", stamp, measure.Table(rows), m.text())
}

// driftCSV is a line for each try.
func driftCSV(waits []wait) string {
	var b strings.Builder
	b.WriteString("what,dad,try,ms\n")
	for _, w := range waits {
		for i, v := range w.Values {
			fmt.Fprintf(&b, "%q,%s,%d,%.3f\n", w.What, w.DAD, i+1, v)
		}
	}
	return b.String()
}
