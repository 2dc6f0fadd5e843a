package e2e

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"multinicd/host/survey"
	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

func TestWhatIsOursIsPutBackAndWhatIsNotStays(t *testing.T) {
	onKinds(t, both(netplan12, keyfiles12), whatIsOursIsPutBack)
}

func whatIsOursIsPutBack(t *testing.T, k kind) {
	n := kindNode(t, bed.New(t), k, bed.NICs(mac1, mac2)...)
	const (
		want  = "multinic1 up mtu 1400 192.168.100.10/24"
		route = "10.20.0.0/16 via 192.168.100.1 dev multinic1"
	)
	text := nodeObject(nicYAML(1, mac1, "192.168.100.10/24", "mtu: 1400", "routes: [{to: 10.20.0.0/16, via: 192.168.100.1}]"), nicYAML(2, mac2, "192.168.200.10/24"))
	n.start(text)
	n.wantLink(mac1, want)
	n.wantLink(mac2, example2)
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	routes := func() string {
		if strings.Contains(n.must("ip", "route", "show", "10.20.0.0/16"), route) {
			return route
		}
		return ""
	}

	// says is what the log says of it. The daemon may have put a part back before the script is done with the rest.
	for _, by := range []struct{ name, script, says string }{
		{"the address is deleted", "ip address del 192.168.100.10/24 dev multinic1", `address: want 192\.168\.100\.10/24, have absent.*by="[^"]*process \d+`},
		{"the link is set down", "ip link set multinic1 down", "up: want up, have down"},
		{"the MTU is changed", "ip link set multinic1 mtu 1300", "mtu: want 1400, have 1300"},
		{"the route is deleted", "ip route del 10.20.0.0/16", `route: want 10\.20\.0\.0/16 via 192\.168\.100\.1, have absent`},
		{"all addresses are flushed", "ip address flush dev multinic1", `address: want 192\.168\.100\.10/24, have absent; route: want`},
		{"the link is renamed", "ip link set multinic1 down; ip link set multinic1 name other; ip link set other up || true", "name: want multinic1, have other"},
		{"everything at once", "ip address flush dev multinic1; ip link set multinic1 down; ip link set multinic1 mtu 1300 name other", "name: want multinic1, have other"},
	} {
		n.must("sh", "-ec", by.script)
		// The link may look right in the middle of a change that the script has spoilt, and that is about to be undone and made again.
		n.wantStays("when "+by.name, want, func() string { return n.link(mac1) })
		n.eventually("the route when "+by.name, route, routes)
		if k.flavour != testhost.Networkd {
			continue // NetworkManager has its own say meanwhile
		}
		n.eventually("the log when "+by.name, "true", func() string {
			return strconv.FormatBool(regexp.MustCompile("put back what somebody changed.*nic=multinic1.*" + by.says).MatchString(n.Journal(t.Context())))
		})
	}
	n.wantLinkStays(mac1, want)
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")

	// Somebody else's address and route on our link are no business of ours, also when ours change and when we come back.
	n.must("sh", "-ec", "ip address add 192.168.100.99/24 dev multinic1; ip address add 10.99.0.1/16 dev multinic1; ip route add 10.98.0.0/16 via 10.99.0.2 proto bird; ip route add 10.97.0.0/16 via 192.168.100.2 proto 80")
	n.file(objectFile, strings.ReplaceAll(text, "192.168.100.10/24", "192.168.100.11/24"))
	n.must("systemctl", "restart", "multinicd")
	n.wantNICs("multinic1 Configured Configured, multinic2 Configured Configured")
	const changed = "multinic1 up mtu 1400 192.168.100.11/24 192.168.100.99/24 10.99.0.1/16"
	sorted := func() string { return sortFrom(n.link(mac1), 4) }
	n.eventually("the link beside somebody else's addresses", sortFrom(changed, 4), sorted)
	n.eventually("the route", route, routes)
	n.wantStays("somebody else's routes", "10.98.0.0/16 via 10.99.0.2 dev multinic1 proto bird\n10.97.0.0/16 via 192.168.100.2 dev multinic1 proto 80", func() string {
		return strings.TrimSpace(n.must("sh", "-c", "(ip route show 10.98.0.0/16; ip route show 10.97.0.0/16) | sed 's/ *$//'"))
	})

	// What was ours and is not any more does not come back, whoever brings it.
	n.must("ip", "address", "add", "192.168.100.10/24", "dev", "multinic1")
	n.wantStays("the link after a retired address came back", sortFrom(changed, 4), sorted)

	// All that was put back is as the files have it: nothing is written, and nothing done, from here on.
	n.sameAgainDoesNothing("systemctl", "restart", "multinicd")

	// Without the file the last known good object stays in force, and is kept so.
	if err := n.Remove(objectFile); err != nil {
		t.Fatal(err)
	}
	n.sameAgainDoesNothing("systemctl", "restart", "multinicd")
	n.must("ip", "address", "del", "192.168.100.11/24", "dev", "multinic1")
	n.eventually("the link without an object to read", sortFrom(changed, 4), sorted)
	if line := n.must("multinicd", "status"); !strings.Contains(line, objectFile) {
		t.Errorf("the status does not say what cannot be read:\n%s", line)
	}
	n.file(objectFile, strings.ReplaceAll(text, "192.168.100.10/24", "192.168.100.10/33"))
	n.sameAgainDoesNothing("systemctl", "restart", "multinicd")
	n.eventually("the reason in the status", "spec.interfaces[0].cidr", func() string {
		if line := n.must("multinicd", "status"); !strings.Contains(line, "spec.interfaces[0].cidr") {
			return line
		}
		return "spec.interfaces[0].cidr"
	})
}

