package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

func TestADaemonKilledInMidChangeLeavesItAsWantedAfterItsNextStart(t *testing.T) {
	t.Parallel()
	n := fileNode(t, bed.New(t), testhost.Options{}, nil)
	wish := func(i int) (text, first, second string) {
		mtu := 1400 + i
		text = nodeObject(nicYAML(1, mac1, fmt.Sprintf("192.168.%d.10/24", 100+i), fmt.Sprintf("mtu: %d", mtu), fmt.Sprintf("routes: [{to: 10.20.0.0/16, via: 192.168.%d.1}]", 100+i)),
			nicYAML(2+i%2, mac2, fmt.Sprintf("10.%d.0.1/16", 100+i)))
		return text, fmt.Sprintf("multinic1 up mtu %d 192.168.%d.10/24", mtu, 100+i), fmt.Sprintf("multinic%d up mtu 1500 10.%d.0.1/16", 2+i%2, 100+i)
	}
	// A daemon that is stopped before it has persisted a change puts it back.
	persisted := func(i int) {
		t.Helper()
		n.wantNICs(fmt.Sprintf("multinic1 Configured Configured, multinic%d Configured Configured", 2+i%2))
	}
	const rounds = 10
	var first, second string
	for i := range rounds {
		var text string
		text, first, second = wish(i)
		n.file(objectFile, text)
		n.must("systemctl", "start", "--no-block", "multinicd")
		wait := rand.N(700 * time.Millisecond)
		select {
		case <-time.After(wait):
		case <-t.Context().Done():
		}
		n.must("sh", "-c", "systemctl kill --kill-whom=all --signal=SIGKILL multinicd; systemctl stop multinicd; true")
		t.Logf("killed after %v: %s; %s", wait, n.link(mac1), n.link(mac2))
		if i%3 == 2 { // else the next change meets what the killed one left
			n.start(text)
			persisted(i)
			n.wantLink(mac1, first)
			n.wantLink(mac2, second)
			n.must("systemctl", "stop", "multinicd")
		}
	}
	if err := n.StartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.wantLinksStay(map[string]string{mac1: first, mac2: second})
	persisted(rounds - 1)
	if got, want := n.must("ls", "/etc/netplan"), fmt.Sprintf("01-primary.yaml\n90-multinic1.yaml\n90-multinic%d.yaml\n", 2+(rounds-1)%2); got != want {
		t.Errorf("files: got %q, want %q", got, want)
	}
	n.must("systemctl", "stop", "multinicd")
	if got := n.must("sh", "-c", "ls -A /var/lib/multinicd /etc/netplan | grep -E 'tmp|journal|damaged' || true"); got != "" {
		t.Errorf("left behind: %q", got)
	}

	// The power is cut in mid-change: the host boots with each NIC whole as it was or whole as wanted, and the daemon does the rest.
	for i := rounds; i < rounds+3; i++ {
		before := map[string]string{mac1: first, mac2: second}
		var text string
		text, first, second = wish(i)
		n.file(objectFile, text)
		n.must("systemctl", "start", "--no-block", "multinicd")
		select {
		case <-time.After(200*time.Millisecond + rand.N(600*time.Millisecond)):
		case <-t.Context().Done():
		}
		if err := errors.Join(n.Kill(), n.Boot(t.Context())); err != nil {
			t.Fatal(err)
		}
		for mac, want := range map[string]string{mac1: first, mac2: second} {
			n.eventually("link "+mac+" after a power cut", "whole", func() string {
				got := n.link(mac)
				if got == want || got == before[mac] {
					return "whole"
				}
				return got
			})
			t.Logf("after a power cut: %s", n.link(mac))
		}
		if err := n.StartDaemon(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.wantLinksStay(map[string]string{mac1: first, mac2: second})
		persisted(i)
		n.must("systemctl", "stop", "multinicd")
	}
}
