package doctor

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"multinicd/docs"
	"multinicd/nic"
	"multinicd/plan"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func link(index int, name string, addresses ...string) nic.Link {
	l := nic.Link{Index: index, Name: name, MAC: nic.MAC{2, 0, 0, 0, 1, byte(index)}, Device: true, Up: true}
	for _, a := range addresses {
		l.Addresses = append(l.Addresses, nic.Address{Prefix: netip.MustParsePrefix(a), Permanent: true})
	}
	return l
}

func owned(index int, name string, addresses ...string) plan.Owned {
	o := plan.Owned{MAC: nic.MAC{2, 0, 0, 0, 1, byte(index)}, Applied: true, Config: nic.Config{Name: name}}
	for _, a := range addresses {
		o.Config.Addresses = append(o.Config.Addresses, netip.MustParsePrefix(a))
	}
	return o
}

// well is a host on which nothing is to be said but how it is: each row spoils one thing.
func well() Facts {
	primary := link(1, "eth0", "192.0.2.10/24")
	primary.Claim = &nic.Claim{Owner: "netplan", File: "/etc/netplan/01.yaml", Evidence: "01.yaml names it"}
	return Facts{Now: now, Backend: "netplan", Evidence: []string{"netplan is installed"}, Links: []nic.Link{primary, link(2, "multinic1", "10.0.0.5/24")},
		Record: plan.Record{NICs: []plan.Owned{owned(2, "multinic1", "10.0.0.5/24")}}, Kubelet: "kubelet runs", NodeIPs: []netip.Addr{netip.MustParseAddr("192.0.2.10")},
		Daemon: &Daemon{State: "Configured"}, Files: []File{{"/var/lib/multinicd", fs.ModeDir | 0o700, 0, true, false}, {"/etc/multinicd/multinicd.toml", 0o644, 0, false, false}}}
}

