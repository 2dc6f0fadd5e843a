package doctor

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"multinicd/docs"
	"multinicd/internal/terminal/layout"
	"multinicd/nic"
	"multinicd/plan"
	"multinicd/plan/lifeline"
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

// pods is a host on which a container network has a route by a link of its own.
func pods(to string, protocol int) func(*Facts) {
	return func(f *Facts) {
		l := nic.Link{Index: 9, Name: "cilium_host", Kind: "veth", Up: true, Routes: []nic.Route{{To: netip.MustParsePrefix(to), Protocol: protocol}}}
		f.Links = append(f.Links, l)
	}
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
		"networkd could, and there is nothing to delete": {func(f *Facts) {
			f.NetworkdRuns, f.Foreign, f.Kubelet, f.Record = true, []Setting{{Key: "ManageForeignRoutes"}}, "", plan.Record{}
		}, "info networkd-foreign ManageForeignRoutes", "nothing here depends on it"},
		"networkd could, and a NIC of ours has an address alone": {func(f *Facts) {
			f.NetworkdRuns, f.Foreign, f.Kubelet = true, []Setting{{Key: "ManageForeignRoutes"}}, ""
		}, "info networkd-foreign ManageForeignRoutes", "nothing here depends on it"},
		"networkd could, and a NIC of ours has rules": {func(f *Facts) {
			f.NetworkdRuns, f.Foreign, f.Kubelet = true, []Setting{{Key: "ManageForeignRoutes"}}, ""
			f.Record.NICs[0].Config.Rules = []nic.Rule{{Table: 10001}}
		}, "warning networkd-foreign ManageForeignRoutes", "until we have put them back"},
		"networkd has not read what nothing depends on": {func(f *Facts) {
			f.NetworkdRuns, f.Foreign, f.Kubelet = true, []Setting{{Key: "ManageForeignRoutes", Off: true, File: "/etc/x.conf"}}, ""
		}, "info networkd-foreign ManageForeignRoutes", "next boot"},
		"networkd could, and there is a container network": {func(f *Facts) {
			f.NetworkdRuns, f.Foreign, f.Kubelet, f.Record = true, []Setting{{Key: "ManageForeignRoutes"}}, "", plan.Record{}
			f.CNIs = []CNI{{"Calico", "/etc/cni/net.d/10-calico.conflist", ""}}
		}, "warning networkd-foreign ManageForeignRoutes", "container network"},
		"a machine's configuration beside ours": {func(f *Facts) {
			f.Links[1].Claim = &nic.Claim{Owner: "netplan", File: "/etc/netplan/50-cloud-init.yaml", Evidence: "50-cloud-init.yaml names its MAC: written by cloud-init", Machine: true}
		}, "info claimed-too multinic1", "written by cloud-init"},
		"a person's that was taken over": {func(f *Facts) { f.Links[1].Claim = f.Links[0].Claim; f.Record.NICs[0].Adopted = true }, "info claimed-too multinic1", "counts before it"},
		"a lease that was taken over": {func(f *Facts) {
			f.Record.NICs[0].Adopted, f.Record.NICs[0].From = true, "taken over with address 10.0.0.9/24, which somebody had leased"
		}, "", "multinicd, as multinic1, taken over with address 10.0.0.9/24"},
		"a machine's configuration of a link that is not ours": {func(f *Facts) { f.Links[0].Claim.Machine = true }, "", ""},
		"Calico that chooses": {func(f *Facts) { f.CNIs = []CNI{{"Calico", "/etc/cni/net.d/10-calico.conflist", ""}} },
			"warning container-network Calico", "IP_AUTODETECTION_METHOD=kubernetes-internal-ip"},
		"Cilium that chooses": {func(f *Facts) {
			f.CNIs = []CNI{{"Cilium", "/etc/cni/net.d/05-cilium.conflist", ""}}
			f.NodeAddrs = []lifeline.NodeAddr{{Addr: netip.MustParseAddr("192.0.2.10")}}
		}, "warning container-network Cilium", "devices={eth0}"},
		"flannel that chooses": {func(f *Facts) {
			f.CNIs = []CNI{{"flannel", "/etc/cni/net.d/10-flannel.conflist", ""}}
			f.Links[0].Routes = []nic.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.1")}}
		}, "warning container-network flannel", "--iface=eth0"},
		"Calico that is told": {func(f *Facts) {
			f.CNIs = []CNI{{"Calico", "/etc/cni/net.d/10-calico.conflist", "process 7 has IP_AUTODETECTION_METHOD=interface=eth0"}}
		}, "info container-network Calico", "interface=eth0"},
		"Calico, and no addresses of ours": {func(f *Facts) {
			f.CNIs, f.Record.NICs[0].Config.Addresses = []CNI{{"Calico", "/etc/cni/net.d/10-calico.conflist", ""}}, nil
		}, "", ""},
		"ports that a NIC of ours has opened": {func(f *Facts) { f.Ports = []Port{{22, "sshd"}, {10250, "kubelet"}, {31000, ""}} },
			"info open-ports", "10.0.0.5 (multinic1) too: TCP ports 22 (sshd), 10250 (kubelet), 31000, whose"},
		"NodePorts alone":                             {func(*Facts) {}, "info open-ports", "--nodeport-addresses"},
		"ports, and no addresses of ours":             {func(f *Facts) { f.Ports = []Port{{22, "sshd"}}; f.Record.NICs[0].Applied = false }, "", ""},
		"a host without IPv6":                         {func(f *Facts) { f.NoIPv6 = "IPv6 is off (ipv6.disable=1)" }, "info ipv6-off", "ipv6.disable=1"},
		"a Pod network that holds our subnet":         {pods("10.0.0.0/16", 80), "warning overlapping-networks multinic1 cilium_host", "10.0.0.0/24 of multinic1 and the route 10.0.0.0/16"},
		"a Pod network within our subnet":             {pods("10.0.0.64/26", 80), "warning overlapping-networks multinic1 cilium_host", "another range"},
		"a route that the kernel made for an address": {pods("10.0.0.0/24", nic.ProtocolKernel), "", ""},
		"a Pod network elsewhere":                     {pods("10.244.0.0/16", 80), "", ""},
		"a DHCP client's route to a name server in our subnet": {func(f *Facts) {
			f.Links[0].Routes = []nic.Route{{To: netip.MustParsePrefix("10.0.0.53/32"), Via: netip.MustParseAddr("192.0.2.1"), Protocol: nic.ProtocolDHCP}}
		}, "", ""},
		"a subnet that both heard of from routers": {func(f *Facts) {
			for i := range f.Links {
				f.Links[i].Addresses = append(f.Links[i].Addresses, nic.Address{Prefix: netip.MustParsePrefix(fmt.Sprintf("fec0::%d/64", i+1)), Advertised: true})
			}
		}, "", ""},
		"a subnet on two links that are not ours": {func(f *Facts) { f.Links = append(f.Links, link(3, "eth1", "192.0.2.11/24")) }, "", ""},
		"a default route beside that of the node": {func(f *Facts) {
			f.NodeAddrs = []lifeline.NodeAddr{{Addr: netip.MustParseAddr("192.0.2.10"), Evidence: "by a file"}}
			f.Links[0].Routes = []nic.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.1"), Metric: 100, Protocol: nic.ProtocolDHCP}}
			f.Links = append(f.Links, link(3, "eth1", "198.51.100.7/24"))
			f.Links[2].Routes = []nic.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("198.51.100.1"), Metric: 100, Protocol: nic.ProtocolDHCP}}
		}, "info spare-default-route eth1", "does not count: eth0 holds 192.0.2.10"},
		"a default route as good as that of a NIC that was given back": {func(f *Facts) {
			for i, router := range []string{"192.0.2.1", "10.0.0.1"} {
				f.Links[i].Routes = []nic.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr(router), Metric: 100, Protocol: nic.ProtocolDHCP}}
			}
			f.Record.NICs[0].Applied = false
		}, "info spare-default-route multinic1", "default via 10.0.0.1 metric 100 does not count: eth0 has the default route"},
		"the only default route": {func(f *Facts) {
			f.Links[0].Routes = []nic.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.1"), Metric: 100, Protocol: nic.ProtocolDHCP}}
		}, "", ""},
		"a gateway that does not answer": {func(f *Facts) { f.Silent = map[int]string{2: "10.0.0.1"} }, "warning gateway-silent multinic1", "10.0.0.1 does not answer"},
		"a name that somebody else gives at each boot": {func(f *Facts) {
			f.Links[1].Name, f.Names = "ens4", map[int]Naming{2: {By: []string{"/etc/udev/rules.d/70-persistent-net.rules has a rule"}}}
		}, "warning rename-at-reboot ens4", "in the way at each boot: /etc/udev/rules.d/70-persistent-net.rules"},
		"a name that did not come with a boot": {func(f *Facts) { f.Links[1].Name, f.Names = "ens4", map[int]Naming{2: {Booted: true}} }, "warning rename-at-reboot ens4", "dracut -f"},
		"a clock that is not yet kept":         {func(f *Facts) { f.Unsynced, f.TimeService = true, "chronyd.service" }, "info clock-unsynchronised", "chronyd.service runs"},
		"no networkd that could":               {func(f *Facts) { f.Foreign = []Setting{{Key: "ManageForeignRoutes"}} }, "", ""},
		"a strict filter":                      {func(f *Facts) { f.RPFilter = 1 }, "warning rp-filter multinic1", "strict"},
		"a loose filter":                       {func(f *Facts) { f.RPFilter = 2 }, "", ""},
		"a strict filter, and a gateway behind main": {func(f *Facts) {
			f.RPFilter, f.Record.NICs[0].Config.ID, f.Record.NICs[0].Config.Rules = 1, 1, []nic.Rule{{Table: nic.TableMain, NoDefault: true}}
		}, "info rp-filter multinic1", "table: 10001"},
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
				if one.Severity != Info || strings.Contains(test.want, "info "+one.ID) {
					got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", one.Severity, one.ID, one.Subject)))
				}
			}
			if strings.Join(got, ", ") != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if !strings.Contains(layout.Unmarked(Text(list, layout.Page{Verbose: true})), test.says) {
				t.Errorf("nothing says %q:\n%s", test.says, Text(list, layout.Page{Verbose: true}))
			}
			if MustAct(list) != strings.HasPrefix(test.want, "problem") {
				t.Error("whether something must be done is another matter")
			}
		})
	}
}

