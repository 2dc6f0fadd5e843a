package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"multinicd/test/bed/measure"
)

// usage is what a process uses.
type usage struct {
	RSS     float64 `json:"rssMiB"`
	Anon    float64 `json:"anonymousMiB"` // the part of RSS that is not the program's own file
	Peak    float64 `json:"peakRSSMiB"`
	CPU     float64 `json:"cpuSeconds"` // since the process was started
	Threads int     `json:"threads"`
}

// add adds what another process uses.
func (u *usage) add(o usage) {
	u.RSS, u.Anon, u.Peak, u.CPU, u.Threads = u.RSS+o.RSS, u.Anon+o.Anon, u.Peak+o.Peak, u.CPU+o.CPU, u.Threads+o.Threads
}

// idleness is what stands still costs.
type idleness struct {
	Seconds  float64 `json:"seconds"`
	Daemon   usage   `json:"daemon"`
	Bridge   usage   `json:"bridge"`
	CPU      float64 `json:"daemonCPUSeconds"` // over that time
	Requests int     `json:"daemonRequests"`
	ByBridge int     `json:"bridgeRequests"`
	// Sizes of the stripped binaries, in bytes.
	DaemonSize int64 `json:"daemonBytes"`
	BridgeSize int64 `json:"bridgeBytes"`
}

func (s *stand) idle(ctx context.Context, d time.Duration) (idleness, error) {
	out := idleness{Seconds: d.Seconds(), DaemonSize: s.sizes["multinicd"], BridgeSize: s.sizes["bridge"]}
	begin := time.Now()
	before, err := s.daemonUsage(ctx)
	if err != nil {
		return out, err
	}
	if err := measure.Rest(ctx, d); err != nil {
		return out, err
	}
	if out.Daemon, err = s.daemonUsage(ctx); err != nil {
		return out, err
	}
	out.CPU = out.Daemon.CPU - before.CPU
	for _, pid := range s.bridge.PIDs() {
		one, err := readUsage(fmt.Sprintf("/proc/%d", pid), os.ReadFile)
		if err != nil {
			return out, err
		}
		out.Bridge.add(one)
	}
	requests, err := s.cluster.Requests()
	for _, r := range requests {
		switch {
		case r.Received.Before(begin):
		case r.User.Username == daemonUser:
			out.Requests++
		case r.User.Username == bridgeUser, r.User.Username == credentialsUser:
			out.ByBridge++
		}
	}
	return out, err
}

func (s *stand) daemonUsage(ctx context.Context) (usage, error) {
	pid, err := s.host.DaemonPID(ctx)
	if err != nil {
		return usage{}, err
	}
	return readUsage(fmt.Sprintf("/proc/%d", pid), func(name string) ([]byte, error) {
		text, err := s.host.Run(ctx, "cat", name)
		return []byte(text), err
	})
}

// readUsage reads proc_pid_status(5) and proc_pid_stat(5).
func readUsage(dir string, read func(string) ([]byte, error)) (usage, error) {
	status, err := read(dir + "/status")
	if err != nil {
		return usage{}, fmt.Errorf("reading memory: %w", err)
	}
	stat, err := read(dir + "/stat")
	if err != nil {
		return usage{}, fmt.Errorf("reading processor time: %w", err)
	}
	var u usage
	for line := range strings.Lines(string(status)) {
		key, rest, _ := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		if !slices.Contains([]string{"VmRSS", "VmHWM", "RssAnon", "Threads"}, key) || len(fields) == 0 {
			continue
		}
		n, err := strconv.Atoi(fields[0])
		if err != nil {
			return u, fmt.Errorf("reading %s: %w", key, err)
		}
		switch key {
		case "VmRSS":
			u.RSS = float64(n) / 1024
		case "VmHWM":
			u.Peak = float64(n) / 1024
		case "RssAnon":
			u.Anon = float64(n) / 1024
		case "Threads":
			u.Threads = n
		}
	}
	// The name, in parentheses, may hold anything. utime and stime are fields 14 and 15, in hundredths of a second.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return u, fmt.Errorf("reading processor time: too short: %q", stat)
	}
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return u, fmt.Errorf("reading processor time: %w", err)
		}
		u.CPU += float64(n) / 100
	}
	return u, nil
}
