package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"multinicd/test/bed/artifact"
	"multinicd/test/bed/measure"
	"multinicd/test/bed/rootfs"
	"multinicd/test/bed/sandbox"
	"multinicd/test/bed/testhost"
)

// backendHost is a kind of host, and the ways to the same change there beside multinicd's.
type backendHost struct {
	name    string
	flavour testhost.Flavour
	toml    string // more of multinicd.toml's [backend]
	others  []way
}

// way changes the addresses of NICs 1 to n from those of round-1 to those of round, by a script on the host.
type way struct {
	name   string
	script func(n, round int) string
}

// address is that of NIC id in a round, without its length.
func address(id, round int) string { return fmt.Sprintf("10.100.%d.%d", id, 10+round) }

// each joins a line per NIC.
func each(n int, line func(id int) string) string {
	var b strings.Builder
	for id := 1; id <= n; id++ {
		b.WriteString(line(id) + "\n")
	}
	return b.String()
}

// plainIP takes the old address first: it would take a new one of its subnet with it.
var plainIP = way{"ip address", func(n, round int) string {
	return each(n, func(id int) string {
		return fmt.Sprintf("ip address del %s/24 dev multinic%d; ip address add %s/24 dev multinic%[2]d", address(id, round-1), id, address(id, round))
	})
}}

var byNetplan = way{"netplan apply", func(n, round int) string {
	return each(n, func(id int) string {
		return fmt.Sprintf(`sed -i 's#"10\.100\.%d\.[0-9]*/24"#"%s/24"#' /etc/netplan/90-multinic%[1]d.yaml`, id, address(id, round))
	}) + "netplan apply"
}}

var byNmcli = way{"nmcli modify, reapply", func(n, round int) string {
	return each(n, func(id int) string {
		return fmt.Sprintf("nmcli connection modify multinic%d ipv4.addresses %s/24; nmcli device reapply multinic%[1]d >/dev/null", id, address(id, round))
	})
}}

var backendHosts = []backendHost{
	{"netplan, networkd", testhost.Networkd, "", []way{byNetplan}},
	{"NetworkManager, keyfiles", testhost.NetworkManager, "", []way{byNmcli}},
	{"NetworkManager, ifcfg files", testhost.Ifcfg, "name = \"ifcfg\"\n", []way{byNmcli}},
	{"netplan, NetworkManager", testhost.NetplanNetworkManager, "", []way{byNetplan}},
}

// howMany are changed at once, and how often by each way: each try has a second of listening behind it, and one of 64 by netplan some seconds before.
var howMany = []struct{ nics, tries int }{{1, 5}, {10, 5}, {mostNICs, 2}}

// mostNICs is how many an object may have.
const mostNICs = 64

// backends measures on one host of each kind.
func (b *bench) backends(ctx context.Context) error {
	binary, err := artifact.BuildCommand(ctx, b.Logf, "./cmd/multinicd")
	if err != nil {
		return err
	}
	if err := b.Begin(ctx); err != nil {
		return err
	}
	rows := [][]string{{"host", "NICs", "by", "ms, median", "times `ip`", "events on other links, most"}}
	var figures []measure.Figure
	for _, k := range backendHosts {
		more, kept, err := b.backend(ctx, k, binary, filepath.Join(b.Root, "systemd/multinicd.service"))
		if err != nil {
			return fmt.Errorf("measuring on a host of %s: %w", k.name, err)
		}
		rows, figures = append(rows, more...), append(figures, kept...)
	}
	stamp, err := b.End()
	if err != nil {
		return err
	}
	return b.Write(ctx, stamp, measure.Result{Page: "backends", Text: fmt.Sprintf("%s.\n\n%s\n", stamp, measure.Table(rows)), Figures: figures})
}

