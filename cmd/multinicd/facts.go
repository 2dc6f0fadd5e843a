package main

import (
	"os"
	"path"
	"strings"

	"multinicd/internal/doctor"
	"multinicd/internal/node"
	"multinicd/nic"
	"multinicd/plan"
)

// around gathers what is on the host beside our NICs: what it lives by, and what new addresses mean
// to its container network and its services.
func (w *wired) around(m plan.Machine, f *doctor.Facts) {
	f.NodeAddrs, f.Lifelines, f.NoIPv6, f.TimeService = m.NodeAddrs, m.Lifelines, m.NoIPv6, w.survey.TimeService()
	for _, c := range w.survey.CNIs() {
		f.CNIs = append(f.CNIs, doctor.CNI(c))
	}
	for _, p := range w.survey.Listeners() {
		f.Ports = append(f.Ports, doctor.Port{Number: p.Port, Program: p.Program})
	}
	f.Names = map[int]doctor.Naming{}
	for _, l := range m.Links {
		for _, o := range f.Record.NICs {
			if o.Applied && l.HasMAC(o.MAC) && l.Name != o.Config.Name {
				f.Names[l.Index] = doctor.Naming{By: w.survey.Namers(l, o.Config.Name), Booted: w.bootedSince(o.Config)}
			}
		}
	}
}

// bootedSince says whether the host has booted since our files of a NIC were written.
func (w *wired) bootedSince(c nic.Config) bool {
	boot, found := w.survey.Booted(), false
	for _, folder := range node.Folders() {
		names, _ := w.host.Glob(path.Join(folder.Dir, "*"+c.Name+".*")) // the patterns are valid
		for _, name := range names {
			info, err := os.Stat(w.host.Path(name))
			if err != nil || !node.OurFile(name) || strings.HasPrefix(name, "/run/") {
				continue
			}
			if !info.ModTime().Before(boot) {
				return false
			}
			found = true
		}
	}
	return found
}
