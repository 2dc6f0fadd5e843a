package networkmanager

import (
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"multinicd/internal/filestep"
	"multinicd/nic"
)

// Keyfile is the format of nm-settings-keyfile(5).
type Keyfile struct{}

// File implements ProfileFormat.
func (Keyfile) File(name string) string { return path.Join(KeyfileDir, name+".nmconnection") }

// Files implements ProfileFormat.
func (d Keyfile) Files(c nic.Config) map[string][]byte {
	out := Beside(c)
	out[d.File(c.Name)] = RenderKeyfile(c)
	return out
}

// Read implements ProfileFormat.
func (Keyfile) Read(file string, read func(file string) []byte) (Profile, error) {
	return ReadKeyfile(read(file))
}

// RenderKeyfile gives the profile of a NIC in the form of nm-settings-keyfile(5). The same input
// gives the same bytes.
//
// The profile is for the MAC, whatever the link is called. Whatever the object does not say is off:
// no DHCP, no router advertisements, no default route in main, no DNS, and no IPv6 at all where no
// IPv6 is wanted. Metrics are spelled out, because NetworkManager's own default of 100 and more
// would give other routes than the plan has. The metrics of the routes that come with addresses are
// the kernel's. dad-timeout=0: neighbours have been asked before (NetworkManager 1.52 would ask
// again, for 200 ms).
func RenderKeyfile(c nic.Config) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, filestep.Mark+" changes made here are overwritten. NIC %s, MAC %s.\n", c.Name, c.MAC)
	section := func(name string) { fmt.Fprintf(&b, "\n[%s]\n", name) }
	set := func(key, value string) { fmt.Fprintf(&b, "%s=%s\n", key, escapeKeyfile(value)) }
	b.WriteString("[connection]\n")
	set("id", c.Name)
	set("uuid", UUID(c.MAC))
	set("type", "ethernet")
	set("autoconnect-priority", strconv.Itoa(AutoconnectPriority))
	section("ethernet")
	set("mac-address", c.MAC.String())
	if c.MTU != 0 {
		set("mtu", strconv.Itoa(c.MTU))
	}
	section("ipv4")
	four := Family(c, netip.Addr.Is4)
	renderFamily(set, four)
	if len(four.Addresses) > 0 {
		set("dad-timeout", "0")
		set("route-metric", "0")
	}
	section("ipv6")
	six := Family(c, netip.Addr.Is6)
	renderFamily(set, six)
	if len(six.Addresses) > 0 {
		set("addr-gen-mode", "eui64")
		set("ip6-privacy", "0")
		set("route-metric", strconv.Itoa(PrefixMetric6))
	}
	return []byte(b.String())
}

