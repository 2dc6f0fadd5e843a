package ifcfg

import (
	"fmt"
	"strconv"
	"strings"

	"multinicd/networkmanager"
	"multinicd/nic"
)

// Read reads what Render writes, with what others may have added to it, and the routes of both
// families; nil: none.
func Read(data, routes, routes6 []byte) (networkmanager.Profile, error) {
	keys := map[string]string{}
	for n, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return networkmanager.Profile{}, fmt.Errorf("reading line %d: %q is no assignment", n+1, line)
		}
		value, err := unquoteShell(value)
		if err != nil {
			return networkmanager.Profile{}, fmt.Errorf("reading line %d: %w", n+1, err)
		}
		keys[key] = value
	}
	p := networkmanager.Profile{UUID: keys["UUID"]}
	var r networkmanager.Parser
	r.Name(&p.Config, keys["NAME"])
	r.MAC(&p.Config, keys["HWADDR"])
	p.Config.MTU = r.Number(keys["MTU"])
	for n := ""; keys["IPADDR"+n] != ""; {
		r.Address(&p.Config, keys["IPADDR"+n]+"/"+keys["PREFIX"+n])
		next := 1
		if n != "" {
			next = r.Number(n) + 1
		}
		n = strconv.Itoa(next)
	}
	if first := keys["IPV6ADDR"]; first != "" && keys["IPV6INIT"] == "yes" {
		for _, a := range append([]string{first}, strings.Fields(keys["IPV6ADDR_SECONDARIES"])...) {
			r.Address(&p.Config, a)
		}
	}
	readRoutes(&r, &p.Config, routes)
	readRoutes(&r, &p.Config, routes6)
	for _, key := range []string{"ROUTING_RULE_", "ROUTING_RULE6_"} {
		for n := 1; keys[key+strconv.Itoa(n)] != ""; n++ {
			r.Rule(&p.Config, keys[key+strconv.Itoa(n)])
		}
	}
	return p, r.Err
}

// readRoutes reads what renderRoutes writes.
func readRoutes(r *networkmanager.Parser, c *nic.Config, data []byte) {
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		route := nic.Route{To: r.Prefix(words[0])}
		for i := 1; i < len(words); i++ {
			if words[i] == "onlink" {
				route.OnLink = true
				continue
			}
			if i+1 == len(words) {
				r.Fail("route", line)
				return
			}
			switch words[i] {
			case "via":
				route.Via = r.Addr(words[i+1])
			case "src":
				route.Source = r.Addr(words[i+1])
			case "metric":
				route.Metric = r.Number(words[i+1])
			case "table":
				route.Table = r.Number(words[i+1])
			default:
				r.Fail("route", line)
			}
			i++
		}
		c.Routes = append(c.Routes, route)
	}
}

// unquoteShell reads one word that quoteShell, or the plugin's svEscape, wrote: as it is, in double
// quotes, or as $'...' with octal escapes.
func unquoteShell(s string) (string, error) {
	var b strings.Builder
	switch {
	case strings.HasPrefix(s, "\""):
		for i := 1; i < len(s); i++ {
			switch {
			case s[i] == '"' && i == len(s)-1:
				return b.String(), nil
			case s[i] == '"':
				return "", fmt.Errorf("%q goes on behind its quotes", s)
			case s[i] == '\\' && i+1 < len(s) && strings.IndexByte("\"\\$`", s[i+1]) >= 0:
				i++
			}
			b.WriteByte(s[i])
		}
		return "", fmt.Errorf("%q has no end", s)
	case strings.HasPrefix(s, "$'"):
		for i := 2; i < len(s); i++ {
			switch {
			case s[i] == '\'' && i == len(s)-1:
				return b.String(), nil
			case s[i] == '\'':
				return "", fmt.Errorf("%q goes on behind its quotes", s)
			case s[i] == '\\' && i+3 < len(s) && s[i+1] >= '0' && s[i+1] <= '3':
				v, err := strconv.ParseUint(s[i+1:i+4], 8, 8)
				if err != nil {
					return "", fmt.Errorf("%q: %w", s, err)
				}
				b.WriteByte(byte(v))
				i += 3
				continue
			case s[i] == '\\' && i+1 < len(s):
				i++
			}
			b.WriteByte(s[i])
		}
		return "", fmt.Errorf("%q has no end", s)
	case strings.ContainsAny(s, " \t\"'$`\\;&|<>()"):
		return "", fmt.Errorf("%q is more than one word", s)
	}
	return s, nil
}
