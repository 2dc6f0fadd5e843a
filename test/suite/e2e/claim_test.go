package e2e

import (
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// What clouds write for the NICs that a machine had at its first boot.
const (
	cloudInit = `# This file is generated from information provided by the datasource.
network:
    version: 2
    ethernets:
        ens4:
            match: {macaddress: "02:00:00:00:01:01"}
            set-name: ens4
            addresses: [10.4.4.4/24]
            mtu: 1450
            routes: [{to: 10.40.0.0/16, via: 10.4.4.1}]
        ens5:
            match: {macaddress: "02:00:00:00:01:02"}
            set-name: ens5
            dhcp4: true
            optional: true
`
	// What an image has for all that nobody else knows. Of two definitions that mean a link networkd takes the first by name.
	cloudImage = `network:
    version: 2
    ethernets:
        other-en:
            match: {name: en*}
            dhcp4: true
            dhcp6: true
            optional: true
`
)

// storage is what a person writes for a NIC.
const storage = `network:
    version: 2
    ethernets:
        storage:
            match: {macaddress: "02:00:00:00:01:04"}
            addresses: [10.5.5.5/24]
`

func TestALinkThatSomebodyElseConfiguresIsRefusedOrTakenOver(t *testing.T) {
	t.Parallel()
	for _, suite := range onDebian("trixie") { // bookworm: netplan 0.106 with systemd 252; trixie: 1.1.2 with 257
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			takesOver(t, suite)
		})
	}
}

func takesOver(t *testing.T, suite string) {
	const mac4, config = "02:00:00:00:01:04", "/etc/multinicd/multinicd.toml"
	foreignFiles := map[string]string{"/etc/netplan/50-cloud-init.yaml": cloudInit, "/etc/netplan/90-default.yaml": cloudImage, "/etc/netplan/60-storage.yaml": storage}
	n := fileNode(t, bed.New(t), testhost.Options{Suite: suite, NICs: append(bed.NICs(mac1, mac2),
		testhost.NIC{MAC: mac3, Segment: "data3", Name: "ens6"}, testhost.NIC{MAC: mac4, Segment: "data4", Name: "eth4"})}, foreignFiles)
	n.wantLink(mac1, "ens4 up mtu 1450 10.4.4.4/24")
	n.wantLink(mac2, "ens5 up mtu 1500")
	n.wantLink(mac4, "eth4 up mtu 1500 10.5.5.5/24")

	wish := func(more ...string) string {
		return nodeObject(nicYAML(1, mac1, "192.168.100.10/24", more...), nicYAML(2, mac2, "192.168.200.10/24", more...), nicYAML(3, mac3, "192.168.201.10/24", more...))
	}
	person := func(more ...string) string { return nodeObject(nicYAML(4, mac4, "192.168.202.10/24", more...)) }
	plain, err := n.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	links := func(line string) {
		n.file(config, strings.Replace(string(plain), "[links]\n", "[links]\n"+line+"\n", 1))
	}
	n.quiet()
	before := n.must("sh", "-c", "ip address; ip route; ls -l --time-style=full-iso /etc/netplan")
	links(`take_over = "none"`)
	out := n.apply(exitRefused, wish())
	for _, want := range []string{"/etc/netplan/50-cloud-init.yaml", `"ens4"`, `"ens5"`, "/etc/netplan/90-default.yaml", `"other-en"`, "adopt: true"} {
		if !strings.Contains(out, want) {
			t.Errorf("the refusal does not name %s:\n%s", want, out)
		}
	}
	if strings.Count(out, "Failed ForeignConfig") != 3 {
		t.Errorf("not all three are refused:\n%s", out)
	}
	// What a person wrote is refused in any case.
	links("adopt = false")
	for said, object := range map[string]string{"no object may take it over": person("adopt: true"), "it names this MAC: somebody meant it": person()} {
		if out := n.apply(exitRefused, object); !strings.Contains(out, said) || !strings.Contains(out, "60-storage.yaml") {
			t.Errorf("the refusal does not say %q:\n%s", said, out)
		}
	}
	n.file(config, string(plain))
	if out := n.apply(exitRefused, person()); !strings.Contains(out, "60-storage.yaml") || !strings.Contains(out, "or set adopt: true") {
		t.Errorf("the refusal is:\n%s", out)
	}
	if after := n.must("sh", "-c", "ip address; ip route; ls -l --time-style=full-iso /etc/netplan"); after != before {
		t.Errorf("refused, but changed:\n%s\nwas\n%s", after, before)
	}

	adopted := map[string]string{mac1: "multinic1 up mtu 1450 192.168.100.10/24", mac2: "multinic2 up mtu 1500 192.168.200.10/24", mac3: "multinic3 up mtu 1500 192.168.201.10/24"}
	asWanted := func() {
		t.Helper()
		n.wantLinksStay(adopted)
		n.eventually("routes of the former owner", "", func() string { return n.must("ip", "route", "show", "10.40.0.0/16") })
	}
	n.apply(exitDone, wish())
	asWanted()
	if out := n.must("multinicd", "plan", "-v", "-f", objectFile); !strings.Contains(out, "taken over from netplan") || !strings.Contains(out, "written by cloud-init") {
		t.Errorf("the plan does not say what was taken over:\n%s", out)
	}
	// networkd has the former owner's configuration in mind until the next boot.
	n.start(wish())
	for _, up := range []bool{false, true} {
		if err := n.SetCarrier(mac1, up); err != nil {
			t.Fatal(err)
		}
	}
	asWanted()
	n.must("networkctl", "reconfigure", "multinic1")
	asWanted()
	n.must("systemctl", "restart", "systemd-networkd")
	asWanted()
	n.must("systemctl", "stop", "multinicd")
	n.reboot()
	asWanted()
	for name, want := range foreignFiles {
		if got, err := n.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s: %v, got\n%s\nwant it untouched:\n%s", name, err, got, want)
		}
	}
	n.sameAgainDoesNothing("multinicd", "apply", "-f", objectFile)

	n.start(wish())
	n.must("systemctl", "restart", "systemd-networkd")
	asWanted()
	n.must("networkctl", "reconfigure", "multinic1", "multinic2", "multinic3")
	asWanted()

	// Given back: the former owner has it again, at the next boot at the latest.
	n.must("systemctl", "stop", "multinicd")
	n.apply(exitDone, nodeObject())
	if got := n.ours(); got != "" {
		t.Errorf("files of ours are left: %s", got)
	}
	n.reboot()
	n.wantLink(mac1, "ens4 up mtu 1450 10.4.4.4/24")
	n.wantLink(mac2, "ens5 up mtu 1500")
}
