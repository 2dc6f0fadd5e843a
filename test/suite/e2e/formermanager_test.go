package e2e

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"multinicd/host/survey"
	"multinicd/test/bed"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
)

// formerProfile is what the former agent left of a NIC on a host of some kind: the files by path.
func (k kind) formerProfile(id int, mac, address, more string) map[string]string {
	name := fmt.Sprintf("multinic%d", id)
	if k.backend == survey.NetplanNetworkManager {
		return map[string]string{fmt.Sprintf("/etc/netplan/9%d-%s.yaml", id, name): fmt.Sprintf(
			"network:\n  version: 2\n  renderer: NetworkManager\n  ethernets:\n    %s: {match: {macaddress: %q}, set-name: %s, addresses: [%s]%s}\n", name, mac, name, address, more)}
	}
	link := map[string]string{fmt.Sprintf("/etc/systemd/network/9%d-%s.link", id, name): fmt.Sprintf("[Match]\nMACAddress=%s\n\n[Link]\nName=%s\n", mac, name)}
	ip, bits, _ := strings.Cut(address, "/")
	if k.backend == survey.Ifcfg {
		link["/etc/sysconfig/network-scripts/ifcfg-"+name] = fmt.Sprintf("TYPE=Ethernet\nNAME=%s\nDEVICE=%[1]s\nHWADDR=%s\nONBOOT=yes\nBOOTPROTO=none\nIPADDR=%s\nPREFIX=%s\nDEFROUTE=no\nIPV6INIT=no\n%s", name, mac, ip, bits, more)
		return link
	}
	link[fmt.Sprintf("/etc/NetworkManager/system-connections/9%d-%s.nmconnection", id, name)] = fmt.Sprintf("[connection]\nid=%s\nuuid=0b0e4f3e-3a4c-4d1f-9a53-00000000000%d\ntype=ethernet\ninterface-name=%[1]s\n\n"+
		"[ethernet]\nmac-address=%[3]s\n\n[ipv4]\nmethod=manual\naddress1=%s\nnever-default=true\n%s\n[ipv6]\nmethod=disabled\n", name, id, mac, address, more)
	return link
}

// The same as on hosts of networkd, where NetworkManager has the links: what means the same keeps the profile that is in force until the next boot.
func TestWhatTheFormerAgentLeftInNetworkManagerIsTakenOver(t *testing.T) {
	kinds := slices.DeleteFunc(all(), func(k kind) bool {
		short := len(prerequisite.Long(k)) == 0 && k.name != keyfiles12 && k.backend != survey.Ifcfg
		return short || k.cloud || k.backend == survey.Netplan || k.flavour == testhost.Ifcfg && k.backend != survey.Ifcfg
	})
	onKinds(t, kinds, func(t *testing.T, k kind) {
		more := map[string]string{
			survey.NetworkManager:        "route1=192.168.77.0/24,192.168.200.1,5\nroute1_options=table=101\nrouting-rule1=priority 32764 from 192.168.200.99 table 101\n",
			survey.Ifcfg:                 "ROUTING_RULE_1=\"priority 32764 from 192.168.200.99 table 101\"\n",
			survey.NetplanNetworkManager: ", routes: [{to: 192.168.77.0/24, via: 192.168.200.1, table: 101}]",
		}[k.backend]
		n := kindNode(t, bed.New(t), k, bed.NICs(mac1, mac2)...)
		var left []string
		for i, files := range []map[string]string{k.formerProfile(1, mac1, "192.168.100.10/24", ""), k.formerProfile(2, mac2, "192.168.200.99/24", more)} {
			for name, text := range files {
				n.file(name, text)
				n.must("chmod", "600", name)
				if i == 0 {
					left = append(left, path.Base(name))
				}
			}
		}
		n.reboot()
		const link1, link2 = "multinic1 up mtu 1500 192.168.100.10/24", "multinic2 up mtu 1500 192.168.200.10/24"
		n.wantLinksStay(map[string]string{mac1: link1, mac2: "multinic2 up mtu 1500 192.168.200.99/24"})
		n.must("sh", "-ec", "ip rule add from 192.168.200.99 lookup 101 priority 32763; ip route add default via 192.168.200.1 table 101")

		n.quiet()
		kernel, err := n.MonitorKernel()
		if err != nil {
			t.Fatal(err)
		}
		defer kernel.Stop()
		first, second := nicYAML(1, mac1, "192.168.100.10/24"), nicYAML(2, mac2, "192.168.200.10/24")
		n.file(objectFile, nodeObject(first))
		planned := n.must("multinicd", "plan", "-v", "-f", objectFile)
		for _, name := range left {
			if !strings.Contains(planned, name) {
				t.Errorf("plan does not say what becomes of %s:\n%s", name, planned)
			}
		}
		n.apply(exitDone, nodeObject(first))
		if events, err := kernel.Events(); err != nil || len(events) > 0 {
			t.Errorf("%d events in the kernel: %v %v", len(events), events, err)
		}
		kernel.Stop()
		n.sameAgainDoesNothing("multinicd", "apply", "-f", objectFile)

		n.apply(exitDone, nodeObject(first, second))
		asWanted := func() {
			t.Helper()
			n.wantLinksStay(map[string]string{mac1: link1, mac2: link2})
			n.eventually("what there is of table 101", "", func() string {
				return n.must("sh", "-c", "ip rule | grep 'lookup 101' || true; ip route show table 101 2>/dev/null || true")
			})
		}
		asWanted()
		n.file(objectFile, nodeObject(first, second))
		n.sameAgainDoesNothing("multinicd", "apply", "-f", objectFile)
		if got := n.must("sh", "-c", "find "+folders+" -name '9[12]-multinic*'; grep -L 'Written by multinicd' $(find "+folders+" -name 'ifcfg-multinic*') /dev/null | grep -v null || true"); got != "" {
			t.Errorf("the former agent's files are left: %s", got)
		}
		// All that is ours can be changed as ever, also while NetworkManager has the former profile in force.
		changed := nodeObject(nicYAML(1, mac1, "192.168.100.11/24"), second)
		n.apply(exitDone, changed)
		n.wantLinksStay(map[string]string{mac1: "multinic1 up mtu 1500 192.168.100.11/24", mac2: link2})
		n.apply(exitDone, nodeObject(first, second))
		n.reboot()
		asWanted()
		n.sameAgainDoesNothing("multinicd", "apply", "-f", objectFile)
		n.apply(exitDone, changed)
		n.wantLinksStay(map[string]string{mac1: "multinic1 up mtu 1500 192.168.100.11/24", mac2: link2})
	})
}
