package installed

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"multinicd/test/bed/vm"
)

// Machine is a virtual machine with multinicd on it, however that got there.
type Machine struct {
	*vm.VM
	t testing.TB
}

// OnVM is a machine that may be off.
func OnVM(t testing.TB, v *vm.VM) *Machine { return &Machine{VM: v, t: t} }

// Sh runs a script on the machine, to its first failure, and gives what it prints.
func (m *Machine) Sh(script string) string {
	m.t.Helper()
	out, err := m.Shell(m.t.Context(), script)
	if err != nil {
		m.t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(out)
}

// Link is the text of the link with a MAC; "absent" where there is none.
func (m *Machine) Link(mac string) string {
	out, err := m.Run(m.t.Context(), "ip", "-json", "address")
	if err != nil {
		return err.Error()
	}
	var links []Link
	if err := json.Unmarshal([]byte(out), &links); err != nil {
		return err.Error()
	}
	i := slices.IndexFunc(links, func(l Link) bool { return l.MAC == mac })
	if i < 0 {
		return "absent"
	}
	return links[i].String()
}