// What somebody writes into our own file, and applies, goes with the repair. What he puts on the link by hand stays.
func TestAnAddressInOurEditedFileGoesWithTheRepair(t *testing.T) {
	onKinds(t, brief(netplan12, keyfiles12), editedFileIsPutBack)
}

func editedFileIsPutBack(t *testing.T, k kind) {
	n := kindNode(t, bed.New(t), k, bed.NICs(mac1)...)
	n.start(nodeObject(nicYAML(1, mac1, "192.168.100.10/24")))
	n.wantNICs("multinic1 Configured Configured")
	file, _, _ := strings.Cut(k.files, " ")
	apply := "netplan apply"
	if k.backend == survey.NetworkManager || k.backend == survey.Ifcfg { // what is undone before nmcli has seen it done counts as an error there
		apply = "nmcli connection load " + file + "; nmcli connection up multinic1 || true"
	}
	edit := func(address string) string { return "sed -i s/192.168.100.10/" + address + "/ " + file + "; " }
	edited := func() string {
		return strings.TrimSpace(n.must("sh", "-c", "grep -rl 192.168.100.7 "+folders+" 2>/dev/null || true"))
	}
	sorted := func() string { return sortFrom(n.link(mac1), 4) }
	n.must("sh", "-ec", edit("192.168.100.77")+apply)
	n.wantStays("the link after its file was edited and applied", "multinic1 up mtu 1500 192.168.100.10/24", sorted)
	n.eventually("the files that have the address", "", edited)

	// The same while nobody looks.
	n.must("sh", "-ec", "systemctl stop multinicd; "+edit("192.168.100.78")+apply+"; systemctl start multinicd")
	n.wantStays("the link after its file was edited in our absence", "multinic1 up mtu 1500 192.168.100.10/24", sorted)
	n.eventually("the files that have the address", "", edited)
	n.wantNICs("multinic1 Configured Configured")

	// By hand, an address is its owner's, even if it has been in our file before; and it stays when the file is edited and not applied.
	n.must("sh", "-ec", "ip address add 192.168.100.77/24 dev multinic1; ip address add 192.168.100.99/24 dev multinic1")
	const beside = "multinic1 up mtu 1500 192.168.100.10/24 192.168.100.77/24 192.168.100.99/24"
	n.wantStays("the link beside addresses that somebody put there by hand", beside, sorted)
	files := n.profiles()
	n.must("sh", "-ec", edit("192.168.100.79")+"systemctl restart multinicd")
	n.eventually("the files that have the address", "", edited)
	n.wantStays("the link beside addresses that somebody put there by hand", beside, sorted)

	// Nobody needs to start anything anew: a file that is edited, deleted or opened to all is put right as soon as that is seen, each time.
	lasting := strings.Join(slices.DeleteFunc(strings.Fields(files), func(f string) bool { return !strings.HasPrefix(f, "/etc/") }), " ")
	for _, by := range []string{edit("192.168.100.79"), "rm " + lasting, "chmod 0666 " + lasting} {
		n.must("sh", "-ec", by)
		n.eventually("the files after "+by, files, n.profiles)
		n.eventually("the files that have the address", "", edited)
		n.eventually("files that all may write", "", func() string {
			return strings.TrimSpace(n.must("sh", "-c", "find "+lasting+" -perm /022"))
		})
	}
	n.wantStays("the link beside addresses that somebody put there by hand", beside, sorted)
	n.sameAgainDoesNothing("systemctl", "restart", "multinicd")
	n.wantNICs("multinic1 Configured Configured")
}

// NetworkManager lets go of the profile of a link that is down for ten seconds, and takes what it finds there afterwards for somebody else's: the next
// change brings our profile in force, and what others have put on the link meanwhile must survive that.
func TestOthersAddressesStayWhereNetworkManagerHadLetGo(t *testing.T) {
	onKinds(t, brief(keyfiles12), func(t *testing.T, k kind) {
		if k.flavour == testhost.Networkd {
			return
		}
		n := kindNode(t, bed.New(t), k, bed.NICs(mac1)...)
		text := nodeObject(nicYAML(1, mac1, "192.168.100.10/24"))
		n.start(text)
		n.wantNICs("multinic1 Configured Configured")
		n.must("systemctl", "stop", "multinicd")
		n.must("sh", "-ec", "ip link set multinic1 down; ip address flush dev multinic1")
		n.eventually("what NetworkManager does on the link", "nothing", func() string {
			if out := n.must("nmcli", "--terse", "--fields", "GENERAL.STATE", "device", "show", "multinic1"); !strings.Contains(out, "20 (unavailable)") {
				return out
			}
			return "nothing"
		})
		n.must("systemctl", "start", "multinicd")
		n.wantLink(mac1, "multinic1 up mtu 1500 192.168.100.10/24")
		n.wantNICs("multinic1 Configured Configured")
		n.must("ip", "address", "add", "10.99.0.1/16", "dev", "multinic1")
		n.file(objectFile, strings.ReplaceAll(text, "192.168.100.10/24", "192.168.100.11/24"))
		n.must("systemctl", "restart", "multinicd")
		n.wantNICs("multinic1 Configured Configured")
		n.eventually("the link beside somebody else's address", "multinic1 up mtu 1500 10.99.0.1/16 192.168.100.11/24", func() string { return sortFrom(n.link(mac1), 4) })
	})
}

// sortFrom sorts the words of a text, but for the first ones.
func sortFrom(text string, first int) string {
	words := strings.Fields(text)
	if len(words) > first {
		slices.Sort(words[first:])
	}
	return strings.Join(words, " ")
}
