package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/monitor"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
)

// keepForeign has networkd leave what others have made, from its next start on.
const keepForeign = "[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n"

const exitUndone = 3

const activationPage = "docs/activation.md"

// One NIC added, changed and removed beside what a cluster's node has, by each activation but "live", see TestChangesTouchNothingElse: it comes out the same, networkd has the NIC where it is to have it,
// and what it costs all others stands in docs/activation.md. MULTINIC_LONG=1 MULTINIC_UPDATE=1 writes the table.
func TestWhatEachActivationCostsOthers(t *testing.T) {
	suites := map[string]string{"bookworm": "systemd 252, netplan 0.106", "trixie": "systemd 257, netplan 1.1.2"}
	var mu sync.Mutex
	rows := map[string]string{}
	t.Run("hosts", func(t *testing.T) {
		for _, c := range []struct {
			order, activation, says string
			keep                    bool
			state                   string // networkd's, of the NIC
			short                   string // the host of the short run
		}{
			{"1", "networkd", "`networkd`, rules that networkd would delete: not asked", false, "unmanaged", ""},
			{"2", "networkd", "`networkd`, with `ManageForeign...=no`", true, "configured", "bookworm"},
			{"3", "netplan", "`netplan`", false, "configured", "trixie"},
		} {
			for suite, versions := range suites {
				if c.short != suite && len(prerequisite.Long(c)) == 0 {
					continue
				}
				t.Run(suite+" "+c.order+" "+c.activation, func(t *testing.T) {
					t.Parallel()
					row := activation(t, suite, c.activation, c.keep, c.state)
					mu.Lock()
					defer mu.Unlock()
					rows[suite+c.order] = fmt.Sprintf("| %s | %s | %s |\n", versions, c.says, row)
				})
			}
		}
	})
	if t.Failed() {
		return
	}
	var keys []string
	for k := range rows {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	table := "| host | activation | what others had and have no more |\n|---|---|---|\n"
	for _, k := range keys {
		table += rows[k]
	}
	const begin, end = "<!-- activation: written by MULTINIC_LONG=1 MULTINIC_UPDATE=1 go test ./test/suite/e2e -run TestWhatEachActivationCostsOthers -->\n", "<!-- end of activation -->"
	file := bed.Path(t, activationPage)
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(page), begin)
	have, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has lost its markers", activationPage)
	}
	t.Logf("measured:\n%s", table)
	switch {
	case have == table:
	case len(rows) < 6:
		for key, row := range rows {
			if !strings.Contains(have, row) {
				t.Errorf("%s does not say of %s\n%s", activationPage, key, row)
			}
		}
	case os.Getenv("MULTINIC_UPDATE") != "":
		if err := os.WriteFile(file, []byte(head+begin+table+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s says\n%s", activationPage, have)
	}
}

// activation walks one host through it, and gives what others have lost.
func activation(t *testing.T, suite, name string, keep bool, state string) string {
	n := fileNode(t, bed.New(t), testhost.Options{Suite: suite}, nil)
	if keep { // networkd's own user has to be able to read it
		if err := n.WriteFile("/etc/systemd/networkd.conf.d/10-multinic.conf", []byte(keepForeign), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n.file("/etc/multinicd/multinicd.toml", settings("worker-node-01", fromFile)+fmt.Sprintf("activation = %q\n", name))
	// Its installation had systemd read its units again, and netplan's generator write its files anew.
	n.must("systemctl", "restart", "systemd-networkd")
	n.wantLinkStays(n.PrimaryMAC, "eth0 up mtu 1500 "+n.Address.String())
	n.must("sh", "-ec", testhost.Bystanders)
	n.quiet()
	before := n.others()
	kernel, err := n.MonitorKernel()
	if err != nil {
		t.Fatal(err)
	}
	defer kernel.Stop()
	n.isActivated(name, keep, state)

	lost := missing(before, n.settles("the rest of the host", n.others))
	events, err := kernel.Events()
	if err != nil {
		t.Fatal(err)
	}
	touched := foreign(events)
	t.Logf("%d events on other links:\n%v\nlost:\n%s", len(touched), touched, strings.Join(lost, "\n"))
	if name != "netplan" && len(touched)+len(lost) > 0 {
		t.Errorf("%s touched others", name)
	}
	if len(lost) == 0 && len(touched) == 0 {
		lost = []string{"nothing, not touched"}
	}
	summary := summarize(lost, touched, n.Address.String())
	if name == "netplan" {
		n.netplanFails()
	}
	if name == "networkd" && keep {
		n.writesWhatTheGeneratorWill()
	}
	return summary
}

const activationRoute = "routes: [{to: 10.20.0.0/16, via: 192.168.100.1}]"

// isActivated makes a NIC by the command, changes it by the service, and gives it back. networkd says state of the NIC each time.
func (n *node) isActivated(name string, keep bool, state string) {
	n.t.Helper()
	setup := func() string {
		return strings.TrimSpace(n.must("sh", "-c", "networkctl list --no-legend --no-pager multinic1 | awk '{print $5}'"))
	}

	out := n.apply(exitDone, nodeObject(nicYAML(1, mac1, "192.168.100.10/24", "mtu: 1400", "addresses: [\"2001:db8:100::10/64\"]", activationRoute)))
	n.eventually("networkd's word on the NIC", state, setup)
	if asked := !strings.Contains(out, "networkd was not asked"); name == "networkd" && asked != keep {
		n.t.Errorf("networkd was asked: %v, want %v:\n%s", asked, keep, out)
	}
	n.wantLinkStays(mac1, "multinic1 up mtu 1400 192.168.100.10/24 2001:db8:100::10/64")
	n.sameAgainDoesNothing("multinicd", "apply", "-f", objectFile)
	// The next one by the service, in its sandbox.
	n.start(nodeObject(nicYAML(1, mac1, "192.168.100.11/24", activationRoute)))
	n.wantLinkStays(mac1, "multinic1 up mtu 1500 192.168.100.11/24")
	n.wantNICs("multinic1 Configured Configured")
	n.eventually("networkd's word on the NIC after a change", state, setup)
	if asked := !strings.Contains(n.Journal(n.t.Context()), "networkd was not asked"); name == "networkd" && asked != keep {
		n.t.Errorf("networkd was asked: %v, want %v:\n%s", asked, keep, n.Journal(n.t.Context()))
	}
	if err := n.StopDaemon(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
	// Beside ours networkd has a route of its own where it leaves ours alone (systemd 257).
	if got := n.must("ip", "route", "show", "10.20.0.0/16"); !strings.Contains(got, "via 192.168.100.1 dev multinic1") {
		n.t.Errorf("the route is %q", got)
	}
	n.apply(exitDone, nodeObject(nicYAML(1, mac1, "192.168.100.11/24")))
	n.wantStays("the route that is wanted no more", "", func() string { return n.must("ip", "route", "show", "10.20.0.0/16") })
	n.apply(exitDone, nodeObject())
	n.wantLinkStays(mac1, "eth1 down mtu 1500")
	if left := n.ours(); left != "" {
		n.t.Errorf("files are left: %s", left)
	}
}

// writesWhatTheGeneratorWill: the file that we write for networkd is the one that netplan's generator will make.
func (n *node) writesWhatTheGeneratorWill() {
	n.t.Helper()
	n.apply(exitDone, nodeObject(nicYAML(1, mac1, "192.168.100.10/24", "mtu: 1400", "addresses: [\"2001:db8:100::10/64\"]", activationRoute)))
	const file = "/run/systemd/network/10-netplan-0-multinic1.network"
	text := func() string { return n.must("sh", "-c", "grep -v -e RequiredForOnline -e '^$' "+file) } // 1.1.2 says elsewhere that a boot need not wait
	ours := text()
	n.must("systemctl", "daemon-reload")
	if theirs := text(); theirs != ours {
		n.t.Errorf("we wrote\n%s\nnetplan's generator writes\n%s", ours, theirs)
	}
	// From then on networkd would act on all of the generator's files: it is not asked.
	if out := n.apply(exitDone, nodeObject(nicYAML(1, mac1, "192.168.100.12/24", "mtu: 1400"))); !strings.Contains(out, "networkd was not asked") {
		n.t.Errorf("networkd was asked after a daemon-reload:\n%s", out)
	}
	n.wantLinkStays(mac1, "multinic1 up mtu 1400 192.168.100.12/24")
	n.reboot()
	n.wantLinkStays(mac1, "multinic1 up mtu 1400 192.168.100.12/24")
}

// netplanFails has netplan judge as ever and fail to apply: the change is undone whole, and made once that is over.
func (n *node) netplanFails() {
	n.t.Helper()
	n.must("sh", "-ec", `p=$(readlink -f /usr/sbin/netplan); mv $p $p.real
		printf '#!/bin/sh\n[ "$1" = apply ] && { %s.real generate; exit 1; }\nexec %s.real "$@"\n' $p $p >$p; chmod 755 $p`)
	out := n.apply(exitUndone, nodeObject(nicYAML(1, mac1, "192.168.100.13/24")))
	if !strings.Contains(out, "having netplan apply") {
		n.t.Errorf("it says\n%s", out)
	}
	n.wantLinkStays(mac1, "eth1 down mtu 1500")
	if left := n.ours(); left != "" {
		n.t.Errorf("files are left: %s", left)
	}
	n.must("sh", "-ec", `p=$(readlink -f /usr/sbin/netplan); mv $p.real $p`)
	n.apply(exitDone, nodeObject(nicYAML(1, mac1, "192.168.100.13/24")))
	n.wantLinkStays(mac1, "multinic1 up mtu 1500 192.168.100.13/24")
}

// missing are the lines that are gone.
func missing(before, after string) (out []string) {
	have := map[string]int{}
	for _, l := range strings.Split(after, "\n") {
		have[l]++
	}
	for _, l := range strings.Split(before, "\n") {
		if have[l]--; have[l] < 0 {
			out = append(out, strings.TrimSpace(l))
		}
	}
	return out
}

// summarize counts what is lost, by kind.
func summarize(lost []string, touched []monitor.Event, primary string) string {
	if len(touched) == 0 {
		return strings.Join(lost, ", ")
	}
	rules, addresses, routes, more := 0, 0, 0, ""
	for _, l := range lost {
		switch {
		case strings.Contains(l, "lookup"):
			rules++
		case strings.Contains(l, " inet"):
			addresses++
		default:
			routes++
		}
	}
	if slices.ContainsFunc(touched, func(e monitor.Event) bool {
		return e.What == "address" && e.Gone && e.Link == "eth0" && e.Text == primary
	}) {
		more = "; the primary's own address was gone for a moment"
	}
	return fmt.Sprintf("%d routes, %d addresses, %d rules%s", routes, addresses, rules, more)
}
