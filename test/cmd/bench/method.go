package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"multinicd/test/bed/measure"
	"multinicd/test/bed/monitor"
	"multinicd/test/bed/testhost"
)

// method is another way to the same change of an address, by a command on the host while the daemon is stopped. Times are in milliseconds
// after the command was started.
type method struct {
	Name    string    `json:"name"`
	Lasts   string    `json:"lasts"` // whether the change outlives a boot
	Kernel  []float64 `json:"kernelMs"`
	Ended   []float64 `json:"endedMs"`
	Foreign []int     `json:"foreignEvents"` // of the kernel, on other links and of rules, up to a second after the command
	// Lost counts addresses, routes and rules of others that the change has taken away.
	Lost []int `json:"lost"`
	// Missed counts changes after which the link did not have the address, or not it alone.
	Missed int `json:"missed"`
}

// methods measures them. The daemon does not run afterwards.
func (s *stand) methods(ctx context.Context, tries int) ([]method, error) {
	if err := s.host.StopDaemon(ctx); err != nil {
		return nil, err
	}
	// Without the API server in it, apply answers for the host alone, as the others do. The daemon's own object stays the last known one.
	const object = "/etc/multinicd/bench.yaml"
	all := []struct {
		method
		prepare func(have, want link) error
		command func(have, want link) []string
	}{
		{method{Name: "multinicd apply -f", Lasts: "yes"},
			func(_, want link) error { return s.host.WriteFile(object, []byte(objectFile(want)), 0o600) },
			func(_, _ link) []string { return []string{"multinicd", "apply", "-f", object} }},
		// In this order: the other way round, the old address takes the new one of the same network with it.
		{method{Name: "ip address del, add", Lasts: "no"},
			func(_, _ link) error { return nil },
			func(have, want link) []string {
				return []string{"sh", "-ec", fmt.Sprintf("ip address del %s dev %s; ip address add %s dev %s", have.Addresses[0], nicName, want.Addresses[0], nicName)}
			}},
		// The very file that multinicd writes, with another address in it. The last one, because networkd has the NIC from here on.
		{method{Name: "netplan apply", Lasts: "yes"}, s.rewrite, func(_, _ link) []string { return []string{"netplan", "apply"} }},
	}
	var out []method
	for _, m := range all {
		s.logf("%s", m.Name)
		for i := range tries + 1 {
			counted := &m.method
			if i == 0 {
				counted = &method{} // the first is not counted: it finds caches cold, and netplan tells networkd of the NIC
			}
			if err := s.try(ctx, counted, m.prepare, m.command); err != nil {
				return nil, fmt.Errorf("%s: %w", m.Name, err)
			}
		}
		out = append(out, m.method)
	}
	return out, nil
}

func (s *stand) try(ctx context.Context, m *method, prepare func(have, want link) error, command func(have, want link) []string) error {
	if _, err := s.host.Shell(ctx, testhost.Bystanders); err != nil {
		return err
	}
	have, err := s.link(ctx)
	if err != nil {
		return err
	}
	want := next(have, kindAddress)
	if err := prepare(have, want); err != nil {
		return err
	}
	before, err := s.others(ctx)
	if err != nil {
		return err
	}
	kernel, err := s.host.MonitorKernel()
	if err != nil {
		return err
	}
	defer kernel.Stop()
	begin := time.Now()
	out, err := s.host.Run(ctx, command(have, want)...)
	ended := time.Now()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	became, events, err := s.settle(ctx, kernel, have, want)
	if err != nil {
		return err
	}
	after, err := s.others(ctx)
	if err != nil {
		return err
	}
	_, _, _, foreign := replay(have, events, want)
	m.Ended, m.Foreign, m.Lost = append(m.Ended, ms(ended.Sub(begin))), append(m.Foreign, foreign), append(m.Lost, lost(before, after))
	if became.IsZero() {
		m.Missed++
		return nil
	}
	m.Kernel = append(m.Kernel, ms(became.Sub(begin)))
	return nil
}

// settle gives what was announced up to a second after the command, or up to ten where the link is not as wanted by then.
func (s *stand) settle(ctx context.Context, kernel *monitor.Kernel, have, want link) (became time.Time, events []monitor.Event, err error) {
	for range 10 {
		if err := measure.Rest(ctx, time.Second); err != nil {
			return became, nil, err
		}
		if events, err = kernel.Events(); err != nil {
			return became, nil, err
		}
		if _, _, became, _ = replay(have, events, want); !became.IsZero() {
			break
		}
	}
	return became, events, nil
}

// rewrite puts the wanted address into multinicd's file.
func (s *stand) rewrite(have, want link) error {
	text, err := s.host.ReadFile(netplanFile)
	if err != nil {
		return err
	}
	// What the file has may be older than what the link has, by the method before.
	lines := strings.SplitAfter(string(text), "\n")
	for i, line := range lines {
		if strings.Contains(line, "192.168.100.") {
			begin, end := strings.Index(line, "192.168.100."), strings.Index(line, "/24")
			lines[i] = line[:begin] + strings.TrimSuffix(want.Addresses[0], "/24") + line[end:]
		}
	}
	return s.host.WriteFile(netplanFile, []byte(strings.Join(lines, "")), 0o600)
}

// objectFile is the object for `multinicd apply -f`: the example's two NICs.
func objectFile(want link) string {
	return fmt.Sprintf(`apiVersion: multinic.io/v1
kind: MultiNicNodeConfig
metadata: {name: %s, namespace: multinic-system}
spec:
  nodeName: %s
  interfaces:
  - {id: 1, macAddress: %q, cidr: %s, mtu: %d}
  - {id: 2, macAddress: "02:00:00:00:01:02", cidr: 192.168.200.10/24, mtu: 1500}
`, node, node, nicMAC, want.Addresses[0], want.MTU)
}

// others lists what the kernel has of everything but the NIC that is changed: addresses, routes of all tables, rules.
func (s *stand) others(ctx context.Context) ([]string, error) {
	out, err := s.host.Shell(ctx, `
		ip -oneline address | sed 's/valid_lft.*//' | grep -v ' `+nicName+` '
		for family in -4 -6; do
			ip $family -oneline route show table all | sed 's/ expires [0-9]*sec//' | grep -v ' dev `+nicName+` '
			ip $family rule
		done`)
	return strings.Split(strings.TrimSpace(out), "\n"), err
}

// lost counts what was there and is no more.
func lost(before, after []string) int {
	n := 0
	for _, line := range before {
		if !slices.Contains(after, line) {
			n++
		}
	}
	return n
}
