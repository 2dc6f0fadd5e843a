package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"multinicd/host/neighbour"
	"multinicd/internal/doctor"
	"multinicd/internal/node"
	"multinicd/nic"
	"multinicd/plan"
)

// around gathers what is on the host beside our NICs: what it lives by, and what new addresses mean
// to its container network and its services.
func (w *wired) around(ctx context.Context, m plan.View, f *doctor.Facts) {
	f.NodeAddrs, f.Lifelines, f.NoIPv6, f.TimeService = m.NodeAddrs, m.Lifelines, m.NoIPv6, w.survey.TimeService()
	for _, c := range w.survey.CNIs() {
		f.CNIs = append(f.CNIs, doctor.CNI(c))
	}
	for _, p := range w.survey.Listeners() {
		f.Ports = append(f.Ports, doctor.Port{Number: p.Port, Program: p.Program})
	}
	f.Names, f.Silent = map[int]doctor.Naming{}, w.silent(ctx, m, f.Record)
	for _, l := range m.Links {
		for _, o := range f.Record.NICs {
			if o.Applied && l.HasMAC(o.MAC) && l.Name != o.Config.Name {
				f.Names[l.Index] = doctor.Naming{By: w.survey.Namers(l, o.Config.Name), Booted: w.bootedSince(o.Config.Name)}
			}
		}
	}
}

// namer says in one line what stands between a NIC and its name at the next boot, and what to do;
// "" if nothing does.
func (w *wired) namer(l nic.Link, want string) string {
	by, booted := w.survey.Namers(l, want), w.bootedSince(want)
	enabled, _ := w.host.Glob("/etc/systemd/system/*.wants/multinicd-recover.service") // the pattern is valid
	switch {
	case len(by) > 0 && booted:
		return fmt.Sprintf("the name %s has not come with the last boot: %s; take that out, or see why multinicd-recover.service has not named it", want, by[0])
	case len(by) > 0 && len(enabled) == 0:
		return fmt.Sprintf("the name %s does not come at boot: %s; take that out, or enable multinicd-recover.service", want, by[0])
	case len(by) > 0:
		return fmt.Sprintf("at boot multinicd-recover.service gives the name %s, behind this: %s", want, by[0])
	case booted:
		return fmt.Sprintf("the name %s has not come with the last boot: see that multinicd-recover.service is enabled, or make the initrd anew (dracut -f, update-initramfs -u)", want)
	}
	return ""
}

// bootedSince says whether the host has booted since our files for that name were written.
func (w *wired) bootedSince(want string) bool {
	boot, found := w.survey.Booted(), false
	for _, folder := range node.Folders() {
		names, _ := w.host.Glob(path.Join(folder.Dir, "*"+want+".*")) // the patterns are valid
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

// gatewayTimeout is how long a gateway may take to answer. All are asked one after the other.
const gatewayTimeout = 1500 * time.Millisecond

// silent gives the links of our NICs, by ifindex, whose gateway does not answer its neighbours. Where
// it cannot be asked (CAP_NET_RAW, a link without a carrier) nothing is known.
func (w *wired) silent(ctx context.Context, m plan.View, record plan.Record) map[int]string {
	out := map[int]string{}
	for _, l := range m.Links {
		i := slices.IndexFunc(record.NICs, func(o plan.Owned) bool { return o.Applied && l.HasMAC(o.MAC) && o.Config.Gateway.IsValid() })
		if i < 0 || !l.Carrier {
			continue
		}
		gateway := record.NICs[i].Config.Gateway
		asking, cancel := context.WithTimeout(ctx, gatewayTimeout)
		if err := w.kernel.Neighbour(asking, l.Index, gateway); errors.Is(err, neighbour.ErrSilent) {
			out[l.Index] = gateway.String()
		}
		cancel()
	}
	return out
}