// A stock cloud image with two ports, both by DHCP, as OpenStack starts it: there is nothing to do,
// before the object and after it. An alarm that is on everywhere is read nowhere.
func TestAStockCloudImageIsWell(t *testing.T) {
	port := func(index int, name, address, router string) nic.Link {
		l := link(index, name, address)
		l.Addresses[0].Permanent = false
		l.Addresses = append(l.Addresses, nic.Address{Prefix: netip.MustParsePrefix(fmt.Sprintf("fec0::%d/64", index)), Advertised: true})
		via := netip.MustParseAddr(router)
		l.Routes = []nic.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: via, Metric: 100, Protocol: nic.ProtocolDHCP},
			{To: netip.PrefixFrom(via, 32), Metric: 100, Protocol: nic.ProtocolDHCP}}
		l.Claim = &nic.Claim{Owner: "netplan", File: "/etc/netplan/50-cloud-init.yaml", ID: name, Machine: true, Evidence: "/etc/netplan/50-cloud-init.yaml names its MAC: written by cloud-init"}
		return l
	}
	f := Facts{Now: now, Backend: "netplan", Evidence: []string{"netplan is installed"}, NetworkdRuns: true, Daemon: &Daemon{State: "Configured"}, Unsynced: true, TimeService: "systemd-timesyncd.service",
		Foreign: []Setting{{Key: "ManageForeignRoutes"}, {Key: "ManageForeignRoutingPolicyRules"}}, Ports: []Port{{22, "sshd"}},
		Links: []nic.Link{port(1, "ens3", "10.10.0.15/24", "10.10.0.2"), port(2, "ens4", "10.20.0.15/24", "10.20.0.2")}}
	check := func(want string) {
		t.Helper()
		var got []string
		for _, one := range Examine(f) {
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", one.Severity, one.ID, one.Subject)))
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
		}
	}
	check("info backend\ninfo clock-unsynchronised\ninfo link-owner ens3\ninfo link-owner ens4\n" +
		"info networkd-foreign ManageForeignRoutes\ninfo networkd-foreign ManageForeignRoutingPolicyRules\ninfo spare-default-route ens3\ninfo spare-default-route ens4")
	f.Links[1] = link(2, "multinic1", "10.20.0.20/24")
	f.Links[1].Claim = f.Links[0].Claim
	f.Record = plan.Record{NICs: []plan.Owned{owned(2, "multinic1", "10.20.0.20/24")}}
	check("info backend\ninfo claimed-too multinic1\ninfo clock-unsynchronised\ninfo link-owner ens3\ninfo link-owner multinic1\n" +
		"info networkd-foreign ManageForeignRoutes\ninfo networkd-foreign ManageForeignRoutingPolicyRules\ninfo open-ports")
}

// What people are told to do must not hurt others: Calico ends where the value of all links is 2.
func TestNoAdviceChangesAllLinks(t *testing.T) {
	f := well()
	f.RPFilter = 1
	if text := Text(Examine(f), layout.Page{Verbose: true}); strings.Contains(text, "conf.all.rp_filter=2") || strings.Contains(text, "conf.all.rp_filter = 2") {
		t.Errorf("got\n%s", text)
	}
}

// Every id has its row in docs/doctor.md, and every row its id.
func TestEveryFindingIsDocumented(t *testing.T) {
	var source []byte
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
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
	for _, m := range regexp.MustCompile(`(?:\{"|ID: +"|\.ID, one\.Severity = ")([a-z][a-z0-9]*(?:-[a-z0-9]+)*)"`).FindAllStringSubmatch(string(source), -1) {
		ids[m[1]] = true
		if !strings.Contains(string(page), "| `"+m[1]+"` |") {
			t.Errorf("%s has no row", m[1])
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		if !ids[m[1]] {
			t.Errorf("the row of %s is of nothing", m[1])
		}
	}
	if len(ids) < 15 {
		t.Errorf("found only %d ids in the source", len(ids))
	}
}
