// Package networkmanager tests package ifcfg with those who read what it writes.
package networkmanager

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"multinicd/ifcfg"
	"multinicd/networkmanager"
	"multinicd/nic"
)

// What the shell makes of an ifcfg file is what we meant: it is the shell's language that the plugin reads.
func TestTheShellReadsWhatIsWritten(t *testing.T) {
	c := nic.Config{ID: 7, Name: "multinic7", MAC: nic.MAC{2, 0, 0, 0, 0xab, 7}, MTU: 1400, Rules: []nic.Rule{{Priority: 20007, From: netip.MustParsePrefix("192.0.2.7/32"), Table: 10007}},
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::7/64"), netip.MustParsePrefix("2001:db8:1::7/64"), netip.MustParsePrefix("2001:db8:2::7/64")}}
	data := ifcfg.Render(c)
	out, err := exec.Command("sh", "-c", string(data)+"\nprintf '%s|%s|%s|%s|%s' \"$NAME\" \"$UUID\" \"$HWADDR\" \"$ROUTING_RULE_1\" \"$IPV6ADDR_SECONDARIES\"").Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	want := fmt.Sprintf("multinic7|%s|%s|priority 20007 from 192.0.2.7/32 table 10007|2001:db8:1::7/64 2001:db8:2::7/64", networkmanager.UUID(c.MAC), strings.ToUpper(c.MAC.String()))
	if string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}
