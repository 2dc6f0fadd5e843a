package main

import (
	"slices"
	"time"

	"multinicd/test/bed/sandbox"
)

// meter measures from when it was made.
type meter struct {
	pids   [][]int // API server, etcd, bridge
	before [3]float64
	begin  time.Time
	err    error
}

func (f *fleet) meter() *meter {
	m := &meter{pids: [][]int{{f.cluster.APIServer.PID()}, {f.cluster.Etcd.PID()}, f.bridge.PIDs()}}
	for i, pids := range m.pids {
		if m.before[i], m.err = processor(pids); m.err != nil {
			return m
		}
	}
	m.begin = time.Now()
	return m
}

// processor is the time that processes have taken.
func processor(pids []int) (all float64, err error) {
	for _, pid := range pids {
		one, err := sandbox.Processor(pid)
		if err != nil {
			return 0, err
		}
		all += one
	}
	return all, nil
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
