package apply_test

import (
	"strings"
	"testing"

	"multinicd/internal/apply"
	"multinicd/netplan"
	"multinicd/nic"
)

// readYAML is what netplan makes of its files.
func readYAML(disk map[string][]byte) map[string]nic.Config {
	out := map[string]nic.Config{}
	for file, data := range disk {
		if !strings.HasPrefix(file, netplan.Dir+"/") {
			continue
		}
		definitions, _ := netplan.Read(data)
		for _, d := range definitions {
			if _, ok := out[d.Config.Name]; !ok { // networkd takes the first that matches; the last one only names the link
				out[d.Config.Name] = d.Config
			}
		}
	}
	return out
}

// A service that is asked and breaks the link, and one that would touch others: undone whole, and not asked.
func TestAServiceThatBreaksTheLink(t *testing.T) {
	for _, activation := range []string{netplan.Networkd, netplan.Netplan} {
		for _, name := range []string{"a NIC is added", "an address and routes change"} {
			s := scenarios()[name+", activated by "+activation]
			m := prepared(t, s)
			before := m.Text(stateDir)
			m.Networkd.Breaks = true
			results, _ := run(t, m, s)
			if r := results[0]; r.Outcome != apply.RolledBack || m.Networkd.Asked < 2 {
				t.Errorf("%s by %s: got %s %s, asked %d times", name, activation, r.Outcome, r.Message, m.Networkd.Asked)
			}
			check(t, m, before)
		}
	}
}

func TestNetworkdIsNotAskedWhereThatTouchesOthers(t *testing.T) {
	s := scenarios()["an address and routes change, activated by networkd"]
	m := prepared(t, s)
	asked := m.Networkd.Asked
	m.Networkd.Unsafe = "somebody's file has changed"
	results, _ := run(t, m, s)
	if r := results[0]; r.Outcome != apply.Done || m.Networkd.Asked != asked {
		t.Errorf("got %s %s, asked %d times", r.Outcome, r.Message, m.Networkd.Asked-asked)
	}
}
