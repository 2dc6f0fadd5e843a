package packages

import (
	"strings"
	"testing"

	"multinicd/test/bed/page"
	"multinicd/test/bed/testhost"
)

// docs/start.md on one machine, to the reboot; then each symptom of docs/troubleshooting.md is brought about, and what the page says is seen.
func TestTheFirstStepsOnOneMachineAndWhatGoesWrong(t *testing.T) {
	t.Parallel()
	n := newNode(t, "bookworm")
	n.sh(bare + "cd /root && cp $(find /srv/multinicd -name multinicd_" + built.this + "_amd64.deb) .")
	steps := page.Steps(t, "docs/start.md", "One machine")
	if len(steps) != 5 {
		t.Fatalf("docs/start.md has %d steps for one machine, want 5", len(steps))
	}
	for i, s := range steps[:4] {
		s.Script = "cd /root\n" + s.Script
		edit := []string{}
		if i == 3 { // The bed's NICs are veths, which a real machine has none of.
			edit = []string{`'[source]\n`, `'[links]\nvirtual_kinds = ["veth"]\n[source]\n`, "sleep 3;", "for i in $(seq 100); do multinicd status | grep -q 2/2 && break; sleep 0.1; done;"}
		}
		if i == 2 {
			edit = []string{"multinicd plan -f", "multinicd plan --help >/dev/null; test -f"}
		}
		n.follow(s, edit...)
	}
	if err := n.Reboot(n.Context()); err != nil {
		t.Fatal(err)
	}
	n.waitStatus("2/2 NICs ready")
	n.follow(steps[4])

	symptom := func(heading string) []page.Step { return page.Steps(t, "docs/troubleshooting.md", heading) }
	follow := func(heading string) {
		t.Helper()
		for _, s := range symptom(heading) {
			n.follow(s)
		}
	}
	if err := n.Unplug(nodeMACs[1]); err != nil {
		t.Fatal(err)
	}
	n.waitStatus("1/2 NICs ready")
	follow("A NIC is Pending")
	if err := n.Plug(testhost.NIC{MAC: nodeMACs[1], Segment: "data2"}); err != nil {
		t.Fatal(err)
	}
	n.waitStatus("2/2 NICs ready")
	taken, _, _ := strings.Cut(neighbours[1], "/")
	n.sh("sed -i.kept 's/cidr: " + nodeAddresses[1] + "/cidr: " + taken + "/' /etc/multinicd/node.yaml; systemctl restart multinicd")
	n.wait("the reason", "AddressInUse", func() string { return n.sh("multinicd status") })
	follow("A NIC is Failed")
	n.sh("mv /etc/multinicd/node.yaml.kept /etc/multinicd/node.yaml; systemctl restart multinicd")
	n.waitStatus("2/2 NICs ready")

	n.sh("cp /etc/multinicd/node.yaml /root; sed -i 's/cidr: 192.168.100.10.24/&, mtuu: 1400/' /etc/multinicd/node.yaml; systemctl restart multinicd")
	n.wait("the status", "cannot be used", func() string { return n.sh("multinicd status") })
	follow("I changed the object, and nothing happens")
	n.sh("cp /root/node.yaml /etc/multinicd/; systemctl restart multinicd")
	n.waitStatus("2/2 NICs ready")

	n.sh("ip address del " + nodeAddresses[0] + "/24 dev multinic1")
	n.wait("the address that somebody took away", nodeAddresses[0], func() string { return n.sh("ip -br address show dev multinic1") })
	follow("Somebody changes a NIC by hand")
	follow("No traffic goes over a NIC")
	if out := n.sh("ip route get 203.0.113.9 || true"); strings.Contains(out, "multinic") {
		t.Errorf("what lies behind no NIC goes over one:\n%s", out)
	}
	n.follow(symptom("A NIC has another name after a reboot")[0])
	follow("A node says nothing")
}
