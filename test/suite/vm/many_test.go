package vm

import (
	"fmt"
	"strings"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// all64 plugs in as many NICs as an object may have, on buses of which the last are behind bridges: one object configures them all, and they are the same after a boot.
func (a *alone) all64() {
	a.t.Helper()
	macs := []string{mac1, mac2}
	for i := len(macs) + 1; i <= v1.MaxInterfaces; i++ {
		macs = append(macs, fmt.Sprintf("fa:16:3e:00:02:%02x", i))
	}
	var entries []string
	for i, mac := range macs {
		entries = append(entries, entry(i+1, mac))
	}
	a.writeObject(objectFile, entries...)
	a.Sh("systemctl restart multinicd")
	for i, mac := range macs[2:] {
		if err := a.Plug(a.t.Context(), testhost.NIC{MAC: mac, Segment: fmt.Sprintf("quiet%d", i+3)}); err != nil {
			a.t.Fatal(err)
		}
	}
	address := func(i int) string { return fmt.Sprintf(" up mtu 1500 10.50.%d.10/24", i+1) }
	for i, mac := range macs {
		bed.Eventually(a.t, "link "+mac, address(i), func() string {
			_, rest, _ := strings.Cut(a.Link(mac), " ")
			return " " + rest
		})
	}
	a.configured()
	a.isStill("with 64 NICs")
	a.boots(func() error { return a.Reboot(a.t.Context()) })
	for i, mac := range macs {
		a.links("after a boot", mac, fmt.Sprintf("multinic%d", i+1)+address(i))
	}
	a.configured()
	a.isStill("with 64 NICs, after a boot")
}

// configured waits until the service says that all 64 NICs are.
func (a *alone) configured() {
	a.t.Helper()
	bed.Eventually(a.t, "NICs that are configured", "Configured 64", func() string {
		s, err := a.status()
		if err != nil {
			return err.Error()
		}
		done := 0
		for _, n := range s.NICs {
			if n.Status == v1.StateConfigured {
				done++
			}
		}
		return fmt.Sprintf("%s %d", s.State, done)
	})
}