func renderFamily(set func(key, value string), c nic.Config) {
	if len(c.Addresses) == 0 {
		set("method", "disabled")
		return
	}
	set("method", "manual")
	for i, a := range c.Addresses {
		set(fmt.Sprintf("address%d", i+1), a.String())
	}
	set("never-default", "true")
	for i, r := range c.Routes {
		via := r.Via.WithZone("")
		if !via.IsValid() {
			via = unspecified(r.To.Addr())
		}
		set(fmt.Sprintf("route%d", i+1), fmt.Sprintf("%s,%s,%d", r.To, via, r.Metric))
		if o := routeOptions(r); o != "" {
			set(fmt.Sprintf("route%d_options", i+1), o)
		}
	}
	for i, r := range c.Rules {
		set(fmt.Sprintf("routing-rule%d", i+1), RuleText(r))
	}
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// routeOptions are what a route has beside destination, next hop and metric:
// nm-settings-keyfile(5), "route options".
func routeOptions(r nic.Route) string {
	var out []string
	if r.OnLink && r.Via.IsValid() {
		out = append(out, "onlink=true")
	}
	if r.Source.IsValid() {
		out = append(out, "src="+r.Source.WithZone("").String())
	}
	if r.Table != 0 && r.Table != nic.TableMain {
		out = append(out, fmt.Sprintf("table=%d", r.Table))
	}
	return strings.Join(out, ",")
}

// escapeKeyfile writes a value as g_key_file_set_string does (glib/gkeyfile.c,
// g_key_file_parse_string_as_value): blanks in front become \s and \t, and line ends and
// backslashes are escaped anywhere.
func escapeKeyfile(value string) string {
	var b strings.Builder
	leading := true
	for _, r := range []byte(value) {
		switch {
		case r == ' ' && leading:
			b.WriteString(`\s`)
		case r == '\t' && leading:
			b.WriteString(`\t`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\\':
			b.WriteString(`\\`)
		default:
			b.WriteByte(r)
		}
		leading = leading && (r == ' ' || r == '\t')
	}
	return b.String()
}

// unescapeKeyfile reads what escapeKeyfile, or GLib, wrote.
func unescapeKeyfile(value string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] != '\\' {
			b.WriteByte(value[i])
			continue
		}
		i++
		if i == len(value) {
			return "", fmt.Errorf("%q ends in a backslash", value)
		}
		at := strings.IndexByte(`sntr\`, value[i])
		if at < 0 {
			return "", fmt.Errorf("%q: there is no escape \\%c", value, value[i])
		}
		b.WriteByte(" \n\t\r\\"[at])
	}
	return b.String(), nil
}

// ReadKeyfile reads what RenderKeyfile writes. It passes over keys that others have added and that
// say nothing of a nic.Config.
func ReadKeyfile(data []byte) (Profile, error) {
	keys := map[string]string{}
	section := ""
	for n, line := range strings.Split(string(data), "\n") {
		if t := strings.TrimSpace(line); t == "" || t[0] == '#' {
			continue
		} else if t[0] == '[' && t[len(t)-1] == ']' {
			section = t[1 : len(t)-1]
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return Profile{}, fmt.Errorf("reading line %d: %q is neither a section nor a key", n+1, line)
		}
		value, err := unescapeKeyfile(strings.TrimLeft(value, " \t"))
		if err != nil {
			return Profile{}, fmt.Errorf("reading line %d: %w", n+1, err)
		}
		keys[section+"."+strings.TrimSpace(key)] = value
	}
	if t := keys["connection.type"]; t != "ethernet" && t != "802-3-ethernet" {
		return Profile{}, fmt.Errorf("reading the profile: type %q is not ethernet", t)
	}
	p := Profile{UUID: keys["connection.uuid"]}
	var r Parser
	r.Name(&p.Config, keys["connection.id"])
	r.MAC(&p.Config, keys["ethernet.mac-address"])
	p.Config.MTU = r.Number(keys["ethernet.mtu"])
	for _, family := range []string{"ipv4", "ipv6"} {
		if keys[family+".method"] != "manual" {
			continue
		}
		for n := 1; keys[fmt.Sprintf("%s.address%d", family, n)] != ""; n++ {
			r.Address(&p.Config, keys[fmt.Sprintf("%s.address%d", family, n)])
		}
		for n := 1; keys[fmt.Sprintf("%s.route%d", family, n)] != ""; n++ {
			r.keyfileRoute(&p.Config, keys[fmt.Sprintf("%s.route%d", family, n)], keys[fmt.Sprintf("%s.route%d_options", family, n)])
		}
		for n := 1; keys[fmt.Sprintf("%s.routing-rule%d", family, n)] != ""; n++ {
			r.Rule(&p.Config, keys[fmt.Sprintf("%s.routing-rule%d", family, n)])
		}
	}
	return p, r.Err
}

func (r *Parser) keyfileRoute(c *nic.Config, value, options string) {
	parts := strings.Split(value, ",")
	if len(parts) != 3 {
		r.Fail("route", value)
		return
	}
	route := nic.Route{To: r.Prefix(parts[0]), Via: r.Addr(parts[1]), Metric: r.Number(parts[2])}
	if route.Via.IsUnspecified() {
		route.Via = netip.Addr{}
	}
	for _, o := range strings.Split(options, ",") {
		key, v, _ := strings.Cut(o, "=")
		switch key {
		case "table":
			route.Table = r.Number(v)
		case "src":
			route.Source = r.Addr(v)
		case "onlink":
			route.OnLink = v == "true"
		}
	}
	c.Routes = append(c.Routes, route)
}
