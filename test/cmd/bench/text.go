package main

import (
	"fmt"
	"strings"

	"multinicd/test/bed/measure"
)

// text is the results as Markdown, from third-level headings on.
func (r results) text() string {
	off := r.with("off")
	parts := []string{
		fmt.Sprintf("%s. %d changes in each series.", r.Stamp, r.Changes),
		"### Against the aims\n\n" + r.aims(off),
		"### Time after the API server's answer, in ms\n\n" + r.times() + fmt.Sprintf("\n\n![Share of changes done after a time](%s)", latencyPlot),
		"### Where the time goes, dad = \"off\", p50 in ms\n\n" + phases(off),
		"### Requests to the API server and what else a change does\n\n" + r.costs(),
		"### At rest\n\n" + r.rest(),
		"### The same change of an address by others\n\n" + r.others() + fmt.Sprintf("\n\n![Share of changes in the kernel after a time, by method](%s)", methodsPlot),
		"### The machine\n\n" + r.Machine.text(),
		fmt.Sprintf("Each change is a line of [%s](%s); [%s](%s) has all that was measured.", changesFile, changesFile, dataFile, dataFile),
	}
	return strings.Join(parts, "\n\n") + "\n"
}

func (r results) aims(off []change) string {
	met := func(ok bool) string {
		if ok {
			return "yes"
		}
		return "**no**"
	}
	most := func(what string, got, aim float64, unit, field string) []string {
		return []string{what, measure.Number(got) + unit, "<= " + measure.Number(aim) + unit, met(got <= aim), field}
	}
	k, c := of(off, kernel), of(off, configured)
	early := where(off, func(c change) bool { return c.Early })
	lost := where(off, func(c change) bool { return !c.Persisted })
	return measure.Table([][]string{
		{"figure, dad = \"off\"", "here", "aim", "met", "a Job per change"},
		most("kernel as wanted, p50", measure.Quantile(k, 50), aimKernel, " ms", measure.Number(fieldKernel)+" ms"),
		most("Configured, p50", measure.Quantile(c, 50), aimConfigured, " ms", measure.Number(fieldConfigured)+" ms"),
		most("Configured, p99", measure.Quantile(c, 99), aimConfigured99, " ms", "max 3400 ms"),
		{"Configured written before the kernel was so", fmt.Sprintf("%d of %d", early, len(off)), "0", met(early == 0), "10 of 12 with its chart's defaults"},
		{"Configured before the file for the next boot was in place", fmt.Sprintf("%d of %d", lost, len(off)), "0", met(lost == 0), ""},
		most("API requests per change, mean", mean(of(off, requests)), aimRequests, "", measure.Number(fieldRequests)),
		most(fmt.Sprintf("daemon's memory after %s min of rest", measure.Number(r.Idle.Seconds/60)), r.Idle.Daemon.RSS, aimMemory, " MiB", "41 MB (controller)"),
		most("stripped binary", float64(r.Idle.DaemonSize)/1e6, aimSize, " MB", ""),
	})
}

func (r results) times() string {
	rows := [][]string{{"dad", "change of", "until", "p50", "p90", "p99", "max", "the first"}}
	for _, s := range r.Series {
		for _, until := range []struct {
			what   string
			figure func(change) float64
		}{{"kernel as wanted", kernel}, {"Configured", configured}} {
			v := of(s.Changes, until.figure)
			rows = append(rows, []string{s.DAD, s.Kind, until.what, measure.Number(measure.Quantile(v, 50)), measure.Number(measure.Quantile(v, 90)), measure.Number(measure.Quantile(v, 99)), measure.Number(measure.Quantile(v, 100)), measure.Number(v[0])})
		}
	}
	return measure.Table(rows)
}