func (b *bench) backend(ctx context.Context, k backendHost, binary, unit string) (rows [][]string, figures []measure.Figure, err error) {
	box, err := sandbox.New(ctx, b.logf)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if cerr := box.Close(); err == nil {
			err = cerr
		}
	}()
	world, err := testhost.NewWorld(box, b.logf)
	if err != nil {
		return nil, nil, err
	}
	o := testhost.Options{Name: node, Flavour: k.flavour, Suite: rootfs.DefaultSuite}
	for id := 1; id <= mostNICs; id++ {
		o.NICs = append(o.NICs, testhost.NIC{MAC: fmt.Sprintf("02:00:00:00:01:%02x", id), Segment: fmt.Sprintf("data%d", id)})
	}
	h, err := world.NewHost(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	if err := h.Boot(ctx); err != nil {
		return nil, nil, err
	}
	// The check of the primary's own address ends with events that are nobody's doing.
	if out, err := h.Shell(ctx, "while ip -6 address show tentative | grep -q .; do sleep 0.1; done"); err != nil {
		return nil, nil, fmt.Errorf("%w\n%s", err, out)
	}
	config := fmt.Sprintf("node = %q\n[links]\nvirtual_kinds = [\"veth\"]\n[backend]\ndad = \"off\"\n%s", node, k.toml)
	if err := h.InstallDaemon(ctx, binary, unit, config); err != nil {
		return nil, nil, err
	}
	for _, many := range howMany {
		n := many.nics
		multinicd := way{"multinicd apply", func(n, round int) string {
			return "cat >/root/node.yaml <<'X'\n" + addressesObject(n, round) + "X\nmultinicd apply -f /root/node.yaml >/dev/null"
		}}
		// What ip has left is nobody's: it would stay.
		if _, err := h.Shell(ctx, "for l in $(ls /sys/class/net | grep multinic); do ip address flush dev $l scope global; done"); err != nil {
			return nil, nil, err
		}
		var all []measured
		round := 0
		for _, w := range slices.Concat([]way{multinicd}, k.others, []way{plainIP}) {
			m := measured{by: w.name}
			for try := range min(b.tries, many.tries) + 1 {
				round++
				took, foreign, err := readdress(ctx, h, w.script(n, round), n, round)
				if err != nil {
					return nil, nil, fmt.Errorf("%s, %d NICs: %w", w.name, n, err)
				}
				if try > 0 { // the first finds caches cold, and brings the NICs in force
					m.ms, m.foreign = append(m.ms, took), max(m.foreign, foreign)
				}
			}
			b.logf("%s: %s, %d NICs: %.0f ms, %d events elsewhere", k.name, w.name, n, measure.Quantile(m.ms, 50), m.foreign)
			all = append(all, m)
		}
		ip := measure.Quantile(all[len(all)-1].ms, 50)
		for _, m := range all {
			ms := measure.Quantile(m.ms, 50)
			rows = append(rows, []string{k.name, fmt.Sprint(n), "`" + m.by + "`", fmt.Sprintf("%.0f", ms), fmt.Sprintf("%.1f", ms/ip), fmt.Sprint(m.foreign)})
			if m.by == multinicd.name {
				figures = append(figures, measure.Figure{Name: fmt.Sprintf("%s, NICs: %d, %s", m.by, n, k.name), Value: ms, Unit: "ms"})
			}
		}
	}
	return rows, figures, nil
}

// measured is what one way took, in milliseconds until the kernel had all addresses and the command had ended, and the most events elsewhere.
type measured struct {
	by      string
	ms      []float64
	foreign int
}

// readdress runs a script that gives NICs 1 to n the addresses of a round, and waits until the kernel has those and no others.
func readdress(ctx context.Context, h *testhost.Host, script string, n, round int) (took float64, foreign int, err error) {
	monitor, err := h.MonitorKernel()
	if err != nil {
		return 0, 0, err
	}
	defer monitor.Stop()
	begin := time.Now()
	if out, err := h.Shell(ctx, script); err != nil {
		return 0, 0, fmt.Errorf("%w\n%s", err, out)
	}
	want := each(n, func(id int) string { return fmt.Sprintf("multinic%d %s/24", id, address(id, round)) })
	for {
		have, err := h.Shell(ctx, "ip -oneline -4 address | awk '$2 ~ /^multinic/ {print $2, $4}' | sort -V")
		if err != nil {
			return 0, 0, err
		}
		took = ms(time.Since(begin))
		if have == want {
			break
		}
		if took > 60_000 {
			return 0, 0, fmt.Errorf("after 60 s the addresses are\n%s\nwant\n%s", have, want)
		}
	}
	if err := measure.Rest(ctx, time.Second); err != nil {
		return 0, 0, err
	}
	events, err := monitor.Events()
	if err != nil {
		return 0, 0, err
	}
	for _, e := range events {
		if !strings.HasPrefix(e.Link, "multinic") && !strings.HasPrefix(e.Text, "multinic") && !(strings.HasPrefix(e.Link, "eth") && e.Link != "eth0") {
			foreign++
		}
	}
	return took, foreign, nil
}

// addressesObject wants NICs 1 to n with the addresses of a round.
func addressesObject(n, round int) string {
	return fmt.Sprintf("apiVersion: multinic.io/v1\nkind: MultiNicNodeConfig\nmetadata: {name: %[1]s, namespace: multinic-system}\nspec:\n  nodeName: %[1]s\n  interfaces:\n", node) +
		each(n, func(id int) string {
			return fmt.Sprintf("  - {id: %d, macAddress: \"02:00:00:00:01:%02x\", cidr: %s/24}", id, id, address(id, round))
		})
}
