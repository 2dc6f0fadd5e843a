package apply_test

import (
	"maps"
	"slices"
	"strings"

	"multinicd/ifcfg"
	"multinicd/internal/hosttest"
	"multinicd/nic"
)

// foreign is the profile of somebody else for NIC 1, in a dialect of the fake's own.
const foreign = "/etc/NetworkManager/system-connections/System eth1.nmconnection"

// manage gives the machine a NetworkManager that reads the scenario's dialect.
func manage(m *hosttest.Machine, s scenario) {
	m.NM = &hosttest.Manager{Dialect: string(s.dialect), Loses: s.loses,
		Read: func(file string) (string, nic.Config, error) {
			if file == foreign {
				return "somebody-elses", config(1, string(m.Disk[foreign])), nil
			}
			p, err := ifcfg.Read(file, func(name string) []byte { return m.Disk[name] })
			return p.UUID, p.Config, err
		},
		Profiles: func() (out []string) {
			for _, file := range slices.Sorted(maps.Keys(m.Disk)) {
				if strings.HasSuffix(file, ".nmconnection") || strings.Contains(file, "/ifcfg-") {
					out = append(out, file)
				}
			}
			return out
		}}
	m.StartManager()
}