// phases are medians of the time between two events of the same change.
func phases(changes []change) string {
	rows := [][]string{{"from", "to", "p50", "p90"}}
	step := func(from, to string, figure func(change) float64) {
		v := of(changes, figure)
		rows = append(rows, []string{from, to, measure.Number(measure.Quantile(v, 50)), measure.Number(measure.Quantile(v, 90))})
	}
	step("API server's answer to the writer", "first touch of the link", func(c change) float64 { return c.Touched })
	step("first touch of the link", "kernel as wanted", func(c change) float64 { return c.Kernel - c.Touched })
	step("kernel as wanted", "report at the API server (verified, probed, on disk)", func(c change) float64 { return c.Reported - c.Kernel })
	step("report at the API server", "status at the API server", func(c change) float64 { return c.Stated - c.Reported })
	step("status at the API server", "Configured seen by a watcher", func(c change) float64 { return c.Configured - c.Stated })
	return measure.Table(rows)
}

func (r results) costs() string {
	rows := [][]string{{"dad", "change of", "requests of the daemon", "of the bridge", "together", "most", "kernel events on other links, mean", "most"}}
	for _, s := range r.Series {
		all := of(s.Changes, requests)
		rows = append(rows, []string{s.DAD, s.Kind, measure.Number(mean(of(s.Changes, func(c change) float64 { return float64(c.Daemon) }))),
			measure.Number(mean(of(s.Changes, func(c change) float64 { return float64(c.Bridge) }))), measure.Number(mean(all)), measure.Number(measure.Quantile(all, 100)),
			measure.Number(mean(of(s.Changes, foreign))), measure.Number(measure.Quantile(of(s.Changes, foreign), 100))})
	}
	return measure.Table(rows)
}

func (r results) rest() string {
	i := r.Idle
	row := func(name string, u usage, cpu, requests string, size int64) []string {
		return []string{name, measure.Number(u.RSS), measure.Number(u.Anon), measure.Number(u.Peak), fmt.Sprint(u.Threads), cpu, requests, measure.Number(float64(size) / 1e6)}
	}
	return fmt.Sprintf("After %s minutes without a change, behind %d changes:\n\n", measure.Number(i.Seconds/60), 2*r.Changes) + measure.Table([][]string{
		{"", "RSS, MiB", "of it anonymous", "peak", "threads", "CPU seconds meanwhile", "API requests meanwhile", "stripped binary, MB"},
		row("multinicd", i.Daemon, fmt.Sprintf("%.2f", i.CPU), fmt.Sprint(i.Requests), i.DaemonSize),
		row("multinic-bridge", i.Bridge, "", fmt.Sprint(i.ByBridge), i.BridgeSize),
	})
}

func (r results) others() string {
	const once = "by the daemon, dad = \"off\""
	daemon := r.of("off", kindAddress)
	ours := measure.Quantile(of(daemon.Changes, kernel), 50)
	rows := [][]string{{"method", "kernel as wanted, p50 ms", "ratio to the daemon", "max", "command ends, p50", "wrong afterwards", "kernel events on other links, mean", "others' addresses, routes, rules lost, mean", "lasts over a boot"}}
	rows = append(rows, []string{once, measure.Number(ours), "1", measure.Number(measure.Quantile(of(daemon.Changes, kernel), 100)), "",
		"0", // or the run would have ended
		measure.Number(mean(of(daemon.Changes, foreign))), measure.Number(float64(daemon.Lost) / float64(len(daemon.Changes))), "yes"})
	for _, m := range r.Methods {
		k := measure.Quantile(m.Kernel, 50)
		rows = append(rows, []string{"`" + m.Name + "`", measure.Number(k), measure.Number(k / ours), measure.Number(measure.Quantile(m.Kernel, 100)), measure.Number(measure.Quantile(m.Ended, 50)), fmt.Sprint(m.Missed),
			measure.Number(mean(floats(m.Foreign))), measure.Number(mean(floats(m.Lost))), m.Lasts})
	}
	return measure.Table(rows)
}

// of gives one series; one of no changes where there is none.
func (r results) of(dad, kind string) series {
	for _, s := range r.Series {
		if s.DAD == dad && s.Kind == kind {
			return s
		}
	}
	return series{}
}

func floats(ints []int) []float64 {
	var out []float64
	for _, i := range ints {
		out = append(out, float64(i))
	}
	return out
}
