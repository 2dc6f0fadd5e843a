package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// meter measures from when it was made.
type meter struct {
	pids   [3]int // API server, etcd, bridge
	before [3]float64
	begin  time.Time
	err    error
}

func (f *fleet) meter() *meter {
	m := &meter{pids: [3]int{f.cluster.APIServer.PID(), f.cluster.Etcd.PID(), f.bridge.PID()}}
	for i, pid := range m.pids {
		if m.before[i], m.err = processor(pid); m.err != nil {
			return m
		}
	}
	m.begin = time.Now()
	return m
}

// read gives what n things took.
func (m *meter) read(n int) (phase, error) {
	p := phase{Things: n, Seconds: time.Since(m.begin).Seconds()}
	if m.err != nil {
		return p, m.err
	}
	for i, to := range []*float64{&p.APIServer, &p.Etcd, &p.Bridge} {
		now, err := processor(m.pids[i])
		if err != nil {
			return p, err
		}
		*to = now - m.before[i]
	}
	return p, nil
}

// processor is the time that a process has used, in seconds: utime and stime of proc_pid_stat(5), in hundredths.
func processor(pid int) (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading processor time: %w", err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("reading processor time: too short: %q", stat)
	}
	sum := 0.0
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("reading processor time: %w", err)
		}
		sum += float64(n) / 100
	}
	return sum, nil
}

// memory is a line of proc_pid_status(5) in MiB: "VmRSS:", what a process has now, or "VmHWM:", the most that it ever had.
func memory(pid int, what string) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading memory: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, what); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			return float64(n) / 1024, err
		}
	}
	return 0, errors.New("reading memory: the process has none")
}

// took fills in how long each one took.
func (p *phase) took(each []time.Duration) {
	if len(each) == 0 {
		return
	}
	slices.Sort(each)
	at := func(q float64) float64 { // by nearest rank
		i := max(0, int(q*float64(len(each))+0.999999)-1)
		return float64(each[i].Microseconds()) / 1000
	}
	p.P50, p.P99, p.Max = at(0.5), at(0.99), at(1)
}