func TestExamine(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(f *Facts)
		want  string // the findings that are more than how it is, or are named here: "problem id subject"
		says  string // in one of their texts
	}{
		"a host that is well":                  {func(*Facts) {}, "", ""},
		"nobody to write for":                  {func(f *Facts) { f.Unsupported = "ifupdown alone" }, "problem no-backend", "ifupdown alone"},
		"two configure one link":               {func(f *Facts) { f.Links[1].Claim = f.Links[0].Claim }, "problem two-owners multinic1", "adopt: true"},
		"one that was taken over has one only": {func(f *Facts) { f.Links[1].Claim = f.Links[0].Claim; f.Record.NICs[0].Adopted = true }, "", ""},
		"networkd deletes foreign routes": {func(f *Facts) { f.NetworkdRuns, f.Foreign = true, []Setting{{Key: "ManageForeignRoutes"}} },
			"warning networkd-foreign ManageForeignRoutes", "ManageForeignRoutes=no"},
		"what networkd has not read yet": {func(f *Facts) {
			f.NetworkdRuns, f.Foreign = true, []Setting{{Key: "ManageForeignRoutes", Off: true, File: "/etc/x.conf"}}
		}, "warning networkd-foreign ManageForeignRoutes", "next boot"},
		"networkd may not read what tells it": {func(f *Facts) {
			f.NetworkdRuns, f.Foreign = true, []Setting{{Key: "ManageForeignRoutes", Unread: "/etc/x.conf"}}
		}, "warning networkd-foreign ManageForeignRoutes", "chmod a+r /etc/x.conf"},
		"networkd leaves foreign routes": {func(f *Facts) {
			f.NetworkdRuns, f.Foreign = true, []Setting{{Key: "ManageForeignRoutes", Off: true, File: "/etc/x.conf", InForce: true}}
		}, "", ""},
		"no networkd that could":                       {func(f *Facts) { f.Foreign = []Setting{{Key: "ManageForeignRoutes"}} }, "", ""},
		"a strict filter":                              {func(f *Facts) { f.RPFilter = 1 }, "warning rp-filter multinic1", "strict"},
		"a loose filter":                               {func(f *Facts) { f.RPFilter = 2 }, "", ""},
		"a strict filter, and a table for the answers": {func(f *Facts) { f.RPFilter = 1; f.Record.NICs[0].Config.Rules = []nic.Rule{{Table: 10001}} }, "", ""},
		"a NIC that listens to routers":                {func(f *Facts) { f.Links[1].Conf6 = &nic.Conf6{AcceptRA: 1} }, "warning router-advertisements multinic1", "accept_ra is 1"},
		"a NIC that would, with IPv6":                  {func(f *Facts) { f.Links[1].Conf6 = &nic.Conf6{AcceptRA: 1, Off: true} }, "", ""},
		"a NIC that listens to none":                   {func(f *Facts) { f.Links[1].Conf6 = &nic.Conf6{} }, "", ""},
		"the primary NIC listens to routers":           {func(f *Facts) { f.Links[0].Conf6 = &nic.Conf6{AcceptRA: 1} }, "", ""},
		"cloud-init takes NICs that are plugged in":    {func(f *Facts) { f.Agents = []Agent{{"cloud-init", "hotplug is set"}} }, "warning other-agent cloud-init", "updates.network.when"},
		"nm-cloud-setup":                               {func(f *Facts) { f.Agents = []Agent{{"nm-cloud-setup", "enabled"}} }, "problem other-agent nm-cloud-setup", "disable --now"},
		"files of the former agent":                    {func(f *Facts) { f.Agents = []Agent{{Former, "91-multinic1.yaml"}} }, "warning other-agent the former agent", "adopt: true"},
		"a name that the token does not bear out":      {func(f *Facts) { f.Name = Name{"w1", "the host's name", "the token is node w2's", "join again"} }, "problem node-name", "join again"},
		"a name without a doubt":                       {func(f *Facts) { f.Name = Name{Name: "w1", Evidence: "the host's name"} }, "", "w1 is the node's name (the host's name)"},
		"a kubelet that chooses its address":           {func(f *Facts) { f.NodeIPs = nil }, "problem kubelet-node-ip", "--node-ip"},
		"such a one, and no addresses of ours":         {func(f *Facts) { f.NodeIPs = nil; f.Record.NICs[0].Config.Addresses = nil }, "", ""},
		"no kubelet":                                   {func(f *Facts) { f.NodeIPs, f.Kubelet = nil, "" }, "", ""},
		"a subnet in another":                          {func(f *Facts) { f.Links[1] = link(2, "multinic1", "192.0.2.200/28") }, "warning overlapping-subnets eth0 multinic1", "192.0.2.192/28"},
		"a subnet twice":                               {func(f *Facts) { f.Links[1] = link(2, "multinic1", "192.0.2.11/24") }, "warning overlapping-subnets eth0 multinic1", "same_subnet"},
		"a host address in another's subnet":           {func(f *Facts) { f.Links[1] = link(2, "multinic1", "192.0.2.11/32") }, "", ""},
		"a name that waits for a boot":                 {func(f *Facts) { f.Links[1].Name = "ens4" }, "warning rename-at-reboot ens4", "reboot"},
		"a clock that is off":                          {func(f *Facts) { f.Daemon.ClockSkew = "behind" }, "problem clock-skew", "timedatectl"},
		"a clock that nobody keeps":                    {func(f *Facts) { f.Unsynced = true }, "warning clock-unsynchronised", "timedatectl"},
		"a node that must join again":                  {func(f *Facts) { f.Daemon.JoinNeeded = "the token was revoked" }, "problem join-needed", "multinicd join"},
		"a token that has ended":                       {func(f *Facts) { f.Token = Token{"/t", now.Add(-time.Second)} }, "problem token-ended /t", "2026-11-25T11:59:59Z"},
		"a token that cannot be renewed":               {func(f *Facts) { f.Token = Token{"/t", now.Add(time.Hour)}; f.Daemon.Trouble = "refused" }, "warning token-not-renewed /t", "refused"},
		"a token that lasts":                           {func(f *Facts) { f.Token = Token{"/t", now.Add(time.Hour)} }, "", ""},
		"a daemon that is down":                        {func(f *Facts) { f.Daemon = nil; f.Token = Token{"/t", now.Add(time.Hour)} }, "warning daemon-down", "systemctl status"},
		"a secret that all may read":                   {func(f *Facts) { f.Files[0].Mode = 0o755 }, "problem permissions /var/lib/multinicd", "chmod go= "},
		"a file that others may write":                 {func(f *Facts) { f.Files[1].Mode = 0o666 }, "problem permissions /etc/multinicd/multinicd.toml", "chmod go-w "},
		"a file of somebody else":                      {func(f *Facts) { f.Files[1].UID = 1000 }, "problem permissions /etc/multinicd/multinicd.toml", "user 1000"},
		"a file that networkd may not read":            {func(f *Facts) { f.Files[1].Unread = true }, "problem permissions /etc/multinicd/multinicd.toml", "chown root:systemd-network"},
		"a rollback that holds":                        {func(f *Facts) { f.Daemon.HeldBack = "generation 14 is held back" }, "warning held-back", "rollback --undo"},
		"a file that cannot be used":                   {func(f *Facts) { f.Daemon.File = "node.yaml:7: spec.interface" }, "problem object-file", "node.yaml:7"},
		"a NIC that is half way, and no daemon": {func(f *Facts) {
			f.Daemon, f.HalfWay = nil, []HalfWay{{"multinic1", "its change was cut off", true}}
		}, "problem half-way multinic1, warning daemon-down", "start multinicd"},
		"a NIC that the daemon is at":                            {func(f *Facts) { f.HalfWay = []HalfWay{{"multinic1", "its change is under way", true}} }, "", ""},
		"a NIC that is half way, and the daemon does not say it": {func(f *Facts) { f.HalfWay = []HalfWay{{"multinic1", "it was tried", false}} }, "problem half-way multinic1", "it was tried"},
		"a NIC that is half way, as the daemon says": {func(f *Facts) {
			f.HalfWay, f.Daemon.Failed = []HalfWay{{"multinic1", "it was tried", false}}, []string{"multinic1: RollbackFailed: the name is taken"}
		}, "problem nic-not-configured multinic1", "the name is taken"},
		"a NIC with a reason of another version": {func(f *Facts) { f.Daemon.Failed = []string{"multinic1: Someday: x"} }, "problem nic-not-configured multinic1", "/usr/share/doc/multinicd/reasons.md"},
		"a NIC that is not as wanted":            {func(f *Facts) { f.Daemon.Failed = []string{"multinic1: AddressInUse: 10.0.0.5 is held"} }, "problem nic-not-configured multinic1", "-> " + docs.WhatToDo("AddressInUse")},
	} {
		t.Run(name, func(t *testing.T) {
			f := well()
			test.spoil(&f)
			list := Examine(f)
			var got []string
			for _, one := range list {
				if one.Evidence == "" || one.Severity != Info && one.Advice == "" {
					t.Errorf("without evidence or advice: %+v", one)
				}
				if one.Severity != Info {
					got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", one.Severity, one.ID, one.Subject)))
				}
			}
			if strings.Join(got, ", ") != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if !strings.Contains(Text(list), test.says) {
				t.Errorf("nothing says %q:\n%s", test.says, Text(list))
			}
			if MustAct(list) != strings.HasPrefix(test.want, "problem") {
				t.Error("whether something must be done is another matter")
			}
		})
	}
}

// Every id has its row in docs/doctor.md, and every row its id.
func TestEveryFindingIsDocumented(t *testing.T) {
	var source []byte
	for _, name := range []string{"doctor.go", "links.go", "service.go"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, data...)
	}
	page, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?:\{"|ID: +"|\.ID, one\.Severity = ")([a-z]+(?:-[a-z]+)*)"`).FindAllStringSubmatch(string(source), -1) {
		ids[m[1]] = true
		if !strings.Contains(string(page), "| `"+m[1]+"` |") {
			t.Errorf("%s has no row", m[1])
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		if !ids[m[1]] {
			t.Errorf("the row of %s is of nothing", m[1])
		}
	}
	if len(ids) < 15 {
		t.Errorf("found only %d ids in the source", len(ids))
	}
}
