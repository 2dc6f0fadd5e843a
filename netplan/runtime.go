package netplan

import (
	"fmt"
	"slices"
	"strings"

	"multinicd/nic"
)

// section is one [Name] of a systemd file with its lines, as they stand.
type section struct {
	name  string // "" before the first
	lines []string
}

// Retarget rewrites a .network or .link file that netplan's generator made for a NIC at boot, so
// that it says what is wanted now. The generator would write the same at the next boot. networkd
// reads the file again when it is restarted, and udev when the link is announced again. Everything
// else in the file, above all [Match], stays as the generator of this host wrote it. Lines that are
// right already come back as they were.
func Retarget(file []byte, c nic.Config) []byte {
	sections := parse(string(file))
	has := func(name string) bool {
		return slices.ContainsFunc(sections, func(s section) bool { return s.name == name })
	}
	network := has("Network")
	var out []section
	for _, s := range sections {
		switch s.name {
		case "Match":
			if !c.MAC.IsZero() {
				s.lines = rematch(s.lines, c.MAC)
			}
		case "Link":
			s.lines = replace(s.lines, "MTUBytes", mtu(c), "")
			if len(s.lines) == 0 {
				continue
			}
		case "Network":
			s.lines = replace(s.lines, "LinkLocalAddressing", []string{linkLocal(c)}, "")
			s.lines = replace(s.lines, "Address", addresses(c), "LinkLocalAddressing")
		case "Route", "RoutingPolicyRule":
			continue
		}
		out = append(out, s)
		if s.name == "Match" && network && !has("Link") && c.MTU != 0 {
			out = append(out, section{name: "Link", lines: replace(nil, "MTUBytes", mtu(c), "")})
		}
	}
	if network {
		for _, r := range c.Routes {
			out = append(out, section{name: "Route", lines: routeLines(r)})
		}
		for _, r := range c.Rules {
			out = append(out, section{name: "RoutingPolicyRule", lines: ruleLines(r)})
		}
	}
	return []byte(format(out))
}

// rematch puts the NIC's MAC in place of another's, which had its id before.
func rematch(lines []string, mac nic.MAC) (out []string) {
	for _, l := range lines {
		key, value, _ := strings.Cut(l, "=")
		if k := strings.TrimSpace(key); (k == "MACAddress" || k == "PermanentMACAddress") && !strings.EqualFold(strings.TrimSpace(value), mac.String()) {
			l = k + "=" + mac.String()
		}
		out = append(out, l)
	}
	return out
}

func mtu(c nic.Config) []string {
	if c.MTU == 0 {
		return nil
	}
	return []string{fmt.Sprint(c.MTU)}
}

// addresses are in netplan's order: IPv4 first.
func addresses(c nic.Config) []string {
	var four, six []string
	for _, a := range c.Addresses {
		if a.Addr().Is4() {
			four = append(four, a.String())
		} else {
			six = append(six, a.String())
		}
	}
	return append(four, six...)
}

// routeLines follows netplan's write_route (src/networkd.c, 0.106 and 1.1.2).
func routeLines(r nic.Route) []string {
	to := r.To.String()
	lines := []string{"Destination=" + to}
	if r.Via.IsValid() {
		lines = append(lines, "Gateway="+r.Via.WithZone("").String())
		if r.OnLink {
			lines = append(lines, "GatewayOnLink=true")
		}
	}
	if r.Source.IsValid() {
		lines = append(lines, "PreferredSource="+r.Source.WithZone("").String())
	}
	if !r.Via.IsValid() {
		lines = append(lines, "Scope=link")
	}
	if r.Metric != 0 {
		lines = append(lines, fmt.Sprintf("Metric=%d", r.Metric))
	}
	if r.Table != 0 && r.Table != nic.TableMain {
		lines = append(lines, fmt.Sprintf("Table=%d", r.Table))
	}
	return lines
}

// ruleLines follows netplan's write_ip_rule. netplan's YAML (0.106 to 1.1.2) has no word for
// SuppressPrefixLength=, which networkd knows from version 245 on: such a rule comes behind a boot
// with the daemon's start.
func ruleLines(r nic.Rule) []string {
	lines := []string{"From=" + r.From.String()}
	if r.To.IsValid() {
		lines = append(lines, "To="+r.To.String())
	}
	lines = append(lines, fmt.Sprintf("Table=%d", r.Table), fmt.Sprintf("Priority=%d", r.Priority))
	if r.NoDefault {
		lines = append(lines, "SuppressPrefixLength=0")
	}
	return lines
}

// replace sets key to values: in place of the first line that has key, else behind the last line of
// key after, else at the end.
func replace(lines []string, key string, values []string, after string) []string {
	at, behind := -1, -1
	var kept []string
	for _, l := range lines {
		k, _, _ := strings.Cut(l, "=")
		if strings.TrimSpace(k) == key {
			if at < 0 {
				at = len(kept)
			}
			continue
		}
		kept = append(kept, l)
		if after != "" && strings.TrimSpace(k) == after {
			behind = len(kept)
		}
	}
	switch {
	case at < 0 && behind >= 0:
		at = behind
	case at < 0:
		at = len(kept)
	}
	var out []string
	out = append(out, kept[:at]...)
	for _, v := range values {
		out = append(out, key+"="+v)
	}
	return append(out, kept[at:]...)
}

func parse(text string) []section {
	sections := []section{{}}
	for _, l := range strings.Split(text, "\n") {
		t := strings.TrimSpace(l)
		if strings.HasPrefix(t, "[") && strings.HasSuffix(t, "]") {
			sections = append(sections, section{name: t[1 : len(t)-1]})
			continue
		}
		if t != "" {
			last := &sections[len(sections)-1]
			last.lines = append(last.lines, l)
		}
	}
	return sections
}

func format(sections []section) string {
	var b strings.Builder
	for i, s := range sections {
		if i > 0 { // before the first there is no name
			if b.Len() > 0 {
				b.WriteString("\n")
			}
			b.WriteString("[" + s.name + "]\n")
		}
		for _, l := range s.lines {
			b.WriteString(l + "\n")
		}
	}
	return b.String()
}
