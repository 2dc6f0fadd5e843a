package ifcfg

import (
	"crypto/sha1" // an identifier of RFC 9562, version 5, is made with it
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"multinicd/internal/filestep"
	"multinicd/nic"
)

// KeyfileDir is where NetworkManager has the administrator's profiles as keyfiles.
const KeyfileDir = "/etc/NetworkManager/system-connections"

func keyfile(name string) string { return path.Join(KeyfileDir, name+".nmconnection") }

// autoconnectPriority is the greatest that there is: at boot ours is chosen before any other profile that is for the link too.
const autoconnectPriority = 999

// UUID is that of the NIC's profile. It follows from the MAC alone: the same after every run and under every id.
func UUID(m nic.MAC) string {
	sum := sha1.Sum(append([]byte("multinicd NIC "), m[:]...))
	sum[6], sum[8] = sum[6]&0x0f|0x50, sum[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// RenderKeyfile gives the profile of a NIC in the form of nm-settings-keyfile(5). The same input gives the same bytes.
//
// It is for the MAC, whatever the link is called. What the object does not say is off: no DHCP, no router advertisements, no default route in
// main, no DNS, and no IPv6 at all where no IPv6 is wanted. Metrics are spelled out, because NetworkManager's own default of 100 and more would
// make other routes of them than the plan has; those of the routes that come with addresses are the kernel's.
// dad-timeout=0: neighbours have been asked before (NetworkManager 1.52 would ask again, for 200 ms).
func RenderKeyfile(c nic.Config) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, filestep.Mark+" changes made here are overwritten. NIC %s, MAC %s.\n", c.Name, c.MAC)
	section := func(name string) { fmt.Fprintf(&b, "\n[%s]\n", name) }
	set := func(key, value string) { fmt.Fprintf(&b, "%s=%s\n", key, escapeKeyfile(value)) }
	b.WriteString("[connection]\n")
	set("id", c.Name)
	set("uuid", UUID(c.MAC))
	set("type", "ethernet")
	set("autoconnect-priority", strconv.Itoa(autoconnectPriority))
	section("ethernet")
	set("mac-address", c.MAC.String())
	if c.MTU != 0 {
		set("mtu", strconv.Itoa(c.MTU))
	}
	section("ipv4")
	four := of(c, netip.Addr.Is4)
	renderFamily(set, four)
	if len(four.Addresses) > 0 {
		set("dad-timeout", "0")
		set("route-metric", "0")
	}
	section("ipv6")
	six := of(c, netip.Addr.Is6)
	renderFamily(set, six)
	if len(six.Addresses) > 0 {
		set("addr-gen-mode", "eui64")
		set("ip6-privacy", "0")
		set("route-metric", strconv.Itoa(prefixMetric6))
	}
	return []byte(b.String())
}

// prefixMetric6 is the kernel's own for the route that an IPv6 address brings (IP6_RT_PRIO_ADDRCONF, include/net/ip6_route.h).
const prefixMetric6 = 256

// of is the part of a NIC that is of one family.
func of(c nic.Config, is func(netip.Addr) bool) nic.Config {
	var out nic.Config
	for _, a := range c.Addresses {
		if is(a.Addr()) {
			out.Addresses = append(out.Addresses, a)
		}
	}
	for _, r := range c.Routes {
		if is(r.To.Addr()) {
			out.Routes = append(out.Routes, r)
		}
	}
	for _, r := range c.Rules {
		if is(r.From.Addr()) {
			out.Rules = append(out.Rules, r)
		}
	}
	return out
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
		set(fmt.Sprintf("routing-rule%d", i+1), ruleText(r))
	}
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// routeOptions are what a route has beside destination, next hop and metric: nm-settings-keyfile(5), "route options".
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

// ruleText is a rule in the words of ip-rule(8), which both dialects use.
func ruleText(r nic.Rule) string {
	return fmt.Sprintf("priority %d from %s table %d", r.Priority, r.From, r.Table)
}

// escapeKeyfile writes a value as g_key_file_set_string does (glib/gkeyfile.c, g_key_file_parse_string_as_value): blanks in front become \s and \t,
// line ends and backslashes are escaped anywhere.
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

// ReadKeyfile reads what RenderKeyfile writes, with what others may have added to it: keys that say nothing of a nic.Config are passed over.
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
	var r reader
	r.name(&p.Config, keys["connection.id"])
	r.mac(&p.Config, keys["ethernet.mac-address"])
	p.Config.MTU = r.number(keys["ethernet.mtu"])
	for _, family := range []string{"ipv4", "ipv6"} {
		if keys[family+".method"] != "manual" {
			continue
		}
		for n := 1; keys[fmt.Sprintf("%s.address%d", family, n)] != ""; n++ {
			r.address(&p.Config, keys[fmt.Sprintf("%s.address%d", family, n)])
		}
		for n := 1; keys[fmt.Sprintf("%s.route%d", family, n)] != ""; n++ {
			r.keyfileRoute(&p.Config, keys[fmt.Sprintf("%s.route%d", family, n)], keys[fmt.Sprintf("%s.route%d_options", family, n)])
		}
		for n := 1; keys[fmt.Sprintf("%s.routing-rule%d", family, n)] != ""; n++ {
			r.rule(&p.Config, keys[fmt.Sprintf("%s.routing-rule%d", family, n)])
		}
	}
	return p, r.err
}

func (r *reader) keyfileRoute(c *nic.Config, value, options string) {
	parts := strings.Split(value, ",")
	if len(parts) != 3 {
		r.fail("route", value)
		return
	}
	route := nic.Route{To: r.prefix(parts[0]), Via: r.addr(parts[1]), Metric: r.number(parts[2])}
	if route.Via.IsUnspecified() {
		route.Via = netip.Addr{}
	}
	for _, o := range strings.Split(options, ",") {
		key, v, _ := strings.Cut(o, "=")
		switch key {
		case "table":
			route.Table = r.number(v)
		case "src":
			route.Source = r.addr(v)
		case "onlink":
			route.OnLink = v == "true"
		}
	}
	c.Routes = append(c.Routes, route)
}
